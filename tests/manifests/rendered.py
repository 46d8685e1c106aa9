"""What `kubectl kustomize` makes of every overlay, and the parts of it that rules are about."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("dev", "gpu", "spot", "prod")

Document = Mapping[str, Any]

_CLUSTER = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
    "RayCronJob": ("spec", "jobTemplate", "rayClusterSpec"),
}
_TEMPLATE = {
    "StatefulSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Pod:
    """A pod that some document leads to.

    Attributes:
        place: which, for a person.
        role: head, worker, submitter or other.
        template: with metadata and spec.
    """

    place: str
    role: str
    template: Document

    @property
    def spec(self) -> Document:
        return self.template.get("spec") or {}

    @property
    def containers(self) -> list[Document]:
        return [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]


def render(folder: Path) -> list[Document]:
    """Return the documents of one kustomization."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]


def installations() -> dict[str, list[Document]]:
    """Return overlay -> all of its documents, with those of its jobs."""
    folders = [(overlay, K8S / "overlays" / overlay / part) for overlay in OVERLAYS for part in (".", "jobs")]
    found: dict[str, list[Document]] = {overlay: [] for overlay in OVERLAYS}
    with ThreadPoolExecutor(4) as threads:
        for (overlay, _), documents in zip(
            folders, threads.map(render, [folder for _, folder in folders]), strict=True
        ):
            found[overlay] += documents
    return found


def has_kubectl() -> bool:
    return shutil.which("kubectl") is not None


def place(document: Document) -> str:
    """Return kind and name."""
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document.get("kind") in kinds]


def inside(document: Any, *path: str) -> Any:
    """Return what lies at a path; an empty mapping where nothing does."""
    for step in path:
        document = (document or {}).get(step)
    return {} if document is None else document


def clusters(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Yield each document that brings a Ray cluster, with the cluster's spec."""
    for document in of_kind(documents, *_CLUSTER):
        spec = inside(document, *_CLUSTER[document["kind"]])
        if spec:
            yield document, spec


def jobs(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Yield each document that runs a job, with the job's spec."""
    for document in of_kind(documents, "RayJob", "RayCronJob"):
        yield document, document["spec"] if document["kind"] == "RayJob" else inside(document, "spec", "jobTemplate")


def groups(cluster: Document) -> Iterator[tuple[str, Document]]:
    """Yield name and spec of the head's and of each workers' group."""
    yield "head", cluster["headGroupSpec"]
    for group in cluster.get("workerGroupSpecs") or []:
        yield group["groupName"], group


def ray_pods(document: Document, cluster: Document) -> Iterator[Pod]:
    for name, group in groups(cluster):
        role = "head" if name == "head" else "worker"
        yield Pod(f"{place(document)} {name}", role, group.get("template") or {})


def pods(documents: list[Document]) -> Iterator[Pod]:
    """Yield every pod that the documents lead to, but for what the operator adds of its own."""
    for document, cluster in clusters(documents):
        yield from ray_pods(document, cluster)
    for document, job in jobs(documents):
        if job.get("submitterPodTemplate"):
            yield Pod(f"{place(document)} submitter", "submitter", job["submitterPodTemplate"])
    for document in of_kind(documents, *_TEMPLATE):
        template = inside(document, *_TEMPLATE[document["kind"]])
        claims = document["spec"].get("volumeClaimTemplates") or []
        yield Pod(place(document), "other", {**template, "spec": {**template["spec"], "volumeClaimTemplates": claims}})


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparison."""
    return tuple(int(part) for part in str(text).split(".")[:2] if part.isdigit())
