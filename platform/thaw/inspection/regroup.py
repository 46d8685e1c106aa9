"""Regrouping: a split in which all copies of an image lie on one side, as near to the split that there is as can be.

A group goes to test if at least a third of it lies there; else to val likewise; else to train. So a copy of a test
image leaves the training set, rather than the test set an image; but one test image among many of a burst does not draw
all of them into the test set. A group stays in train, whatever lies elsewhere, where a class would have no training
image left without it. Groups that the source states are part of it. No image is left out, and what has no copy stays.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data import prepare, split_file
from thaw.data.sources.contract import Reference
from thaw.data.split import SPLITS
from thaw.inspection.likeness import groups
from thaw.inspection.material import Material

_DRAWS = 1 / 3
"""Share of a group in a held-out split from which on it draws the rest there."""

Carried = list[tuple[str, int]]
"""Task and class of what an image carries."""


@dataclass(frozen=True)
class Fixed:
    """A split that was written.

    Attributes:
        file: where it is: what ``data.split.file`` takes.
        moved: how many images moved which way, such as ``train to test``.
        lines: the same for a person.
    """

    file: str
    moved: Mapping[str, int]
    lines: Sequence[str]


def fix(material: Material, file: str) -> Fixed:
    """Write a split of all images that the source names that keeps copies on one side.

    Images that were set aside go to the side of their stated group, or else into train. Of one that is mended later it
    is not known yet whether it is a copy of another: look again then.

    Args:
        file: a path or URI to write to.

    Raises:
        DataError: the source cannot be read.
        StorageError: the file cannot be written.
    """
    references = list(prepare.open_source(material.experiment.data.source).references())
    joined = together(material.ids, groups.of(material.facts).groups, references)
    before = material.splits
    after = regrouped(joined, before, carried(material))
    split_file.write(file, with_others(dict(zip(material.ids, after.tolist(), strict=True)), references))
    moved = Counter(f"{left} to {to}" for left, to in zip(before.tolist(), after.tolist(), strict=True) if left != to)
    return Fixed(file, dict(moved), list(_lines(file, before, after, moved)))


def with_others(known: Mapping[str, str], references: Sequence[Reference]) -> dict[str, str]:
    """Return the side of every image that a source names, those too of which no side is known."""
    of_group = {one.group: known[one.id] for one in references if one.group is not None and one.id in known}
    return {one.id: known.get(one.id) or of_group.get(one.group or "", "train") for one in references}


def together(ids: Sequence[str], copies: NDArray[np.int64], references: Sequence[Reference]) -> NDArray[np.int64]:
    """Return (N,) the first image of what must lie on one side: copies, and groups that the source states.

    Args:
        ids: N images.
        copies: (N,) the first image of each one's group of copies.
    """
    place, first = {one: row for row, one in enumerate(ids)}, dict[str, int]()
    stated = [(place[one.id], one.group) for one in references if one.group is not None and one.id in place]
    links = [(row, first.setdefault(group, row)) for row, group in stated]
    ends = np.array([*enumerate(copies.tolist()), *links], dtype=np.int64).reshape(-1, 2)
    return groups.components(len(ids), ends[:, 0], ends[:, 1])


def carried(material: Material) -> list[Carried]:
    """Return the classes that each image carries, of the tasks that label whole images or boxes."""
    found: list[Carried] = [[] for _ in material.ids]
    for task, classes in material.classes.items():
        for row in np.flatnonzero(classes >= 0).tolist():
            found[row].append((task, int(classes[row])))
    for task, sets in material.sets.items():
        for row, one in np.argwhere(sets > 0).tolist():
            found[row].append((task, one))
    for task, boxes in material.boxes.items():
        for row, held in enumerate(boxes):
            found[row] += [(task, one) for one in set(held.labels.tolist())] if held is not None else []
    return found


def regrouped(joined: NDArray[np.int64], splits: NDArray[np.str_], carries: Sequence[Carried]) -> NDArray[np.str_]:
    """Return (N,) the split of each image once every group lies in one.

    Args:
        joined: (N,) the first image of each one's group.
        splits: (N,) where they lie now.
        carries: what each carries; a class that is in train now stays there.
    """
    after = splits.copy()
    left = Counter(one for row in np.flatnonzero(splits == "train").tolist() for one in carries[row])
    for group in groups.members(joined):
        if (splits[group] == splits[group[0]]).all():
            continue
        leaving = Counter(one for row in group[splits[group] == "train"].tolist() for one in carries[row])
        side = _side(splits[group].tolist())
        if side != "train" and any(left[one] <= count for one, count in leaving.items()):
            side = "train"
        if side != "train":
            left -= leaving
        after[group] = side
    return after


def _side(splits: Sequence[str]) -> str:
    """Return where a group with images in these splits goes."""
    drawn = (side for side in reversed(SPLITS[1:]) if splits.count(side) >= _DRAWS * len(splits))
    return str(next(drawn, "train"))


def _lines(file: str, before: NDArray[np.str_], after: NDArray[np.str_], moved: Mapping[str, int]) -> list[str]:
    if not moved:
        return [f"no copies lie in several splits; the split as it is was written to {file}"]
    ways = ", ".join(f"{count:,} from {way}" for way, count in sorted(moved.items()))
    sizes = ", ".join(f"{side} {int((before == side).sum()):,} -> {int((after == side).sum()):,}" for side in SPLITS)
    return [f"moved {sum(moved.values()):,} images ({ways}): {sizes}", f"use it with data.split.file={file}"]
