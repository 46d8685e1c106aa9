"""What may come and go: nothing but a table of openings."""

from collections.abc import Iterator
from typing import Any

from rendered import Document, clusters, inside, of_kind, place

_RAY, _HEAD, _SERVE, _SUBMITTER = (
    "ray.io/cluster",
    "ray.io/node-type=head",
    "ray.io/serve=true",
    "app.kubernetes.io/component=submitter",
)
_REDIS, _ALL = "app.kubernetes.io/name=redis", "every pod"
_OUT = "0.0.0.0/0 but 169.254.0.0/16"

Opening = tuple[str, str, str, str]
"""From or to, which pods, what is on the other side, and which ports."""

NEEDED: frozenset[Opening] = frozenset(
    {
        ("to", _ALL, "kube-system k8s-app=kube-dns", "53/TCP 53/UDP"),
        ("from", _RAY, _RAY, "any"),
        ("to", _RAY, _RAY, "any"),
        ("from", _HEAD, _SUBMITTER, "8265/TCP"),
        ("from", _HEAD, "kuberay-operator", "8265/TCP"),
        ("to", _SUBMITTER, _HEAD, "8265/TCP"),
        ("to", _RAY, _OUT, "443/TCP"),
        ("to", _HEAD, _OUT, "6443/TCP"),
    }
)
ALLOWED: frozenset[Opening] = NEEDED | {
    ("from", _RAY, "monitoring", "8080/TCP"),
    ("from", _SERVE, "monitoring", "8000/TCP"),
    ("from", _SERVE, "envoy-gateway-system", "8000/TCP"),
    ("from", _REDIS, _RAY, "6379/TCP"),
    ("to", _RAY, _REDIS, "6379/TCP"),
}


def openings(documents: list[Document]) -> Iterator[str]:
    """All is denied but the openings of the table, each of which is there for a reason that stands beside it."""
    policies = of_kind(documents, "NetworkPolicy")
    if not any(_denies_all(policy["spec"]) for policy in policies):
        yield "no policy denies all pods everything"
    found = {opening for policy in policies for opening in _openings(policy)}
    for direction, which, other, ports in sorted(found - ALLOWED):
        yield f"{which}: {direction} {other}, ports {ports}, is not to be open"
    for direction, which, other, ports in sorted(NEEDED - found):
        yield f"{which}: {direction} {other}, ports {ports}, is to be open"
    for policy in policies:
        kinds = set(policy["spec"].get("policyTypes") or [])
        given = {name for name, field in (("Ingress", "ingress"), ("Egress", "egress")) if field in policy["spec"]}
        if not kinds or kinds - {"Ingress", "Egress"} or given - kinds:
            yield f"{place(policy)}: policyTypes {sorted(kinds)} do not go with its rules"


def _denies_all(spec: Document) -> bool:
    both = set(spec.get("policyTypes") or []) == {"Ingress", "Egress"}
    return spec.get("podSelector") == {} and both and not spec.get("ingress") and not spec.get("egress")


def _openings(policy: Document) -> Iterator[Opening]:
    which = _selector(policy["spec"].get("podSelector"))
    for field, direction, side in (("ingress", "from", "from"), ("egress", "to", "to")):
        for rule in policy["spec"].get(field) or []:
            for other in rule.get(side) or [None]:
                yield direction, which, _peer(other), _ports(rule.get("ports"))


def _selector(selector: Any) -> str:
    labels = [f"{name}={value}" for name, value in (selector or {}).get("matchLabels", {}).items()]
    labels += [
        one["key"] if one["operator"] == "Exists" else f"{one['key']} {one['operator']} {one.get('values')}"
        for one in (selector or {}).get("matchExpressions", [])
    ]
    return ", ".join(labels) or _ALL


def _peer(peer: Any) -> str:
    if peer is None:
        return "anywhere"
    if "ipBlock" in peer:
        return f"{peer['ipBlock']['cidr']} but {', '.join(peer['ipBlock'].get('except', []))}"
    parts = []
    if "namespaceSelector" in peer:
        parts.append(_selector(peer["namespaceSelector"]).replace("kubernetes.io/metadata.name=", ""))
    if "podSelector" in peer:
        parts.append(_selector(peer["podSelector"]))
    return " ".join(parts)


def _ports(ports: Any) -> str:
    return " ".join(sorted(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports or [])) or "any"


def exposure(documents: list[Document]) -> Iterator[str]:
    """The endpoint is reached through TLS, and what takes jobs not at all (CVE-2023-48022)."""
    for document, cluster in clusters(documents):
        head = cluster["headGroupSpec"]
        if head.get("enableIngress") or head.get("serviceType", "ClusterIP") != "ClusterIP":
            yield f"{place(document)}: its dashboard is let out"
    for document in of_kind(documents, "Service"):
        if document["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{place(document)}: of type {document['spec']['type']}"
    yield from _leading_in(documents)


def _leading_in(documents: list[Document]) -> Iterator[str]:
    for document in of_kind(documents, "Ingress", "HTTPRoute"):
        for name, port in _backends(document):
            if name.endswith("-head-svc") or port == 8265:
                yield f"{place(document)}: leads to the dashboard"
        if document["kind"] == "Ingress" and not document["spec"].get("tls"):
            yield f"{place(document)}: without TLS"
    for document in of_kind(documents, "Gateway"):
        for listener in document["spec"]["listeners"]:
            if listener["protocol"] != "HTTPS" or not inside(listener, "tls").get("certificateRefs"):
                yield f"{place(document)}: listener {listener['name']} without TLS"


def _backends(document: Document) -> Iterator[tuple[str, Any]]:
    for rule in document["spec"].get("rules") or []:
        for backend in rule.get("backendRefs") or []:
            yield backend["name"], backend.get("port")
        for path in inside(rule, "http").get("paths") or []:
            service = inside(path, "backend", "service")
            yield service.get("name", ""), inside(service, "port").get("number")
