"""What must agree: versions, and what is set in one place."""

import re
from collections.abc import Iterator

import yaml
from rendered import ROOT, Document, clusters, inside, of_kind, place, pods

import thaw


def pinned(package: str) -> str:
    """Return the version that constraints.txt gives a package."""
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None, package
    return found[1]


def versions(documents: list[Document]) -> Iterator[str]:
    """Ray, CUDA and Thaw are of the same version in images, in manifests and in what is installed."""
    ray, cuda = pinned("ray"), "".join(pinned("cuda-toolkit").split(".")[:2])
    for document, cluster in clusters(documents):
        if cluster.get("rayVersion") != ray:
            yield f"{place(document)}: rayVersion {cluster.get('rayVersion')}, and Ray {ray} is installed"
    for pod in pods(documents):
        if pod.role == "other":
            continue
        for container in pod.containers:
            tag = str(container.get("image")).partition("@")[0].rpartition(":")[2]
            if tag not in (f"{thaw.__version__}-ray{ray}-py311-{end}" for end in ("cpu", f"cu{cuda}")):
                yield f"{pod.place}: image of tag {tag}; Thaw is {thaw.__version__}, Ray {ray}, CUDA {cuda}"


def one_place(documents: list[Document]) -> Iterator[str]:
    """Storage root and model are those of the settings, wherever they are needed; every container has the settings."""
    settings = next(one["data"] for one in of_kind(documents, "ConfigMap") if one["metadata"]["name"] == "thaw")
    if settings["RAY_VERSION"] != pinned("ray"):
        yield f"settings: RAY_VERSION {settings['RAY_VERSION']}"
    for document in of_kind(documents, "RayService"):
        for application in yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]:
            args = application.get("args") or {}
            if (args.get("model"), args.get("storage")) != (settings["THAW_MODEL"], settings["THAW_STORAGE"]):
                yield f"{place(document)}: serves {args.get('model')} of {args.get('storage')}"
    for pod in pods(documents):
        for container in pod.containers if pod.role in ("head", "worker") else []:
            sources = [inside(one, "configMapRef").get("name") for one in container.get("envFrom") or []]
            own = {one["name"] for one in container.get("env") or []} & set(settings)
            if "thaw" not in sources or own:
                yield f"{pod.place}: its variables are not those of the settings"
