"""What KubeRay refuses, or does in silence, though the API server takes it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rendered import Document, clusters, groups, inside, jobs, of_kind, place, version

_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_LONGEST = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36}
_OF_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
_FT_VARIABLES = ("REDIS_PASSWORD", "RAY_REDIS_ADDRESS", "REDIS_USERNAME")
_DELETED = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def _environment(cluster: Document) -> Mapping[str, Any]:
    containers = inside(cluster, "headGroupSpec", "template", "spec", "containers") or [{}]
    return {one["name"]: one.get("value") for one in containers[0].get("env") or []}


def _is_v2(cluster: Document) -> bool:
    return inside(cluster, "autoscalerOptions", "version") == "v2"


def names(documents: list[Document]) -> Iterator[str]:
    """Names leave room for what the operator adds to them, and resources are of ray.io/v1."""
    for document in of_kind(documents, *_LONGEST):
        name = document["metadata"]["name"]
        if not _NAME.match(name) or len(name) > _LONGEST[document["kind"]]:
            yield f"{place(document)}: no DNS label with a letter first, or longer than {_LONGEST[document['kind']]}"
        if document["apiVersion"] != "ray.io/v1":
            yield f"{place(document)}: {document['apiVersion']} is not ray.io/v1"


def start_parameters(documents: list[Document]) -> Iterator[str]:
    """Ray's resources are given once, by limits; labels by the group; no task lands on a head."""
    for document, cluster in clusters(documents):
        for name, group in groups(cluster):
            given, where = group.get("rayStartParams") or {}, f"{place(document)} {name}"
            if group.get("resources") and any(key in given for key in _OF_RESOURCES):
                yield f"{where}: resources stand in rayStartParams and in the group"
            if "labels" in given:
                yield f"{where}: labels belong to the group, not into rayStartParams"
            if not all(isinstance(value, str) for value in given.values()):
                yield f"{where}: values of rayStartParams are strings"
            if name == "head" and given.get("num-cpus") != "0":
                yield f'{where}: num-cpus is not "0"'
            if name != "head" and any(key in given for key in ("num-cpus", "num-gpus", "memory")):
                yield f"{where}: Ray is told otherwise than the container's limits say"


def autoscaler(documents: list[Document]) -> Iterator[str]:
    """Clusters grow by autoscaler v2, and what it alone understands is given to no other."""
    for document, cluster in clusters(documents):
        where, is_on = place(document), bool(cluster.get("enableInTreeAutoscaling"))
        if "RAY_enable_autoscaler_v2" in _environment(cluster):
            yield f"{where}: RAY_enable_autoscaler_v2 is set beside autoscalerOptions"
        for name, group in groups(cluster):
            yield from (f"{where} {name}: {wrong}" for wrong in _scaled(name, group, cluster))
        if is_on and not _is_v2(cluster):
            yield f"{where}: autoscalerOptions.version is not v2"
        if is_on and not inside(cluster, "headGroupSpec", "template", "spec").get("serviceAccountName"):
            yield f"{where}: the autoscaler has no account"


def _scaled(name: str, group: Document, cluster: Document) -> Iterator[str]:
    is_on = bool(cluster.get("enableInTreeAutoscaling"))
    if is_on and inside(group, "template", "spec").get("restartPolicy") not in (None, "Never"):
        yield "restartPolicy with autoscaler v2"
    if {"idleTimeoutSeconds", "priority"} & set(group) and not (is_on and _is_v2(cluster)):
        yield "idleTimeoutSeconds and priority need autoscaler v2"
    if "priority" in group and version(cluster.get("rayVersion")) < (2, 56):
        yield "priority needs Ray 2.56"
    if is_on and group.get("suspend"):
        yield "suspended, with the autoscaler on"
    if name != "head" and group.get("minReplicas", 0) > group.get("maxReplicas", 0):
        yield "minReplicas is above maxReplicas"


