"""Drift: a version's logged answers of some days against its reference, and what is concluded.

Images are compared by what the backbone makes of them, answers class by class. Something is said to have drifted where
the difference is both large and certain: of many images even a difference that does not matter is certain.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from thaw.bundle import Bundle
from thaw.config.limits import Limits
from thaw.data import logged
from thaw.data.logged import Span
from thaw.errors import DataError
from thaw.evaluation.figures import Figures
from thaw.probe import two_samples
from thaw.probe.two_samples import CERTAIN, DIFFERENT, LEAST_IMAGES, MOST_IMAGES, Comparison
from thaw.registry.store import ModelVersion
from thaw.serving.watch import live
from thaw.serving.watch.drift import decided, reference, shift
from thaw.serving.watch.drift.decided import Decided
from thaw.serving.watch.drift.reference import Reference
from thaw.serving.watch.drift.shift import LARGE, Shift
from thaw.storage import Root

FOLDER = "serving/drift"


class Bounds(BaseModel):
    """From what on a difference is large."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auc: Annotated[float, Field(gt=0.5, le=1)] = DIFFERENT
    """Of telling images from those of the reference."""
    index: Annotated[float, Field(gt=0)] = LARGE
    """The population stability index of a task's answers."""
    p: Annotated[float, Field(gt=0, lt=1)] = CERTAIN
    """Up to what probability of being chance it counts."""


class Images(BaseModel):
    """How well a linear classifier tells the images asked about from those of the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auc: float
    p: float
    seen: tuple[int, int]
    """Images of the reference, and asked about, that were compared."""


class Drift(BaseModel):
    """What was found of one version on some days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    version: int
    dataset: str
    """Whose validation images are the reference, below the storage root."""
    first: date
    last: date
    created: datetime
    answers: int
    """Answers in the log."""
    images: Images | None
    """None where too few vectors are kept."""
    tasks: dict[str, Shift]
    """Tasks with too few answers are left out."""
    accuracy: dict[str, Figures]
    """Task -> how right the answers were that users spoke of."""
    bounds: Bounds

    @property
    def drifted(self) -> tuple[str, ...]:
        """What has drifted: ``images``, and names of tasks behind ``answers of``."""
        found = [f"answers of {name}" for name, one in self.tasks.items() if self._is_large(one)]
        of = self.images
        images = of is not None and of.auc >= self.bounds.auc and of.p <= self.bounds.p
        return ("images", *found) if images else tuple(found)

    def _is_large(self, one: Shift) -> bool:
        return one.index.value >= self.bounds.index and one.p <= self.bounds.p


@dataclass(frozen=True)
class Found:
    """A drift, and the logged images that look least like the reference.

    Attributes:
        strangest: picture as it is kept, and how many standard deviations it is off; the strangest first.
    """

    drift: Drift
    strangest: tuple[tuple[bytes, float], ...]


@dataclass(frozen=True)
class _Logged:
    """What is kept of N answers.

    Attributes:
        places: path of the file and row in it.
    """

    decided: Mapping[str, Decided]
    places: tuple[tuple[str, int], ...]


def find(root: Root, found: ModelVersion, network: Bundle, days: int, bounds: Bounds, seed: int = 0) -> Found:
    """Compare the last days, today among them, with the reference of a version.

    Args:
        network: the version's bundle.

    Raises:
        DataError: nothing is logged of these days, or the dataset of the version is gone.
    """
    today = datetime.now(UTC).date()
    span = Span(today - timedelta(days=days - 1), today)
    classes = {name: task.labels.names for name, task in network.tasks.items()}
    kept = _logged(root, found, classes, span)
    known = reference.of(root, found, network)
    before = decided.of_column(known.rows["decided"], classes)
    compared, strangest = _images(root, kept, known, network, seed)
    exclusive = {name: task.labels.kind == "class" for name, task in network.tasks.items()}
    shifts = {name: shift.shift(before[name], kept.decided[name], exclusive[name], seed) for name in classes}
    told = Drift(
        model=found.name,
        version=found.version,
        dataset=known.dataset,
        first=today - timedelta(days=days - 1),
        last=today,
        created=datetime.now(UTC),
        answers=len(kept.places),
        images=compared,
        tasks={name: one for name, one in shifts.items() if one is not None},
        accuracy=live.accuracy(root, found.name, found.version, network.tasks, span, seed),
        bounds=bounds,
    )
    return Found(told, strangest)


