"""Rendering: some work as YAML of KubeRay's RayJob, off the jobs that an overlay in ``k8s/`` describes.

Their cluster, accounts, images and settings are taken as they are, so that there is one description of each. What
the work adds is its name, its command, a ConfigMap with the files that it names, and how often it is tried.
"""

import copy
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import thaw
from thaw.errors import ConfigError
from thaw.submission.work import Work, renamed

LABEL = "app.kubernetes.io/component"
MOUNTED = "/etc/thaw"
VOLUME = "experiment"
MOST_BYTES = 900_000
"""What a ConfigMap may hold, with room for its own fields."""
NAME_LENGTH = 47
"""The operator adds to the name of a RayJob, and a label has 63 characters."""
_JOBS = {"train": "finetune", "tune": "tune", "evaluate": "evaluate", "predict": "predict"}
"""Verb -> the job of the overlay that is made for it; the others are like ``prepare``."""
_TIMEOUT_S = 60


def rayjob(work: Work, overlay: str, retries: int) -> str:
    """Return a RayJob and its ConfigMap as YAML, to be given to ``kubectl create -f -``.

    Args:
        overlay: name of a folder in ``k8s/overlays``.
        retries: how often it is tried again, on a new cluster, with the same run.

    Raises:
        ConfigError: there is no such overlay, kubectl is missing, or the files do not fit into a ConfigMap.
    """
    return yaml.safe_dump_all(documents(work, described(overlay), retries), sort_keys=False, allow_unicode=True)


def described(overlay: str) -> list[dict[str, Any]]:
    """Return the objects that an overlay describes for jobs."""
    folder = Path(str(thaw.__file__)).resolve().parents[2] / "k8s" / "overlays"
    known = sorted(path.parent.name for path in folder.glob("*/jobs"))
    if overlay not in known:
        raise ConfigError(f"--overlay {overlay}: not one of {', '.join(known) or 'none'} in {folder}")
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            ["kubectl", "kustomize", str(folder / overlay / "jobs")],  # noqa: S607 - whichever the user has
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except FileNotFoundError:
        raise ConfigError("--render k8s: kubectl is needed to read the overlay, and is not on the PATH") from None
    except subprocess.SubprocessError as error:
        raise ConfigError(f"{folder / overlay}: {getattr(error, 'stderr', None) or error}") from None
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def documents(work: Work, objects: Sequence[Mapping[str, Any]], retries: int) -> list[dict[str, Any]]:
    """Return the ConfigMap of some work and its RayJob, made of the one among these objects that is like it."""
    name, component = _name(work.run or work.verb), _JOBS.get(work.verb, "prepare")
    like = [
        one for one in objects if one["kind"] == "RayJob" and one["metadata"].get("labels", {}).get(LABEL) == component
    ]
    if not like:
        raise ConfigError(f"the overlay describes no RayJob of {LABEL}: {component}")
    keys = _keys(work)
    job = copy.deepcopy(dict(like[0]))
    job["metadata"]["name"] = name
    job["spec"] |= {"entrypoint": _entrypoint(work, keys), "backoffLimit": retries}
    for template in _templates(job["spec"]["rayClusterSpec"]):
        for volume in template["spec"].get("volumes", ()):
            if volume["name"] == VOLUME:
                volume["configMap"] = {"name": name}
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {key: job["metadata"][key] for key in ("name", "namespace") if key in job["metadata"]},
        "data": {key: Path(path).read_text(encoding="utf-8") for path, key in keys.items()},
    }
    return [files, job]


def _templates(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ()))]


def _name(run: str) -> str:
    """Return a DNS label that begins with a letter, as much of a run's name as the operator allows."""
    plain = re.sub(r"[^a-z0-9-]+", "-", run.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"run-{plain}"
    return plain if len(plain) <= NAME_LENGTH else f"{plain[: NAME_LENGTH - 16].rstrip('-')}-{plain[-15:].strip('-')}"


def _keys(work: Work) -> dict[str, str]:
    """Return the key in the ConfigMap of each file that the arguments name."""
    named = {word.partition("=")[2] if word.startswith("--") else word for word in work.arguments}
    if inner := [path for path in work.files if path not in named]:
        raise ConfigError(
            f"{inner[0]}: an experiment on Kubernetes names files by a path or URI that every pod reaches"
        )
    if sum(Path(path).stat().st_size for path in work.files) > MOST_BYTES:
        raise ConfigError(f"{', '.join(work.files)}: a ConfigMap holds {MOST_BYTES} bytes; put them into the store")
    keys = {path: re.sub(r"[^A-Za-z0-9._-]", "_", Path(path).name) for path in work.files}
    if len(set(keys.values())) < len(keys):
        raise ConfigError(f"{', '.join(work.files)}: two files have the same name")
    return keys


def _entrypoint(work: Work, keys: Mapping[str, str]) -> str:
    """Return the command, quoted for the two shells that read it: the submitter's, and the one on the head."""
    words = ["thaw", work.verb, *renamed(work.arguments, {path: f"{MOUNTED}/{key}" for path, key in keys.items()})]
    return shlex.join(["bash", "-c", f"exec {shlex.join(words)}"])
