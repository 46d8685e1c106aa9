"""What Ray itself makes of a manifest: the resources it scales by, what it serves, and what jobs are given."""

import math
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.runtime_env import RuntimeEnv
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)
from rendered import Document, clusters, groups, jobs, of_kind, place

from manifest_rules.references import quantity
from thaw import cli
from thaw.config import load
from thaw.errors import ThawError
from thaw.serving.deployed import BUILDER, Arguments
from thaw.tuning import study

_COMMAND = re.compile(r"^bash -c 'exec (thaw .+)'$")
_UNSHIPPED = {"pip", "conda", "uv", "image_uri", "container", "py_executable"}


def scaling(documents: list[Document]) -> Iterator[str]:
    """Ray's autoscaler derives what limits say: a head that takes no task, and GPUs where there are some."""
    for document, cluster in clusters(documents):
        resource = {"metadata": {"name": "derived", "namespace": "thaw"}, "spec": cluster}
        try:
            derived = _derive_autoscaling_config_from_ray_cr(resource)["available_node_types"]
        except Exception as error:  # noqa: BLE001 - whatever Ray's private code stumbles over, the sidecar does
            yield f"{place(document)}: Ray's autoscaler cannot read it: {error!r}"
            continue
        for name, group in groups(cluster):
            found = derived["headgroup" if name == "head" else name]
            if found["resources"] != _meant(name, group):
                yield f"{place(document)} {name}: Ray scales by {found['resources']}, limits say {_meant(name, group)}"
            if found["labels"] != (group.get("labels") or {}):
                yield f"{place(document)} {name}: Ray reads the labels {found['labels']}"


def _meant(name: str, group: Document) -> dict[str, int]:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    meant = {
        "CPU": 0 if name == "head" else math.ceil(quantity(limits["cpu"])),
        "memory": int(quantity(limits["memory"])),
    }
    if "nvidia.com/gpu" in limits:
        meant["GPU"] = int(limits["nvidia.com/gpu"])
    return meant


def serving(documents: list[Document]) -> Iterator[str]:
    """What is served is valid, every key of it is known, and replicas fit onto some group of workers."""
    for document in of_kind(documents, "RayService"):
        try:
            given = yaml.safe_load(document["spec"]["serveConfigV2"])
            ServeDeploySchema.model_validate(given)
        except (yaml.YAMLError, ValidationError) as error:
            yield f"{place(document)}: {str(error)[:300]}"
            continue
        yield from (f"{place(document)}: {wrong}" for wrong in _unknown(given))
        for application in given["applications"]:
            for deployment in application.get("deployments") or []:
                yield from (f"{place(document)}: {wrong}" for wrong in _deployment(document, deployment))