def authentication(documents: list[Document]) -> Iterator[str]:
    """Whoever submits a job has a token, which the cluster's Ray must know of."""
    for document, cluster in clusters(documents):
        options = cluster.get("authOptions") or {}
        if options.get("mode") != "token":
            yield f"{place(document)}: authOptions.mode is not token"
        if version(cluster.get("rayVersion")) < (2, 52):
            yield f"{place(document)}: tokens need rayVersion 2.52"
        can = document["kind"] == "RayCluster" and version(cluster.get("rayVersion")) >= (2, 55)
        if options.get("enableK8sTokenAuth") and not can:
            yield f"{place(document)}: enableK8sTokenAuth is for a RayCluster of Ray 2.55"
        if _environment(cluster).get("RAY_AUTH_MODE") not in (None, "token"):
            yield f"{place(document)}: RAY_AUTH_MODE undoes it"


def fault_tolerance(documents: list[Document]) -> Iterator[str]:
    """What the head keeps in Redis is set up in one way alone, and for endpoints alone."""
    for document, cluster in clusters(documents):
        where, options = place(document), cluster.get("gcsFaultToleranceOptions")
        told = [name for name in _FT_VARIABLES if name in _environment(cluster)]
        if told:
            yield f"{where}: {', '.join(told)} of the head; gcsFaultToleranceOptions says it"
        if {"redis-password", "redis-username"} & set(cluster["headGroupSpec"].get("rayStartParams") or {}):
            yield f"{where}: Redis in rayStartParams; gcsFaultToleranceOptions says it"
        annotations = document["metadata"].get("annotations") or {}
        if {"ray.io/ft-enabled", "ray.io/external-storage-namespace"} & set(annotations):
            yield f"{where}: annotations for fault tolerance; gcsFaultToleranceOptions says it"
        if options and document["kind"] in ("RayJob", "RayCronJob"):
            yield f"{where}: it protects Ray Serve alone: a job goes on from its checkpoints"
        if options and not inside(options, "redisPassword", "valueFrom", "secretKeyRef"):
            yield f"{where}: Redis without a password from a secret"


def job_ends(documents: list[Document]) -> Iterator[str]:
    """A job's cluster is gone once it is over, and what is asked of its end can be had together."""
    for document, job in jobs(documents):
        where, is_shut = place(document), bool(job.get("shutdownAfterJobFinishes"))
        rules = inside(job, "deletionStrategy").get("deletionRules")
        if (job.get("suspend") or job.get("ttlSecondsAfterFinished", 0) > 0) and not is_shut:
            yield f"{where}: suspend and ttlSecondsAfterFinished need shutdownAfterJobFinishes"
        if rules and is_shut:
            yield f"{where}: deletionRules exclude shutdownAfterJobFinishes"
        if not rules and not is_shut:
            yield f"{where}: its cluster is never deleted"
        yield from _deletions(where, job, rules or [])
        if not job.get("activeDeadlineSeconds"):
            yield f"{where}: it may run for ever"


def _deletions(where: str, job: Document, rules: list[Document]) -> Iterator[str]:
    by_status: dict[str, dict[str, int]] = {}
    for rule in rules:
        by_status.setdefault(rule["condition"].get("jobStatus", ""), {})[rule["policy"]] = rule["condition"].get(
            "ttlSeconds", 0
        )
    for found in by_status.values():
        times = [found[policy] for policy in _DELETED if policy in found]
        if times != sorted(times):
            yield f"{where}: deletionRules out of order: workers, then cluster, then the job"
        if "DeleteWorkers" in found and inside(job, "rayClusterSpec").get("enableInTreeAutoscaling"):
            yield f"{where}: DeleteWorkers with autoscaling"


def job_attempts(documents: list[Document]) -> Iterator[str]:
    """What chance ends is tried again and goes on from its checkpoint; what cannot begin is given up."""
    for document, job in jobs(documents):
        for wrong in (*_excluded(job), *_tried(job), *_continued(job.get("entrypoint", ""))):
            yield f"{place(document)}: {wrong}"


def _excluded(job: Document) -> Iterator[str]:
    mode, again = job.get("submissionMode", "K8sJobMode"), job.get("backoffLimit", 0) > 0
    if job.get("clusterSelector") and (mode == "SidecarMode" or again or job.get("suspend")):
        yield "clusterSelector excludes SidecarMode, backoffLimit and suspend"
    if mode == "InteractiveMode" and again:
        yield "InteractiveMode excludes backoffLimit"


