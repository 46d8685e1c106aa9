"""Three faults are planted for every rule, each into the manifests of production, and the rule complains of each.

A rule that never failed would say nothing by holding. What a fault is called says what it does.
"""
# ruff: noqa: E501 - a table, with a line for each fault

import copy
from collections.abc import Callable
from typing import Any

import pytest
from manifest_checks import NEEDS_SCHEMAS, RULES
from rendered import Document

OVERLAY = "prod"
_ALONE = ("core_kinds", NEEDS_SCHEMAS)
"""Rules that look at one document at a time; they take long, so they are shown the changed one alone."""

Change = Callable[[Any], None]


def put(path: str, value: Any) -> Change:
    """Return what sets a value at a place such as ``spec.containers.0.image``; ``...`` takes it away."""

    def change(document: Any) -> None:
        *steps, last = [int(step) if step.isdigit() else step.replace("~", ".") for step in path.split(".")]
        for step in steps:
            document = document.setdefault(step, {}) if isinstance(document, dict) else document[step]
        if value is ...:
            del document[last]
        elif last == "-":
            document.append(copy.deepcopy(value))
        else:
            document[last] = copy.deepcopy(value)

    return change


def text(path: str, old: str, new: str) -> Change:
    """Return what replaces a part of a text."""

    def change(document: Any) -> None:
        *steps, last = [step.replace("~", ".") for step in path.split(".")]
        for step in steps:
            document = document[int(step)] if step.isdigit() else document[step]
        assert old in document[last]
        document[last] = document[last].replace(old, new)

    return change


JOB, CLUSTER, SERVICE = "RayJob/finetune", "RayCluster/thaw", "RayService/endpoint"
HEAD = "spec.headGroupSpec.template.spec"
WORKER = "spec.workerGroupSpecs.0.template.spec"
JOB_HEAD = "spec.rayClusterSpec.headGroupSpec.template.spec"
SUBMITTER = "spec.submitterPodTemplate.spec"
REDIS = "spec.rayClusterConfig.gcsFaultToleranceOptions"
ENDPOINT = "spec.groups.1.rules"

