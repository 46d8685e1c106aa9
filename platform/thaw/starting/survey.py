"""Survey: what a source offers, by all of its labels and a sample of its images. Nothing is decided here."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from thaw.config.experiment import AnnotationKind, Limits
from thaw.data import quality
from thaw.data.sources.contract import BadLabel, RawBoxes, RawLabel, RawMask, Reference, Source, UnreadBoxes

_SAMPLE = 64
"""Images, evenly spread, that are opened."""
_THREADS = 4
_GREY = 6
"""Levels by which the colours of a grey photograph may differ after JPEG."""


@dataclass(frozen=True)
class Column:
    """What the images carry in one column.

    Attributes:
        labelled: split -> images with a label; the split is None where the source states none.
        counts: class -> images that carry it, or boxes of it; of boxes that lie in files of their own, and of masks,
            those of the sample alone.
        twin: an earlier column of classes that divides the images exactly alike, if there is one.
    """

    name: str
    kind: AnnotationKind
    labelled: Mapping[str | None, int]
    counts: Mapping[str, int]
    twin: str | None = None

    @property
    def total(self) -> int:
        """Images with a label."""
        return sum(self.labelled.values())


@dataclass(frozen=True)
class Seen:
    """What was seen of a source.

    Attributes:
        splits: split as the source states it -> images; None where it states none.
        columns: by name.
        sides: (short, long) side of each image of the sample that can be decoded, in pixels.
        boxes: class -> sides of its boxes in the sample, as shares of their image's longer side; the side of a box is
            that of a square of its area.
        grey: whether no image of the sample has colours.
        unreadable: images of the sample that cannot be decoded.
    """

    images: int
    splits: Mapping[str | None, int]
    columns: Mapping[str, Column]
    sides: Sequence[tuple[int, int]] = ()
    boxes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    grey: bool = False
    unreadable: int = 0


@dataclass
class _Look:
    """What was seen of one image."""

    sides: tuple[int, int] | None = None
    grey: bool = True
    boxes: dict[str, RawBoxes] = field(default_factory=dict)
    boxed: list[tuple[str, float]] = field(default_factory=list)


def survey(source: Source, references: Sequence[Reference]) -> Seen:
    """Return what was seen of a source.

    Raises:
        StorageError: the store that holds the images does not answer.
    """
    places = np.unique(np.linspace(0, len(references) - 1, min(_SAMPLE, len(references))).astype(int)).tolist()
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = list(pool.map(lambda place: _look(source, references[place]), places))
    good = [one for one in looks if one.sides]
    return Seen(
        images=len(references),
        splits=Counter(one.split for one in references),
        columns=dict(_columns(references, looks)),
        sides=[one.sides for one in good if one.sides],
        boxes=_by_class(looks),
        grey=bool(good) and all(one.grey for one in good),
        unreadable=len(looks) - len(good),
    )


def _look(source: Source, one: Reference) -> _Look:
    look = _Look()
    limits = Limits()
    try:
        pixels = quality.decode(source.read(one.id, limits.max_bytes + 1), limits)
    except (OSError, quality.BadImage):
        return look
    height, width = pixels.shape[:2]
    look.sides = (min(height, width), max(height, width))
    part = pixels[:: max(1, height // 64), :: max(1, width // 64)].astype(np.int16)
    look.grey = bool((part.max(axis=2) - part.min(axis=2)).mean() < _GREY)
    for column, label in one.labels.items():
        found = _boxes(source, label, width, height)
        if found is not None:
            look.boxes[column] = found
            areas = [max(0.0, x1 - x0) * max(0.0, y1 - y0) for x0, y0, x1, y1 in found.boxes]
            sides = [area**0.5 / max(height, width) for area in areas]
            look.boxed += [
                (name, side) for name, side in zip(found.names, sides, strict=True) if 0 < side < float("inf")
            ]
    return look


def _by_class(looks: Sequence[_Look]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, side in (pair for one in looks for pair in one.boxed):
        found.setdefault(name, []).append(side)
    return found


def _boxes(source: Source, label: RawLabel, width: int, height: int) -> RawBoxes | None:
    if isinstance(label, RawBoxes):
        return label
    try:
        return source.boxes(label.id, width, height) if isinstance(label, UnreadBoxes) else None
    except (OSError, BadLabel):
        return None


def _columns(references: Sequence[Reference], looks: Sequence[_Look]) -> Iterator[tuple[str, Column]]:
    """Yield each column that holds anything, in the order in which they first appear."""
    earlier: dict[str, Counter[str]] = {}
    for name in dict.fromkeys(column for one in references for column in one.labels):
        held = [(one.split, label) for one in references if (label := one.labels.get(name)) is not None]
        if held:
            labels = [label for _, label in held]
            kind, twin, counts = _kind(labels), None, _counts(labels, [one.boxes.get(name) for one in looks])
            if kind == "class":
                like = (one for one in earlier if sorted(earlier[one].values()) == sorted(counts.values()))
                twin = next((one for one in like if _alike(references, one, name)), None)
                earlier[name] = counts
            yield name, Column(name, kind, Counter(split for split, _ in held), counts, twin)


def _alike(references: Sequence[Reference], one: str, other: str) -> bool:
    """Return whether each class of a column goes with one of another, and the other way round."""
    pairs = {(a.labels.get(one), a.labels.get(other)) for a in references}
    return len(pairs) == len({left for left, _ in pairs}) == len({right for _, right in pairs})


def _kind(labels: Sequence[RawLabel]) -> AnnotationKind:
    """Return what a column holds: a set of classes where any cell is one."""
    if any(isinstance(label, RawMask) for label in labels):
        return "mask"
    if any(isinstance(label, RawBoxes | UnreadBoxes) for label in labels):
        return "boxes"
    return "classes" if any(isinstance(label, tuple) for label in labels) else "class"


def _counts(labels: Sequence[RawLabel], read: Sequence[RawBoxes | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    unread = any(isinstance(label, UnreadBoxes) for label in labels)
    for label in [*(read if unread else ()), *labels]:
        match label:
            case str():
                found[label] += 1
            case RawBoxes():
                found.update(label.names)
            case RawMask():
                found.update(dict.fromkeys(label.names.values(), 1))
            case tuple():
                found.update(set(label))
    return found
