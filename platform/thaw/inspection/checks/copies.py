"""Copies: images that are the same, or nearly so, within a split and across splits, and copies whose labels differ.

A copy on the other side of a split is learnt by heart and then asked for, so figures promise more than new images will
show. Which images are copies is said in thaw.inspection.likeness, what to do about it in thaw.inspection.regroup.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from thaw.data.split import SPLITS
from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.likeness import groups
from thaw.inspection.likeness.groups import Copies
from thaw.inspection.material import Material

GATES: tuple[str, ...] = ("copies_across_splits",)
NEEDS_VECTORS = False

_MISLEADS = 0.05
"""Share of the images of val or test with a copy elsewhere, from which on training is refused: figures may be too good
by as much. Fewer are a warning, for they change a figure by less than its interval is wide."""
_SIDE_BY_SIDE = 8
"""Most images of one case."""
_HELD_OUT = tuple(reversed(SPLITS))


@dataclass(frozen=True)
class Seen:
    """What is copied, and where it lies.

    Attributes:
        apart: the places of the images of each group that lies in several splits.
        together: those of each other group.
    """

    material: Material
    ids: Sequence[str]
    splits: NDArray[np.str_]
    copies: Copies
    apart: Sequence[NDArray[np.int64]]
    together: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, material: Material) -> "Seen":
        """Look for the copies among the images."""
        copies, splits = groups.of(material.facts), material.splits
        members = copies.members
        apart = [bool((splits[group] != splits[group[0]]).any()) for group in members]
        return cls(
            material,
            material.ids,
            splits,
            copies,
            [group for group, one in zip(members, apart, strict=True) if one],
            [group for group, one in zip(members, apart, strict=True) if not one],
        )

    def same(self, group: NDArray[np.int64]) -> bool:
        """Return whether all of a group have the same bytes."""
        return bool((self.copies.exact[group] == self.copies.exact[group[0]]).all())

    def cases(self, chosen: Sequence[NDArray[np.int64]], notes: Sequence[str] | None = None) -> tuple[Case, ...]:
        """Return groups to be looked at, those first of which most images are copies."""
        said = notes if notes is not None else [self._said(group) for group in chosen]
        order = sorted(range(len(chosen)), key=lambda place: -len(chosen[place]))[:SHOWN]
        return tuple(Case(images=self._side_by_side(chosen[place]), note=said[place]) for place in order)

    def _side_by_side(self, group: NDArray[np.int64]) -> tuple[str, ...]:
        """Return a few images of a group: one of each split, what is held out first, then another of each."""
        turns, ranked = Counter[str](), []
        for place in group.tolist():
            split = str(self.splits[place])
            ranked.append((turns[split], _HELD_OUT.index(split), place))
            turns[split] += 1
        return tuple(self.ids[place] for _, _, place in sorted(ranked)[:_SIDE_BY_SIDE])

    def _said(self, group: NDArray[np.int64]) -> str:
        counts = Counter(self.splits[group].tolist())
        where = " and ".join(f"{counts[split]:,} in {split}" for split in _HELD_OUT if counts[split])
        return f"{where}; {'the same file' if self.same(group) else 'near copies'}"


def check(material: Material) -> Iterator[Finding]:
    """Yield what is copied, that across splits first."""
    seen = Seen.of(material)
    yield from _across_splits(seen)
    yield from _within(seen, True)
    yield from _within(seen, False)
    for task in material.tasks:
        yield from _disagreeing(seen, task)


def _across_splits(seen: Seen) -> Iterator[Finding]:
    if not seen.apart:
        return
    pairs = [(held, other) for other, held in combinations(SPLITS, 2)]  # train and val, train and test, val and test
    figures = {f"{held} with a copy in {other}": _with_copy(seen, held, other) for held, other in pairs}
    shares = [
        count / max(1, int((seen.splits == held).sum()))
        for (held, _), count in zip(pairs, figures.values(), strict=True)
    ]
    told = ", ".join(
        f"{count:,} of {int((seen.splits == words.partition(' ')[0]).sum()):,} {words}"
        for words, count in figures.items()
        if count
    )
    same = sum(seen.same(group) for group in seen.apart)
    yield Finding(
        name="copies_across_splits",
        level="gate" if max(shares) >= _MISLEADS else "warning",
        told=f"{len(seen.apart):,} groups of copies lie in several splits: {told}.",
        advice="Write a split that keeps each group on one side with `thaw inspect --fix`, and name it in "
        "data.split.file.",
        count=len(seen.apart),
        cases=seen.cases(seen.apart),
        figures={**figures, "groups of the same file": same, "groups of near copies": len(seen.apart) - same},
    )


def _with_copy(seen: Seen, held: str, other: str) -> int:
    """Return how many images of a split have a copy in another one."""
    return sum(int((seen.splits[group] == held).sum()) for group in seen.apart if (seen.splits[group] == other).any())


def _within(seen: Seen, same: bool) -> Iterator[Finding]:
    chosen = [group for group in seen.together if seen.same(group) == same]
    if not chosen:
        return
    counts = Counter(str(seen.splits[group[0]]) for group in chosen for _ in group[1:])
    what = "repeat another of their split, byte by byte" if same else "nearly repeat another of their split"
    yield Finding(
        name="exact_copies" if same else "near_copies",
        level="warning",
        told=f"{counts.total():,} of {len(seen.ids):,} images {what}, in {len(chosen):,} groups.",
        advice="Keep one of each group: the others add no information, and count several times in training and in "
        "figures.",
        count=counts.total(),
        cases=seen.cases(chosen),
        figures={split: counts[split] for split in SPLITS},
    )


def _disagreeing(seen: Seen, task: str) -> Iterator[Finding]:
    chosen, notes = [], []
    for group in [*seen.apart, *seen.together]:
        said = _labels(seen, task, group)
        if len(set(said.values())) > 1:
            chosen.append(np.array(list(said), dtype=np.int64))
            notes.append(" and ".join(dict.fromkeys(_shown(seen.material, task, label) for label in said.values())))
    if chosen:
        yield Finding(
            name="copies_disagree",
            level="warning",
            task=task,
            told=f"{len(chosen):,} groups of copies carry different labels for {task}.",
            advice="Look which label is right, and mend the others: at most one of them is.",
            count=len(chosen),
            cases=seen.cases(chosen, notes),
        )


_Label = tuple[int, ...]


def _labels(seen: Seen, task: str, group: NDArray[np.int64]) -> dict[int, _Label]:
    """Return what labelled images of a group say, by their places, in a form that can be compared.

    Boxes are compared by their number of each class, and between files that are the same alone: a near copy may show
    less.
    """
    material = seen.material
    if task in material.classes:
        classes = material.classes[task]
        return {place: (int(classes[place]),) for place in group.tolist() if classes[place] >= 0}
    if task in material.sets:
        sets = material.sets[task]
        return {place: tuple(np.flatnonzero(sets[place]).tolist()) for place in group.tolist() if sets[place, 0] >= 0}
    if task in material.boxes and seen.same(group):
        boxes = {place: material.boxes[task][place] for place in group.tolist()}
        return {place: tuple(sorted(one.labels.tolist())) for place, one in boxes.items() if one is not None}
    return {}


def _shown(material: Material, task: str, label: _Label) -> str:
    names = material.tasks[task].labels.names
    counts = Counter(names[one] for one in label)
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items()) or "nothing"
