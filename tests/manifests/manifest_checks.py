"""All rules of manifests, by name."""

from collections.abc import Callable, Iterator

from manifest_rules import network, operator, pods, ray_reads, references, schemas, versions, watching
from rendered import Document

Rule = Callable[[list[Document]], Iterator[str]]

RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        schemas.core_kinds,
        schemas.custom_kinds,
        schemas.disruption_budgets,
        pods.restricted,
        pods.identity,
        pods.resources,
        pods.files,
        pods.images,
        pods.placement,
        operator.names,
        operator.start_parameters,
        operator.autoscaler,
        operator.authentication,
        operator.fault_tolerance,
        operator.job_ends,
        operator.job_attempts,
        operator.upgrades,
        operator.queueing,
        network.openings,
        network.exposure,
        references.resolved,
        references.selectors,
        references.room,
        ray_reads.scaling,
        ray_reads.serving,
        ray_reads.runtime_environments,
        ray_reads.experiments,
        watching.metrics,
        watching.alerts,
        watching.dashboards,
        versions.versions,
        versions.one_place,
    )
}
NEEDS_SCHEMAS = "custom_kinds"
"""The rule that needs schemas which are not in this repository."""
