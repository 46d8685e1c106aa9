"""Alerts and the dashboard: what they ask for exists, and whoever is woken is told what to do."""

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import promql_parser
from rendered import Document, of_kind, place

from thaw.serving.gate.on_ray import ERRORS
from thaw.training.pulse.on_ray import GAUGES

_COUNTERS = {"requests", "request_errors", "predictions", "abstained"}
_HISTOGRAMS = {"decode_seconds", "queue_seconds", "infer_seconds", "batch_images", "confidence"}
SERVING = {f"thaw_{name}_total" for name in _COUNTERS} | {
    f"thaw_{name}_{part}" for name in _HISTOGRAMS for part in ("bucket", "sum", "count")
}
"""What an endpoint counts."""
OPERATOR = {"kuberay_job_deployment_status", "kuberay_job_info", "kuberay_job_execution_duration_seconds"}
NEEDED = {
    "ThawTrainingStalled", "ThawTrainingStarved", "ThawLossNotFinite", "ThawJobFailed", "ThawGpuIdle",
    "ThawEndpointErrors", "ThawEndpointRefuses", "ThawEndpointSlow", "ThawDrift", "ThawDiskFull", "ThawHeadMemory",
}  # fmt: skip
_INNER = ("lhs", "rhs", "args", "expr", "param", "vector_selector")
_NAME = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_]+)*")


@functools.cache
def of_ray() -> frozenset[str]:
    """Return the metrics that Ray's own dashboards ask for."""
    folder = resources.files("ray.dashboard.modules.metrics") / "dashboards"
    texts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".py")]
    return frozenset(name for text in texts for name in re.findall(r"\bray_[a-z0-9_]+", text))


def names(expression: Any) -> set[str]:
    """Return the metrics that a parsed query asks for."""
    found = set()
    if isinstance(expression, promql_parser.VectorSelector):
        found.add(expression.name)
    for inner in (getattr(expression, field, None) for field in _INNER):
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None and not isinstance(one, str | float):
                found |= names(one)
    return found


def _known(documents: list[Document]) -> set[str]:
    recorded = {rule["record"] for rule in _rules(documents) if "record" in rule}
    return {*of_ray(), *SERVING, *OPERATOR, *recorded, *(f"ray_{name}" for name in (ERRORS, *GAUGES))}


def _rules(documents: list[Document]) -> Iterator[Document]:
    for document in of_kind(documents, "PrometheusRule"):
        for group in document["spec"]["groups"]:
            yield from group["rules"]


def _dashboards(documents: list[Document]) -> Iterator[tuple[str, str]]:
    for document in of_kind(documents, "ConfigMap"):
        if (document["metadata"].get("labels") or {}).get("grafana_dashboard"):
            yield from ((f"{place(document)} {name}", text) for name, text in document["data"].items())


def _queries(documents: list[Document]) -> Iterator[tuple[str, str]]:
    for rule in _rules(documents):
        yield str(rule.get("alert") or rule.get("record")), rule["expr"]
    for where, text in _dashboards(documents):
        for panel in json.loads(text)["panels"]:
            for target in panel["targets"]:
                yield f"{where} {panel['title']}", target["expr"]


def metrics(documents: list[Document]) -> Iterator[str]:
    """Every query is one that Prometheus can read, of metrics that somebody exports."""
    known = _known(documents)
    for where, query in _queries(documents):
        try:
            asked = names(promql_parser.parse(query))
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        for name in sorted(asked - known):
            yield f"{where}: nobody exports {name}"
        if not asked:
            yield f"{where}: asks for no metric"


def alerts(documents: list[Document]) -> Iterator[str]:
    """Whoever is woken reads what is wrong and what to do; nothing that was agreed to wake somebody is missing."""
    found = {rule["alert"]: rule for rule in _rules(documents) if "alert" in rule}
    if found and (missing := NEEDED - set(found)):
        yield f"no alert {', '.join(sorted(missing))}"
    for name, rule in found.items():
        told = rule.get("annotations") or {}
        if not told.get("summary") or len(told.get("runbook", "")) < 40:
            yield f"{name}: no summary or no runbook"
        if (rule.get("labels") or {}).get("severity") not in ("critical", "warning"):
            yield f"{name}: no severity"


def dashboards(documents: list[Document]) -> Iterator[str]:
    """A dashboard is one that any Grafana can import: JSON, panels that do not overlap, a data source to be chosen."""
    for where, text in _dashboards(documents):
        try:
            panels = json.loads(text)["panels"]
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if len({panel["id"] for panel in panels}) < len(panels):
            yield f"{where}: two panels of one id"
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        if len(set(places)) < len(places) or any(
            x + panel["gridPos"]["w"] > 24 for (x, _), panel in zip(places, panels, strict=True)
        ):
            yield f"{where}: panels overlap"
        if any(panel["datasource"]["uid"] != "${datasource}" for panel in panels):
            yield f"{where}: a panel of another data source"