def _tried(job: Document) -> Iterator[str]:
    if job.get("backoffLimit", 0) < 1:
        yield "a head that is lost ends it: backoffLimit"
    if (
        job.get("submissionMode", "K8sJobMode") == "K8sJobMode"
        and inside(job, "submitterConfig").get("backoffLimit") != 0
    ):
        yield "a submitter that begins again hides a failure: submitterConfig.backoffLimit: 0"
    if not job.get("preRunningDeadlineSeconds"):
        yield "an image that cannot be pulled is waited for for ever: preRunningDeadlineSeconds"


def _continued(entrypoint: str) -> Iterator[str]:
    if not re.search(r"\bthaw (train|tune)\b", entrypoint):
        return
    if '--run "${RAY_CLUSTER_NAME%-*}"' not in entrypoint:
        yield "an attempt would begin anew: --run"
    if not entrypoint.startswith("bash -c '"):
        yield "the submitter's shell would read the entrypoint's variables: bash -c '...'"


def upgrades(documents: list[Document]) -> Iterator[str]:
    """An endpoint answers while it is upgraded: two clusters side by side, or an increment at a time by a gateway."""
    for document in of_kind(documents, "RayService"):
        spec, where = document["spec"], place(document)
        strategy = spec.get("upgradeStrategy") or {}
        kind, options = strategy.get("type", "NewCluster"), strategy.get("clusterUpgradeOptions")
        if kind not in ("NewCluster", "NewClusterWithIncrementalUpgrade"):
            yield f"{where}: upgradeStrategy {kind} stops answering"
        if kind == "NewClusterWithIncrementalUpgrade":
            if not options or not options.get("gatewayClassName"):
                yield f"{where}: an incremental upgrade needs a GatewayClass"
            elif options["stepSizePercent"] > options.get("maxSurgePercent", 100):
                yield f"{where}: a step is larger than the surge"
            if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
                yield f"{where}: an incremental upgrade needs autoscaling"
        if not spec.get("excludeHeadPodFromServeSvc"):
            yield f"{where}: requests go to the head"


def queueing(documents: list[Document]) -> Iterator[str]:
    """What waits in Kueue can be admitted: suspended whole, grown by its own consent, of few groups, all covered."""
    queues = {queue["metadata"]["name"]: queue["spec"]["clusterQueue"] for queue in of_kind(documents, "LocalQueue")}
    covered = {
        queue["metadata"]["name"]: {
            name for group in queue["spec"].get("resourceGroups") or [] for name in group["coveredResources"]
        }
        for queue in of_kind(documents, "ClusterQueue")
    }
    for document, job in jobs(documents):
        labels, where = document["metadata"].get("labels") or {}, place(document)
        if "kueue.x-k8s.io/queue-name" not in labels:
            continue
        queue = queues.get(labels["kueue.x-k8s.io/queue-name"])
        cluster = inside(job, "rayClusterSpec")
        yield from (f"{where}: {wrong}" for wrong in _queued(document, job, cluster))
        for name, group in groups(cluster):
            for container in inside(group, "template", "spec", "containers") or []:
                asked = set(inside(container, "resources", "requests"))
                if queue is None or asked - covered.get(queue, set()):
                    yield f"{where} {name}: its queue covers not all that it asks for"


def _queued(document: Document, job: Document, cluster: Document) -> Iterator[str]:
    if not job.get("shutdownAfterJobFinishes") or job.get("clusterSelector"):
        yield "Kueue needs shutdownAfterJobFinishes and a cluster of the job's own"
    workers = [group["groupName"] for group in cluster.get("workerGroupSpecs") or []]
    if "head" in workers or len(workers) > 17:
        yield "Kueue takes at most 17 groups, none called head"
    elastic = (document["metadata"].get("annotations") or {}).get("kueue.x-k8s.io/elastic-job") == "true"
    if cluster.get("enableInTreeAutoscaling") and not elastic:
        yield "Kueue lets a cluster grow only with the annotation kueue.x-k8s.io/elastic-job"
