"""Ranking: what is known of every backbone that was asked about, and in which order they stand.

How the figures were come by stands in the modules beside this one.
"""

from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """Where latency was measured; figures from elsewhere are not taken for this machine's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    device: str
    """Name of the processor or the GPU."""
    threads: int
    torch: str


class Probe(BaseModel):
    """What linear heads made of the features of one backbone; kept in storage, for the same question has one answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, dict[str, float]]
    """Task -> metric -> value on the validation images."""
    penalties: dict[str, float]
    """Task -> the penalty that was best."""
    images: dict[str, int]
    """Split -> how many images were seen."""
    embed_s: float
    """Seconds that computing the features took, on all nodes together."""
    fit_s: float
    """Seconds that fitting the heads took."""


class Row(BaseModel):
    """One backbone; what was not found out is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    weights: str
    """hub, package, path or none."""
    sha256: str | None = None
    """Of the weights."""
    parameters: int | None = None
    macs: int | None = None
    """Multiply-accumulates of one image."""
    latency_ms: dict[int, float] = {}
    """Images in a batch -> median milliseconds of it."""
    disturbed: bool = False
    """Whether other work had the cores meanwhile: the milliseconds are too many, and were not kept."""
    probe: Probe | None = None
    probed_before: bool = False
    """Whether the probe is one of an earlier call."""
    left_out: str | None = None
    """Why it is not among the ranked; None where it is."""

    def value(self, task: str, metric: str) -> float | None:
        """Return a figure of the probe."""
        return self.probe.metrics.get(task, {}).get(metric) if self.probe else None


class Ranking(BaseModel):
    """Backbones, best first, and then those that are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    image_size: int
    machine: Machine
    metrics: dict[str, str]
    """Task -> the metric that ranks by it; the mean over tasks decides, and among equals the latency of one image."""
    unranked_tasks: dict[str, str]
    """Task -> why it says nothing here."""
    rows: tuple[Row, ...]

    def ordered(self) -> "Ranking":
        """Return the same with its rows in order."""
        return self.model_copy(update={"rows": tuple(sorted(self.rows, key=self._place))})

    def score(self, row: Row) -> float | None:
        """Return the mean of the tasks' metrics that a row has, higher being better."""
        found = [row.value(task, metric) for task, metric in self.metrics.items()]
        known = [one for one in found if one is not None]
        return sum(known) / len(known) if known else None

    def _place(self, row: Row) -> tuple[bool, float, float, str]:
        score = self.score(row)
        return bool(row.left_out), -(score or 0.0), row.latency_ms.get(1, 0.0), row.backbone