def _logged(root: Root, found: ModelVersion, classes: Mapping[str, tuple[str, ...]], span: Span) -> _Logged:
    """Return what is kept of a version's answers.

    Raises:
        DataError: nothing is.
    """
    parts: list[dict[str, Decided]] = []
    places: list[tuple[str, int]] = []
    for path, rows in logged.answers(root, found.name, span, ["version", "decided"]):
        of = pc.equal(rows["version"], found.version)
        chosen = np.flatnonzero(of.to_numpy(zero_copy_only=False))
        if len(chosen):
            parts.append(decided.of_column(rows["decided"].take(pa.array(chosen)), classes))
            places += [(path, int(row)) for row in chosen]
    if not parts:
        days = (span.last - span.first).days + 1 if span.first and span.last else 0
        raise DataError(
            f"{root.shown(f'{logged.LOG}/{found.name}')}: no answer of {found.name}/{found.version} is kept of the "
            f"last {days} days; set serve.log.share, or name a version that answers"
        )
    return _Logged({name: decided.joined([one[name] for one in parts]) for name in classes}, tuple(places))


def _images(
    root: Root, kept: _Logged, known: Reference, network: Bundle, seed: int
) -> tuple[Images | None, tuple[tuple[bytes, float], ...]]:
    """Compare images by their vectors, and return the pictures of the strangest."""
    drawn = np.random.default_rng(seed).permutation(len(kept.places))[:MOST_IMAGES]
    vectors, places = _vectors(root, [kept.places[row] for row in sorted(drawn.tolist())], network)
    found = two_samples.compare(known.vectors, vectors, seed) if len(places) >= LEAST_IMAGES else None
    if found is None:
        return None, ()
    return Images(auc=found.auc, p=found.p, seen=found.seen), tuple(_strangest(root, found, places))


def _vectors(
    root: Root, places: list[tuple[str, int]], network: Bundle
) -> tuple[NDArray[np.float32], list[tuple[str, int]]]:
    """Return (M, D) vectors of logged images, kept or made now of whole images, and where those images are."""
    vectors: list[NDArray[np.float32]] = []
    found: list[tuple[str, int]] = []
    for path in dict.fromkeys(path for path, _ in places):
        chosen = [row for one, row in places if one == path]
        rows = logged.read(root, path, ["embedding", "whole", "image"]).take(chosen).to_pylist()
        missing = [row["image"] for row in rows if row["embedding"] is None and row["whole"]]
        made = reference.embedded(network, missing, Limits())
        for row, place in zip(rows, chosen, strict=True):
            vector = row["embedding"]
            if vector is None and row["whole"]:
                _, vector = next(made) or (None, None)
            if vector is not None:
                vectors.append(np.asarray(vector, dtype=np.float32))
                found.append((path, place))
    return np.stack(vectors) if vectors else np.empty((0, 0), np.float32), found


_SHOWN = 12


def _strangest(root: Root, found: Comparison, places: list[tuple[str, int]]) -> Iterator[tuple[bytes, float]]:
    """Yield the pictures of the images that look least like the reference, where pictures are kept."""
    for at in np.argsort(-found.strangeness, kind="stable")[:_SHOWN]:
        path, row = places[found.rows[at]]
        image = logged.read(root, path, ["image"])["image"][row].as_py()
        if image:
            yield image, float(found.strangeness[at])