def _unknown(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield keys that Ray Serve would take and never read."""
    yield from _beyond("", given, ServeDeploySchema)
    yield from _beyond("http_options", given.get("http_options"), HTTPOptionsSchema)
    yield from _beyond("logging_config", given.get("logging_config"), LoggingConfig)
    for application in given["applications"]:
        yield from _beyond("application", application, ServeApplicationSchema)
        yield from _built(application)
        for deployment in application.get("deployments") or []:
            yield from _beyond("deployment", deployment, DeploymentSchema)
            yield from _beyond("ray_actor_options", deployment.get("ray_actor_options"), RayActorOptionsSchema)
            yield from _beyond("autoscaling_config", deployment.get("autoscaling_config"), AutoscalingConfig)


def _built(application: Mapping[str, Any]) -> Iterator[str]:
    """Yield why what is imported would not take its arguments."""
    if application["import_path"] != BUILDER:
        yield f"import_path: {application['import_path']} is not {BUILDER}"
    try:
        Arguments.model_validate(application.get("args") or {})
    except ValidationError as error:
        yield f"args: {str(error)[:300]}"


def _beyond(where: str, given: Mapping[str, Any] | None, schema: type[BaseModel]) -> Iterator[str]:
    if unknown := set(given or {}) - set(schema.model_fields):
        yield f"{where}: unknown {', '.join(sorted(unknown))}"


def _deployment(service: Document, deployment: Mapping[str, Any]) -> Iterator[str]:
    try:
        AutoscalingConfig(**(deployment.get("autoscaling_config") or {}))
    except (ValidationError, ValueError) as error:
        yield f"autoscaling_config: {str(error)[:200]}"
    options = deployment.get("ray_actor_options") or {}
    needs = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    workers = [_meant(name, group) for name, group in groups(service["spec"]["rayClusterConfig"]) if name != "head"]
    if not any(all(has.get(kind, 0) >= needed for kind, needed in needs.items()) for has in workers):
        yield f"{deployment['name']}: no group of workers has room for a replica ({needs})"


def runtime_environments(documents: list[Document]) -> Iterator[str]:
    """What jobs bring along is valid, and small: packages are in the image, and nodes reach no package index."""
    for document, job in jobs(documents):
        text = job.get("runtimeEnvYAML")
        if not text:
            continue
        try:
            given = yaml.safe_load(text)
            RuntimeEnv(**given)
        except Exception as error:  # noqa: BLE001 - each plugin of Ray raises what it likes
            yield f"{place(document)}: {error}"
            continue
        if unknown := set(given) - RuntimeEnv.known_fields:
            yield f"{place(document)}: unknown {', '.join(sorted(unknown))}"
        if _UNSHIPPED & set(given):
            yield f"{place(document)}: {', '.join(sorted(_UNSHIPPED & set(given)))} cannot be fetched from inside"


def experiments(documents: list[Document]) -> Iterator[str]:
    """Every entrypoint is a command that Thaw knows, of an experiment that it can read, in a storage for all nodes."""
    settings = next(one["data"] for one in of_kind(documents, "ConfigMap") if one["metadata"]["name"] == "thaw")
    files = next(one["data"] for one in of_kind(documents, "ConfigMap") if one["metadata"]["name"] == "thaw-experiment")
    if not settings["THAW_STORAGE"].startswith(("s3://", "gs://", "/")):
        yield f"THAW_STORAGE: {settings['THAW_STORAGE']} is not one place for all nodes"
    overrides = [f"name={settings['THAW_MODEL']}", *settings["THAW_OVERRIDES"].split()]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        try:
            train = load.load(Path(folder) / "experiment.yaml", overrides).train
            study.load(Path(folder) / "space.yaml")
        except ThawError as error:
            yield str(error)
            return
    for document, job in jobs(documents):
        yield from (f"{place(document)}: {wrong}" for wrong in _command(job["entrypoint"], settings))
        yield from (f"{place(document)}: {wrong}" for wrong in _beginning(job, train))


def _command(entrypoint: str, settings: Mapping[str, str]) -> Iterator[str]:
    if not (command := _COMMAND.match(entrypoint)):
        yield f"entrypoint {entrypoint} is not bash -c 'exec thaw ...'"
        return
    text = command[1].replace("${RAY_CLUSTER_NAME%-*}", "run")
    text = re.sub(r"\$(\w+)", lambda name: settings.get(name[1], f"unset-{name[1]}"), text)
    if "unset-" in text:
        yield f"{text}: a variable that the settings lack"
    try:
        _, unknown = cli.parser().parse_known_args(shlex.split(text)[1:])
    except SystemExit:
        yield f"{text}: not a command of Thaw"
        return
    if unknown:
        yield f"{text}: unknown {unknown}"


def _beginning(job: Document, train: Any) -> Iterator[str]:
    """Yield what a job would miss on the cluster that it begins with, and would wait for while the rest is idle."""
    least = [
        (group.get("minReplicas", 0), _meant(name, group))
        for name, group in groups(job["rayClusterSpec"])
        if name != "head"
    ]
    cpus, gpus = (sum(count * has.get(kind, 0) for count, has in least) for kind in ("CPU", "GPU"))
    learns = re.search(r"\bthaw (train|tune)\b", job["entrypoint"])
    if cpus < (train.workers * train.cpus_per_worker + 1 if learns else 1):
        yield f"it begins with {cpus} CPUs"
    if learns and train.device == "gpu" and gpus < train.workers:
        yield f"it begins with {gpus} GPUs and trains on {train.workers}"
