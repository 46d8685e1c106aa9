"""Metrics: what Prometheus may ask of an endpoint, counted in each replica and added up over all.

Nothing here grows with what callers send: versions and classes beyond a bound are counted together as ``other``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from thaw.serving.api.contract import Answered
from thaw.tasks.contract import Answer, Task

CLASSES = 200
"""Classes of a task that are counted by name, in the order of the head's outputs."""
VERSIONS = 64
"""Versions of models that are counted by number, those first that were asked first."""
OTHER = "other"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = tuple(float(2**power) for power in range(9))
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_VERSION = ("model", "version")
_TASK = (*_VERSION, "task")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """All values of one metric at one moment, as plain data.

    Attributes:
        values: name of a series and its labels -> value.
    """

    name: str
    kind: str
    told: str
    values: Mapping[tuple[str, Labels], float]


Snapshot = tuple[Family, ...]


class Metrics:
    """What one replica counts."""

    def __init__(self) -> None:
        self._registry = made = CollectorRegistry()
        self._requests = Counter("thaw_requests", "Images that were answered.", _VERSION, registry=made)
        self._errors = Counter(
            "thaw_request_errors", "Images that were not answered, by why.", (*_VERSION, "kind"), registry=made
        )
        self._seconds = {
            what: Histogram(f"thaw_{what}_seconds", told, _VERSION, buckets=_SECONDS, registry=made)
            for what, told in (
                ("decode", "From encoded bytes to the model's input."),
                ("queue", "Waiting for the forward pass."),
                ("infer", "Forward pass and reading the answers, of the whole batch."),
            )
        }
        self._batch = Histogram(
            "thaw_batch_images", "Images in a forward pass, told by each of them.", _VERSION, buckets=_IMAGES,
            registry=made,
        )  # fmt: skip
        self._classes = Counter("thaw_predictions", "Classes that were answered.", (*_TASK, "class"), registry=made)
        self._confidence = Histogram(
            "thaw_confidence",
            "Score of the surest class of an answer; of pixels, the share of the image that its largest class covers.",
            _TASK,
            buckets=_SCORES,
            registry=made,
        )
        self._abstained = Counter(
            "thaw_abstained", "Answers of which the model was unsure; of several classes, their share.", _TASK,
            registry=made,
        )  # fmt: skip
        self._compared = Counter(
            "thaw_compared", "Images asked of two versions, by what became of it.", (*_VERSION, "outcome"),
            registry=made,
        )  # fmt: skip
        self._differed = Counter(
            "thaw_disagreement", "Share of an answer that another version gave otherwise.", _VERSION, registry=made
        )
        self._responses = Counter(
            "thaw_http_responses", "Responses of every kind, refusals before any image was read among them.",
            ("status",), registry=made,
        )  # fmt: skip
        self._logged = Counter(
            "thaw_logged", "Answers for the prediction log, kept or dropped.", ("outcome",), registry=made
        )
        self._versions: dict[tuple[str, int], _OfVersion] = {}

    def answered(self, one: Answered) -> None:
        """Count an answer."""
        of = self._of(one.model, one.version)
        of.requests.inc()
        of.decode.observe(one.seconds.decode)
        of.queue.observe(one.seconds.queue)
        of.infer.observe(one.seconds.infer)
        of.batch.observe(one.seconds.batch)
        for name, answer in one.found.items():
            of.task(name, one.tasks[name]).count(answer)

    def responded(self, status: int) -> None:
        """Count a response by its status."""
        self._responses.labels(str(status)).inc()

    def logged(self, outcome: str, answers: int) -> None:
        """Count answers that were kept in the prediction log, or dropped."""
        self._logged.labels(outcome).inc(answers)

    def failed(self, model: str, version: int, kind: str) -> None:
        """Count an image that was not answered; ``kind`` is one of a few words, never what a caller sent."""
        self._errors.labels(model, self._of(model, version).shown, kind).inc()

    def compared(self, model: str, version: int, outcome: str, differed: float = 0.0) -> None:
        """Count an image that was to be asked of a second version."""
        shown = self._of(model, version).shown
        self._compared.labels(model, shown, outcome).inc()
        self._differed.labels(model, shown).inc(differed)

    def snapshot(self) -> Snapshot:
        """Return all values."""
        return tuple(
            Family(
                family.name,
                family.type,
                family.documentation,
                {
                    (sample.name, tuple(sample.labels.items())): sample.value
                    for sample in family.samples
                    if not sample.name.endswith("_created")  # times do not add up
                },
            )
            for family in self._registry.collect()
        )

    def _of(self, model: str, version: int) -> "_OfVersion":
        found = self._versions.get((model, version))
        if found is None:
            shown = str(version) if len(self._versions) < VERSIONS else OTHER
            found = _OfVersion(self, model, shown)
            if shown != OTHER:
                self._versions[model, version] = found
        return found


class _OfVersion:
    """The series of one version, looked up once."""

    def __init__(self, metrics: Metrics, model: str, shown: str) -> None:
        self.shown, self._labels, self._metrics = shown, (model, shown), metrics
        self.requests = metrics._requests.labels(model, shown)
        self.decode, self.queue, self.infer = (one.labels(model, shown) for one in metrics._seconds.values())
        self.batch = metrics._batch.labels(model, shown)
        self._tasks: dict[str, _OfTask] = {}

    def task(self, name: str, task: Task) -> "_OfTask":
        found = self._tasks.get(name)
        if found is None:
            found = self._tasks[name] = _OfTask(self._metrics, (*self._labels, name), task)
        return found


class _OfTask:
    """The series of one head of one version."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str], task: Task) -> None:
        self._confidence = metrics._confidence.labels(*labels)
        self._abstained = metrics._abstained.labels(*labels)
        other = metrics._classes.labels(*labels, OTHER) if len(task.labels.names) > CLASSES else None
        self._classes = {
            name: metrics._classes.labels(*labels, name) if place < CLASSES or other is None else other
            for place, name in enumerate(task.labels.names)
        }

    def count(self, answer: Answer) -> None:
        decided = answer.decided()
        for name, _ in decided:
            self._classes[name].inc()
        if decided:
            self._confidence.observe(max(score for _, score in decided))
        self._abstained.inc(answer.abstained())


def counter(name: str, told: str, labels: Mapping[str, str], value: float) -> Family:
    """Return a counter that something else keeps."""
    return Family(name, "counter", told, {(f"{name}_total", tuple(labels.items())): value})


def gauge(name: str, told: str, labels: Mapping[str, str], value: float) -> Family:
    """Return a value that goes up and down."""
    return Family(name, "gauge", told, {(name, tuple(labels.items())): value})


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sums over several replicas."""
    found: dict[str, Family] = {}
    for family in (family for snapshot in snapshots for family in snapshot):
        known = found.get(family.name)
        values = dict(known.values) if known else {}
        for series, value in family.values.items():
            values[series] = values.get(series, 0.0) + value
        found[family.name] = Family(family.name, family.kind, family.told, values)
    return tuple(found.values())


def exposed(snapshot: Snapshot, labels: Mapping[str, str] | None = None) -> bytes:
    """Return values as Prometheus reads them.

    Args:
        labels: added to every series.
    """
    return generate_latest(_Exposed(snapshot, labels or {}))


@dataclass(frozen=True)
class _Exposed:
    snapshot: Snapshot
    labels: Mapping[str, str]

    def collect(self) -> Iterator[Metric]:
        for family in self.snapshot:
            metric = Metric(family.name, family.told, family.kind)
            for (name, labels), value in family.values.items():
                metric.add_sample(name, {**dict(labels), **self.labels}, value)
            yield metric
