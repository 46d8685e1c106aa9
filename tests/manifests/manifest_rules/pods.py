"""What pods may be: pod security `restricted`, what Ray needs of its containers, and one image for all of a cluster."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rendered import Document, Pod, clusters, groups, inside, jobs, place, pods, ray_pods

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_PINNED = re.compile(r"^[\w.-]+(:\d+)?(/[\w.-]+)+:(?P<tag>[\w.-]+)@sha256:[0-9a-f]{64}$")
_TAG = re.compile(r"^\d+\.\d+\.\d+-ray\d+\.\d+\.\d+-py3\d\d-(cpu|cu\d{3})$")


def restricted(documents: list[Document]) -> Iterator[str]:
    """Every pod is one that the namespace's pod security lets in; one that is not hangs in silence."""
    for pod in pods(documents):
        yield from _restricted_pod(pod)
        for container in pod.containers:
            where = f"{pod.place} {container.get('name')}"
            yield from _restricted_container(where, container.get("securityContext") or {}, pod.spec)
    for document, cluster in clusters(documents):
        if cluster.get("enableInTreeAutoscaling"):
            context = inside(cluster, "autoscalerOptions", "securityContext")
            head = inside(cluster, "headGroupSpec", "template", "spec")
            yield from _restricted_container(f"{place(document)} autoscaler", context, head)
    for document, job in jobs(documents):
        if job.get("submissionMode", "K8sJobMode") == "K8sJobMode" and not job.get("submitterPodTemplate"):
            yield f"{place(document)}: the operator's own submitter is not let in: give a submitterPodTemplate"
        if job.get("submissionMode") == "SidecarMode":
            yield f"{place(document)}: the submitter of SidecarMode cannot be let in"


def _restricted_pod(pod: Pod) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield f"{pod.place}: {field}"
    for volume in pod.spec.get("volumes") or []:
        if set(volume) - {"name"} - _VOLUMES:
            yield f"{pod.place}: volume {volume['name']} is of a kind that is not allowed"
    if inside(pod.spec, "securityContext", "sysctls"):
        yield f"{pod.place}: sysctls"


def _restricted_container(where: str, context: Mapping[str, Any], pod: Document) -> Iterator[str]:
    outer = pod.get("securityContext") or {}
    effective = {**outer, **context}
    if effective.get("runAsNonRoot") is not True:
        yield f"{where}: runAsNonRoot is not true"
    if effective.get("runAsUser") == 0:
        yield f"{where}: runAsUser is 0"
    if (effective.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{where}: no seccompProfile"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation is not false"
    if context.get("privileged") or context.get("procMount", "Default") != "Default":
        yield f"{where}: privileged"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []) or set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{where}: capabilities are not all dropped"


def identity(documents: list[Document]) -> Iterator[str]:
    """Ray runs as uid 1000, gid 100; only a head, whose autoscaler needs it, has a token of Kubernetes."""
    for pod in pods(documents):
        context = pod.spec.get("securityContext") or {}
        if pod.role != "other" and [context.get(key) for key in ("runAsUser", "runAsGroup", "fsGroup")] != [
            1000,
            100,
            100,
        ]:
            yield f"{pod.place}: not uid 1000, gid 100, fsGroup 100"
        if pod.spec.get("automountServiceAccountToken") is not (pod.role == "head"):
            yield f"{pod.place}: automountServiceAccountToken is to be {str(pod.role == 'head').lower()}"
        if not pod.spec.get("serviceAccountName"):
            yield f"{pod.place}: no serviceAccountName"


def resources(documents: list[Document]) -> Iterator[str]:
    """Requests equal limits, memory and disk among them: the operator reads Ray's resources and /dev/shm off limits."""
    for pod in pods(documents):
        for container in pod.containers:
            yield from _resources(f"{pod.place} {container.get('name')}", container.get("resources") or {})
    for document, cluster in clusters(documents):
        options = inside(cluster, "autoscalerOptions", "resources")
        yield from _resources(f"{place(document)} autoscaler", options)


def _resources(where: str, given: Mapping[str, Any]) -> Iterator[str]:
    limits = given.get("limits") or {}
    if missing := {"cpu", "memory", "ephemeral-storage"} - set(limits):
        yield f"{where}: no limit of {', '.join(sorted(missing))}"
    if given.get("requests") != limits:
        yield f"{where}: requests are not limits"


