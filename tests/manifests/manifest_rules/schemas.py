"""What the API server itself would refuse."""

import functools
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
from rendered import Document, of_kind, place

_CORE = ("", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io", "policy", "scheduling.k8s.io")


def crds() -> Path | None:
    """Return the folder with schemas of custom resources, and the checker beside it, where it is given."""
    given = os.environ.get("THAW_CRDS")
    return Path(given) if given else None


@functools.cache
def _checker() -> Any:
    folder = crds()
    assert folder is not None
    spec = importlib.util.spec_from_file_location("crdcheck", folder.parent / "tools" / "crdcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to Python
        return module.Checker(*sorted(str(path) for path in folder.iterdir() if path.is_dir()))


def is_core(document: Document) -> bool:
    group, _, _ = str(document.get("apiVersion", "")).rpartition("/")
    return group in _CORE


def core_kinds(documents: list[Document]) -> Iterator[str]:
    """Kinds of Kubernetes itself are as their schemas say, without unknown fields."""
    for document in filter(is_core, documents):
        yield from _core(json.dumps(document))


@functools.cache
def _core(text: str) -> tuple[str, ...]:
    """Return what is wrong with a document; overlays share most of theirs, and this takes long."""
    document = json.loads(text)
    try:
        kubernetes_validate.validate(document, "1.37", strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return (f"{place(document)}: {str(error)[:300]}",)
    return ()


def custom_kinds(documents: list[Document]) -> Iterator[str]:
    """Custom resources are as their schemas say, without unknown fields, and their CEL rules hold."""
    for document in documents:
        if is_core(document):
            continue
        found = _checker()(document)
        if found is None:
            yield f"{place(document)}: no schema of {document.get('apiVersion')}"
        for where, message in found or []:
            yield f"{place(document)}: {where}: {message}"


def disruption_budgets(documents: list[Document]) -> Iterator[str]:
    """A budget says how many stay or how many may go; of Ray's pods, whose owner is unknown, a number that stay."""
    for document in of_kind(documents, "PodDisruptionBudget"):
        spec = document["spec"]
        if "minAvailable" in spec and "maxUnavailable" in spec:
            yield f"{place(document)}: minAvailable and maxUnavailable exclude each other"
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        if not labels:
            yield f"{place(document)}: its selector selects every pod of the namespace, or none"
        if any(name.startswith("ray.io/") for name in labels) and not isinstance(spec.get("minAvailable"), int):
            yield f"{place(document)}: Ray's pods belong to no controller: only a whole number of minAvailable works"
