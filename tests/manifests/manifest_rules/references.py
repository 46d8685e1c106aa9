"""Whether what is named is there, and whether there is room for it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import yaml
from rendered import Document, clusters, inside, of_kind, place, pods

Reference = tuple[str, str]
"""Kind and name."""

_SUFFIX = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SUFFIX |= {f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGT")}
_THERE = {("ServiceAccount", "default"), ("PriorityClass", "system-cluster-critical")}


def quantity(text: Any) -> Decimal:
    """Return a Kubernetes quantity as a number."""
    digits = str(text).rstrip("mkKMGTi")
    return Decimal(digits) * _SUFFIX[str(text)[len(digits) :]]


def resolved(documents: list[Document]) -> Iterator[str]:
    """Whatever is referred to by name is in the installation, or is made by the operator under that very name."""
    known = _THERE | {(document["kind"], document["metadata"]["name"]) for document in documents}
    known |= set(_made(documents))
    for where, reference in _wanted(documents):
        if reference not in known:
            yield f"{where}: there is no {' '.join(reference)}"


def _made(documents: list[Document]) -> Iterator[Reference]:
    for document in of_kind(documents, "ExternalSecret"):
        yield "Secret", inside(document, "spec", "target").get("name", document["metadata"]["name"])
    for document in of_kind(documents, "RayCluster", "RayService"):
        yield "Service", f"{document['metadata']['name']}-head-svc"
    for document in of_kind(documents, "RayService"):
        yield "Service", f"{document['metadata']['name']}-serve-svc"


def _wanted(documents: list[Document]) -> Iterator[tuple[str, Reference]]:
    for pod in pods(documents):
        for reference in (*_of_pod(pod.spec), *_of_volumes(pod.spec), *_of_variables(pod.spec)):
            yield pod.place, reference
    for document, cluster in clusters(documents):
        for reference in _of_cluster(cluster):
            yield place(document), reference
    for document in documents:
        for reference in (*_of_document(document), *_of_kueue(document)):
            yield place(document), reference


def _of_cluster(cluster: Document) -> Iterator[Reference]:
    options = inside(cluster, "gcsFaultToleranceOptions")
    if secret := inside(options, "redisPassword", "valueFrom", "secretKeyRef").get("name"):
        yield "Secret", secret
    if address := options.get("redisAddress"):
        yield "Service", address.removeprefix("redis://").split(":")[0]
    if secret := inside(cluster, "authOptions").get("secretName"):
        yield "Secret", secret


def _of_pod(spec: Document) -> Iterator[Reference]:
    for kind, field in (("ServiceAccount", "serviceAccountName"), ("PriorityClass", "priorityClassName")):
        if spec.get(field):
            yield kind, spec[field]
    for secret in spec.get("imagePullSecrets") or []:
        yield "Secret", secret["name"]


_OF_VOLUMES = {
    "configMap": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}


def _of_volumes(spec: Document) -> Iterator[Reference]:
    volumes = spec.get("volumes") or []
    for volume in volumes:
        for field in set(volume) & set(_OF_VOLUMES):
            kind, name = _OF_VOLUMES[field]
            if not volume[field].get("optional"):
                yield kind, volume[field][name]
    for container in spec.get("containers") or []:
        mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
        claimed = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or []}
        yield from (("volume", name) for name in mounted - claimed - {volume["name"] for volume in volumes})


_OF_VARIABLES = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}


def _of_variables(spec: Document) -> Iterator[Reference]:
    for container in spec.get("containers") or []:
        for source in (
            *container.get("envFrom", ()),
            *(one.get("valueFrom") or {} for one in container.get("env", ())),
        ):
            for field in set(source) & set(_OF_VARIABLES):
                if not source[field].get("optional"):
                    yield _OF_VARIABLES[field], source[field]["name"]


def _of_document(document: Document) -> Iterator[Reference]:
    spec, kind = document.get("spec") or {}, document["kind"]
    if kind == "RoleBinding":
        yield document["roleRef"]["kind"], document["roleRef"]["name"]
        accounts = [subject for subject in document.get("subjects") or [] if subject["kind"] == "ServiceAccount"]
        yield from (("ServiceAccount", account["name"]) for account in accounts)
    elif kind == "HTTPRoute":
        yield from (("Gateway", parent["name"]) for parent in spec.get("parentRefs") or [])
        yield from (("Service", one["name"]) for rule in spec["rules"] for one in rule.get("backendRefs") or [])
    elif kind == "Gateway":
        tls = [inside(listener, "tls") for listener in spec["listeners"]]
        yield from (("Secret", one["name"]) for given in tls for one in given.get("certificateRefs") or [])
    elif kind == "ExternalSecret":
        yield spec["secretStoreRef"].get("kind", "SecretStore"), spec["secretStoreRef"]["name"]
    elif kind == "SecretStore":
        yield (
            "ServiceAccount",
            inside(spec, "provider", "aws", "auth", "jwt", "serviceAccountRef").get("name", "default"),
        )
    elif kind == "StatefulSet":
        yield "Service", spec["serviceName"]


def _of_kueue(document: Document) -> Iterator[Reference]:
    spec, labels = document.get("spec") or {}, document["metadata"].get("labels") or {}
    if document["kind"] == "LocalQueue":
        yield "ClusterQueue", spec["clusterQueue"]
    if document["kind"] == "ClusterQueue":
        for group in spec.get("resourceGroups") or []:
            yield from (("ResourceFlavor", flavor["name"]) for flavor in group["flavors"])
    for label, kind in (("queue-name", "LocalQueue"), ("priority-class", "WorkloadPriorityClass")):
        if f"kueue.x-k8s.io/{label}" in labels:
            yield kind, labels[f"kueue.x-k8s.io/{label}"]


def selectors(documents: list[Document]) -> Iterator[str]:
    """What is selected by a label or a port's name is what some pod, of ours or of the operator's, carries."""
    operators = {"ray.io/cluster", "ray.io/node-type", "ray.io/is-ray-node", "ray.io/serve", "ray.io/group"}
    carried = {
        (name, value) for pod in pods(documents) for name, value in inside(pod.template, "metadata", "labels").items()
    }
    ports = {
        port.get("name")
        for pod in pods(documents)
        for container in pod.containers
        for port in container.get("ports") or []
    }
    for document in of_kind(documents, "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Service"):
        chosen = document["spec"].get("podSelector") or document["spec"].get("selector") or {}
        labels = chosen if document["kind"] == "Service" else chosen.get("matchLabels") or {}
        for label in labels.items():
            if label[0] not in operators and label not in carried and label[0] != "app.kubernetes.io/component":
                yield f"{place(document)}: no pod carries {'='.join(label)}"
        for monitored in document["spec"].get("podMetricsEndpoints") or []:
            if monitored.get("port") not in ports:
                yield f"{place(document)}: no container has a port called {monitored.get('port')}"


def room(documents: list[Document]) -> Iterator[str]:
    """Nothing is refused by quota or limits: every container says what it needs, and an upgrade fits beside itself."""
    ranges = [one for document in of_kind(documents, "LimitRange") for one in document["spec"]["limits"]]
    least = {
        name: max(quantity(one["min"][name]) for one in ranges if name in one.get("min", {}))
        for name in ("cpu", "memory")
    }
    if least["cpu"] > quantity("200m") or least["memory"] > quantity("256Mi"):
        yield "LimitRange: the job that clears Redis (200m, 256Mi) is below its minimum, and no cluster is ever deleted"
    defaults = {name for one in ranges if one["type"] == "Container" for name in one.get("default", {})}
    for document in of_kind(documents, "ResourceQuota"):
        hard = document["spec"]["hard"]
        asked = {name.split(".", 1)[1] for name in hard if name.startswith(("limits.", "requests."))}
        if missing := asked - defaults - {"nvidia.com/gpu"}:
            yield f"{place(document)}: what the operator adds says no {', '.join(sorted(missing))}, nor does a default"
        for service in of_kind(documents, "RayService"):
            if inside(service, "spec", "upgradeStrategy").get("type", "NewCluster") == "NewCluster":
                yield from _headroom(service, hard)


def _headroom(service: Document, hard: Document) -> Iterator[str]:
    cluster = service["spec"]["rayClusterConfig"]
    head = inside(cluster, "headGroupSpec", "template", "spec")["containers"][0]["resources"]["limits"]
    cpu, gpu = quantity(head["cpu"]), Decimal(0)
    for application in yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]:
        for deployment in application.get("deployments") or []:
            replicas = inside(deployment, "autoscaling_config").get("max_replicas") or deployment.get("num_replicas", 1)
            options = deployment.get("ray_actor_options") or {}
            cpu += replicas * Decimal(str(options.get("num_cpus", 1)))
            gpu += replicas * Decimal(str(options.get("num_gpus", 0)))
    for name, needed in (("requests.cpu", cpu), ("requests.nvidia.com/gpu", gpu)):
        if needed and 2 * needed > quantity(hard.get(name, 0)):
            yield f"{place(service)}: an upgrade needs {2 * needed} of {name}, and the quota is {hard.get(name, 0)}"