FAULTS: list[tuple[str, str, str, Change]] = [
    # rule, what is wrong, where, how
    ("core_kinds", "a misspelt field", "NetworkPolicy/dns", put("spec.egres", [])),
    ("core_kinds", "a number where a text belongs", "ConfigMap/thaw", put("data.THAW_MODEL", 3)),
    ("core_kinds", "a role of no rules' shape", "Role/thaw-user", put("rules.0.verb", ["get"])),
    ("custom_kinds", "a misspelt field of a group", CLUSTER, put("spec.workerGroupSpecs.0.maxReplica", 4)),
    ("custom_kinds", "a port as a start parameter that is no text", CLUSTER, put("spec.headGroupSpec.rayStartParams.port", 1)),
    ("custom_kinds", "a queue that CEL refuses", "ClusterQueue/thaw", put("spec.preemption.borrowWithinCohort", {"policy": "LowerPriority"})),
    ("disruption_budgets", "both bounds at once", "PodDisruptionBudget/endpoint", put("spec.maxUnavailable", 1)),
    ("disruption_budgets", "how many may go, of Ray's pods", "PodDisruptionBudget/cluster-head", put("spec", {"maxUnavailable": 1, "selector": {"matchLabels": {"ray.io/node-type": "head"}}})),
    ("disruption_budgets", "no selector", "PodDisruptionBudget/endpoint", put("spec.selector", {})),
    ("restricted", "a submitter of the operator's own", JOB, put("spec.submitterPodTemplate", ...)),
    ("restricted", "an autoscaler without a security context", CLUSTER, put("spec.autoscalerOptions.securityContext", ...)),
    ("restricted", "a folder of the host", CLUSTER, put(f"{WORKER}.volumes.-", {"name": "host", "hostPath": {"path": "/"}})),
    ("identity", "another user", CLUSTER, put(f"{HEAD}.securityContext.runAsUser", 1001)),
    ("identity", "a worker with a token", CLUSTER, put(f"{WORKER}.automountServiceAccountToken", True)),
    ("identity", "no account", JOB, put(f"{SUBMITTER}.serviceAccountName", ...)),
    ("resources", "a request below its limit", CLUSTER, put(f"{WORKER}.containers.0.resources.requests.memory", "8Gi")),
    ("resources", "no limit of memory, so no bound of /dev/shm", CLUSTER, put(f"{HEAD}.containers.0.resources.limits.memory", ...)),
    ("resources", "no limit of disk", JOB, put(f"{SUBMITTER}.containers.0.resources", {"limits": {"cpu": 1, "memory": "1Gi"}})),
    ("files", "/dev/shm by hand", CLUSTER, put(f"{WORKER}.containers.0.volumeMounts.-", {"name": "tmp", "mountPath": "/dev/shm"})),
    ("files", "a root that can be written to", CLUSTER, put(f"{HEAD}.containers.0.securityContext.readOnlyRootFilesystem", False)),
    ("files", "/tmp without a bound", JOB, put(f"{SUBMITTER}.volumes.0.emptyDir", {})),
    ("images", "a tag that moves", CLUSTER, put(f"{WORKER}.containers.0.image", "registry.example.com/thaw:latest")),
    ("images", "a submitter of another image", JOB, text(f"{SUBMITTER}.containers.0.image", "sha256:0", "sha256:1")),
    ("images", "Redis without a digest", "StatefulSet/redis", put("spec.template.spec.containers.0.image", "redis:8.2.3-alpine")),
    ("placement", "a head that may be taken away", CLUSTER, put(f"{HEAD}.nodeSelector", ...)),
    ("placement", "GPUs without a toleration", CLUSTER, put("spec.workerGroupSpecs.1.template.spec.tolerations", ...)),
    ("placement", "spot nodes that do not say so", CLUSTER, put("spec.workerGroupSpecs.2.labels", {"role": "train"})),
    ("names", "a name that is too long", JOB, put("metadata.name", "f" * 48)),
    ("names", "a name that begins with a digit", SERVICE, put("metadata.name", "1-endpoint")),
    ("names", "an older version of the kind", CLUSTER, put("apiVersion", "ray.io/v1alpha1")),
    ("start_parameters", "a head that takes tasks", CLUSTER, put("spec.headGroupSpec.rayStartParams", {})),
    ("start_parameters", "labels among start parameters", CLUSTER, put("spec.workerGroupSpecs.0.rayStartParams.labels", "a=b")),
    ("start_parameters", "resources twice", CLUSTER, put("spec.headGroupSpec.resources", {"CPU": "0"})),
    ("autoscaler", "the older autoscaler", CLUSTER, put("spec.autoscalerOptions.version", "v1")),
    ("autoscaler", "a restart policy", CLUSTER, put(f"{HEAD}.restartPolicy", "Always")),
    ("autoscaler", "autoscaler v2 by a variable, too", CLUSTER, put(f"{HEAD}.containers.0.env.-", {"name": "RAY_enable_autoscaler_v2", "value": "1"})),
    ("authentication", "no token", CLUSTER, put("spec.authOptions", ...)),
    ("authentication", "tokens of Kubernetes for a job", JOB, put("spec.rayClusterSpec.authOptions.enableK8sTokenAuth", True)),
    ("authentication", "a Ray that knows no tokens", JOB, put("spec.rayClusterSpec.rayVersion", "2.51.0")),
    ("fault_tolerance", "a password among the head's variables", SERVICE, put("spec.rayClusterConfig.headGroupSpec.template.spec.containers.0.env.-", {"name": "REDIS_PASSWORD", "value": "x"})),
    ("fault_tolerance", "the annotation of old", SERVICE, put("metadata.annotations", {"ray.io/ft-enabled": "true"})),
    ("fault_tolerance", "for a job", JOB, put("spec.rayClusterSpec.gcsFaultToleranceOptions", {"redisAddress": "redis:6379"})),
    ("job_ends", "a cluster that stays", JOB, put("spec.shutdownAfterJobFinishes", ...)),
    ("job_ends", "rules of deletion beside shutdown", JOB, put("spec.deletionStrategy", {"deletionRules": [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 9}}]})),
    ("job_ends", "a job that is gone before its cluster", JOB, put("spec.deletionStrategy", {"deletionRules": [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 9}}, {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "ttlSeconds": 10}}]})),
    ("job_attempts", "one attempt", JOB, put("spec.backoffLimit", 0)),
    ("job_attempts", "a submitter that tries again", JOB, put("spec.submitterConfig.backoffLimit", 2)),
    ("job_attempts", "attempts that begin anew", JOB, text("spec.entrypoint", '--run "${RAY_CLUSTER_NAME%-*}"', "")),
    ("upgrades", "no upgrade", SERVICE, put("spec.upgradeStrategy.type", "None")),
    ("upgrades", "increments without a gateway", SERVICE, put("spec.upgradeStrategy", {"type": "NewClusterWithIncrementalUpgrade"})),
    ("upgrades", "a step above the surge", SERVICE, put("spec.upgradeStrategy", {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": {"gatewayClassName": "envoy", "intervalSeconds": 5, "stepSizePercent": 30, "maxSurgePercent": 20}})),
    ("queueing", "a cluster that may not grow", JOB, put("metadata.annotations", {})),
    ("queueing", "a group called head", JOB, put("spec.rayClusterSpec.workerGroupSpecs.0.groupName", "head")),
    ("queueing", "a resource that no queue covers", "ClusterQueue/thaw", put("spec.resourceGroups.0.coveredResources", ["cpu", "memory", "nvidia.com/gpu"])),
    ("openings", "the dashboard open to the gateway", "NetworkPolicy/dashboard", put("spec.ingress.0.from.-", {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "envoy-gateway-system"}}})),
    ("openings", "a policy of a type that is misspelt", "NetworkPolicy/default-deny", put("spec.policyTypes", ["Ingres", "Egress"])),
    ("openings", "egress to anywhere on any port", "NetworkPolicy/storage", put("spec.egress.0.ports", ...)),
    ("exposure", "a route to the dashboard", "HTTPRoute/endpoint", put("spec.rules.0.backendRefs.0.name", "thaw-head-svc")),
    ("exposure", "plain HTTP", "Gateway/endpoint", put("spec.listeners.0.protocol", "HTTP")),
    ("exposure", "a head with a load balancer", CLUSTER, put("spec.headGroupSpec.serviceType", "LoadBalancer")),
    ("resolved", "an account that is not there", JOB, put(f"{JOB_HEAD}.serviceAccountName", "thaw-heads")),
    ("resolved", "a secret that nobody makes", SERVICE, put(f"{REDIS}.redisPassword.valueFrom.secretKeyRef.name", "redis")),
    ("resolved", "settings with a hash after their name", "ConfigMap/thaw", put("metadata.name", "thaw-h7f2")),
    ("selectors", "a port that no container has", "PodMonitor/thaw", put("spec.podMetricsEndpoints.0.port", "metric")),
    ("selectors", "a service of no pods", "Service/redis", put("spec.selector", {"app.kubernetes.io/name": "redi"})),
    ("selectors", "a budget of no pods", "PodDisruptionBudget/endpoint", put("spec.selector.matchLabels", {"app": "endpoint"})),
    ("room", "a minimum above what clears Redis", "LimitRange/thaw", put("spec.limits.0.min.memory", "512Mi")),
    ("room", "a quota of disk without a default", "LimitRange/thaw", put("spec.limits.0.default.ephemeral-storage", ...)),
    ("room", "no room for an upgrade", "ResourceQuota/thaw", put("spec.hard.requests~nvidia~com/gpu", "4")),
    ("scaling", "GPUs in requests alone", CLUSTER, put("spec.workerGroupSpecs.1.template.spec.containers.0.resources.limits.nvidia~com/gpu", ...)),
    ("scaling", "a head of four CPUs", CLUSTER, put("spec.headGroupSpec.rayStartParams.num-cpus", "4")),
    ("scaling", "labels that Ray does not read", CLUSTER, put("spec.workerGroupSpecs.0.rayStartParams", {"labels": "role=train"})),
    ("serving", "a misspelt key", SERVICE, text("spec.serveConfigV2", "max_ongoing_requests", "max_ongoing_request")),
    ("serving", "fewest above most", SERVICE, text("spec.serveConfigV2", "min_replicas: 2", "min_replicas: 20")),
    ("serving", "a replica larger than a node", SERVICE, text("spec.serveConfigV2", "num_cpus: 3", "num_cpus: 64")),
    ("runtime_environments", "packages from an index", JOB, put("spec.runtimeEnvYAML", "pip: [torch]\n")),
    ("runtime_environments", "a folder that no node has", JOB, put("spec.runtimeEnvYAML", "working_dir: /home/me/thaw\n")),
    ("runtime_environments", "variables that are no texts", JOB, put("spec.runtimeEnvYAML", "env_vars: {OMP_NUM_THREADS: 1}\n")),
    ("experiments", "an experiment with a misspelt key", "ConfigMap/thaw-experiment", text("data.experiment~yaml", "tasks:", "task:")),
    ("experiments", "a verb that there is not", JOB, text("spec.entrypoint", "thaw train", "thaw finetune")),
    ("experiments", "a cluster that begins without the GPUs of its job", JOB, put("spec.rayClusterSpec.workerGroupSpecs.2.minReplicas", 0)),
    ("metrics", "a metric that nobody exports", "PrometheusRule/thaw", text(f"{ENDPOINT}.0.expr", "ray_serve_num_http_requests_total", "ray_serve_http_requests_total")),
    ("metrics", "a query that cannot be read", "PrometheusRule/thaw", text(f"{ENDPOINT}.1.expr", "histogram_quantile(0.95,", "histogram_quantile(0.95")),
    ("metrics", "a panel of a metric that was renamed", "ConfigMap/thaw-dashboard", text("data.dashboard~json", "thaw_requests_total", "thaw_request_count")),
    ("alerts", "no runbook", "PrometheusRule/thaw", put(f"{ENDPOINT}.0.annotations.runbook", ...)),
    ("alerts", "an alert that is gone", "PrometheusRule/thaw", put("spec.groups.0.rules.0", ...)),
    ("alerts", "no severity", "PrometheusRule/thaw", put(f"{ENDPOINT}.1.labels", {})),
    ("dashboards", "no JSON", "ConfigMap/thaw-dashboard", text("data.dashboard~json", '"panels": [', '"panels": [,')),
    ("dashboards", "a data source of one Grafana", "ConfigMap/thaw-dashboard", text("data.dashboard~json", "${datasource}", "PBFA97CFB590B2093")),
    ("dashboards", "panels on top of each other", "ConfigMap/thaw-dashboard", text("data.dashboard~json", '"x": 8,', '"x": 0,')),
    ("versions", "another Ray in the manifest", JOB, put("spec.rayClusterSpec.rayVersion", "2.59.0")),
    ("versions", "another Ray in the image", CLUSTER, text(f"{WORKER}.containers.0.image", "ray2.60.0", "ray2.59.0")),
    ("versions", "another CUDA in the image", CLUSTER, text(f"{WORKER}.containers.0.image", "cu132", "cu126")),
    ("one_place", "a model of its own", SERVICE, text("spec.serveConfigV2", '"boards"', '"steel"')),
    ("one_place", "a storage root of its own", SERVICE, text("spec.serveConfigV2", "s3://thaw/store", "s3://other/store")),
    ("one_place", "a worker without settings", CLUSTER, put(f"{WORKER}.containers.0.envFrom", [])),
]  # fmt: skip


def planted(documents: list[Document], where: str, change: Change) -> tuple[list[Document], Document]:
    """Return the documents with one of them changed, and that one."""
    kind, _, name = where.partition("/")
    found = next(one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    changed = copy.deepcopy(found)
    change(changed)
    return [changed if one is found else one for one in documents], changed


@pytest.mark.parametrize(("rule", "wrong", "where", "change"), FAULTS, ids=[f"{one[0]}: {one[1]}" for one in FAULTS])
def test_a_planted_fault_is_caught(request, installations, rule, wrong, where, change):
    if rule == NEEDS_SCHEMAS:
        request.getfixturevalue("custom_schemas")
    documents, changed = planted(installations[OVERLAY], where, change)
    assert list(RULES[rule]([changed] if rule in _ALONE else documents))


def test_three_faults_are_planted_for_every_rule():
    planted_for = [rule for rule, _, _, _ in FAULTS]
    assert {rule: planted_for.count(rule) for rule in RULES} == dict.fromkeys(RULES, 3)