def files(documents: list[Document]) -> Iterator[str]:
    """The root is read-only, /tmp is a volume of a bounded size, and /dev/shm is left to the operator."""
    for pod in pods(documents):
        bounded = {
            volume["name"] for volume in pod.spec.get("volumes") or [] if inside(volume, "emptyDir", "sizeLimit")
        }
        for container in pod.containers:
            where = f"{pod.place} {container.get('name')}"
            mounts = {mount["mountPath"].rstrip("/"): mount["name"] for mount in container.get("volumeMounts") or []}
            if not inside(container, "securityContext", "readOnlyRootFilesystem"):
                yield f"{where}: its root can be written to"
            if pod.role != "other" and mounts.get("/tmp") not in bounded:
                yield f"{where}: /tmp is no emptyDir with a sizeLimit"
            if "/dev/shm" in mounts:
                yield f"{where}: /dev/shm is mounted by hand"
        if any(inside(volume, "emptyDir", "medium") == "Memory" for volume in pod.spec.get("volumes") or []):
            yield f"{pod.place}: a volume in memory counts against the container's limit"


def images(documents: list[Document]) -> Iterator[str]:
    """Every image is pinned by digest, and head, workers and submitter of a cluster run the same one."""
    for pod in pods(documents):
        for container in pod.containers:
            if not (pinned := _PINNED.match(str(container.get("image")))):
                yield f"{pod.place} {container.get('name')}: {container.get('image')} is not NAME:TAG@sha256:..."
            elif pod.role != "other" and not _TAG.match(pinned["tag"]):
                yield f"{pod.place}: tag {pinned['tag']} is not VERSION-rayVERSION-pyXYZ-cuXYZ or -cpu"
    submitters = {id(document): job.get("submitterPodTemplate") for document, job in jobs(documents)}
    for document, cluster in clusters(documents):
        used = {container.get("image") for pod in ray_pods(document, cluster) for container in pod.containers}
        for container in inside(submitters.get(id(document)) or {}, "spec", "containers") or []:
            used.add(container.get("image"))
        if len(used) > 1:
            yield f"{place(document)}: its pods run {len(used)} images"


def placement(documents: list[Document]) -> Iterator[str]:
    """Heads stay: on nodes that stay, with memory enough. GPUs are asked for where they are, and spot nodes say so."""
    for document, cluster in clusters(documents):
        where, selects = place(document), dict[str, Mapping[str, str]]()
        for name, group in groups(cluster):
            spec = inside(group, "template", "spec")
            selects[name] = spec.get("nodeSelector") or {}
            yield from _placement(f"{where} {name}", name, group, spec)
        has_spot = any(select.get("karpenter.sh/capacity-type") == "spot" for select in selects.values())
        if has_spot and selects["head"].get("karpenter.sh/capacity-type") != "on-demand":
            yield f"{where} head: not bound to on-demand nodes, where there are spot ones"


def _placement(where: str, name: str, group: Document, spec: Document) -> Iterator[str]:
    limits = inside((spec.get("containers") or [{}])[0], "resources", "limits")
    select = spec.get("nodeSelector") or {}
    on_spot = select.get("karpenter.sh/capacity-type") == "spot"
    if name == "head":
        memory = str(limits.get("memory", ""))
        if not memory.endswith("Gi") or int(memory[:-2]) < 8:
            yield f"{where}: less than 8 Gi of memory"
        annotations = inside(group, "template", "metadata", "annotations")
        if annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict") != "false":
            yield f"{where}: node autoscalers may move it"
        if "nvidia.com/gpu" in limits or on_spot:
            yield f"{where}: on a node of a wrong kind"
        return
    if on_spot != ((group.get("labels") or {}).get("ray.io/market-type") == "spot"):
        yield f"{where}: on spot nodes without the label ray.io/market-type: spot, or the other way round"
    if on_spot and int(spec.get("terminationGracePeriodSeconds", 30)) >= 120:
        yield f"{where}: its grace period is longer than the notice of two minutes"
    yield from _gpus(where, "nvidia.com/gpu" in limits, spec)


def _gpus(where: str, has_gpu: bool, spec: Document) -> Iterator[str]:
    is_tolerant = any(toleration.get("key") == "nvidia.com/gpu" for toleration in spec.get("tolerations") or [])
    if has_gpu and not (is_tolerant and "nvidia.com/gpu.present" in (spec.get("nodeSelector") or {})):
        yield f"{where}: GPUs without toleration or nodeSelector"
    if not has_gpu and is_tolerant:
        yield f"{where}: takes the place of work that needs a GPU"
