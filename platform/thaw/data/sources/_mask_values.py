"""What the values of masks mean, guessed from masks that nobody has described."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.files import Folder
from thaw.data.sources._mask_picture import read_mask
from thaw.data.sources.contract import BadLabel
from thaw.errors import DataError
from thaw.metrics.masks import IGNORED

_LOOKED_AT = 200
"""Masks, evenly spread, that are opened."""
_MOST = 64
"""Values from which on they are no classes, but grey levels or the numbers of things."""
_SURE = 0.98
"""Share of the images with a value that must be of one class for the value to have its name."""


@dataclass(frozen=True)
class MaskValues:
    """What values mean, and what was guessed of it."""

    names: Mapping[int, str]
    assumed: tuple[str, ...]
    unsure: tuple[str, ...]


def guess(folder: Folder, masks: Sequence[str], classes: Sequence[Mapping[str, str]] = ()) -> MaskValues:
    """Return what the values of masks mean, by the masks themselves and by what else is said of their images.

    A value that occurs in images of one class alone is that class. Of the others, 0 is the background, or else the
    value that most of the pixels along the edges have.

    Args:
        masks: paths.
        classes: column -> class name of each mask's image; none, or one a mask.

    Raises:
        DataError: none of them can be read as a mask, or they have too many values to be classes.
    """
    places = np.unique(np.linspace(0, len(masks) - 1, min(_LOOKED_AT, len(masks))).astype(int)).tolist()
    opened = {place: mask for place in places if (mask := _read(folder, masks[place])) is not None}
    if not opened:
        _refuse(folder, masks[0])
    counts = [np.bincount(mask.ravel(), minlength=256) for mask in opened.values()]
    found = np.flatnonzero(np.sum(counts, axis=0)).tolist()
    if len(found) > _MOST:
        raise DataError(f"{folder.shown(masks[0])} and others hold {len(found)} values; classes were expected")
    values = [value for value in found if value != IGNORED or len(found) <= 2]
    held = [np.flatnonzero(count) for count in counts]
    said = [classes[place] for place in opened] if classes else []
    known = dict(_of_classes(values, held, said))
    behind = _background(values, list(opened.values()), known)
    names = {value: known.get(value) or _name(value, behind, values) for value in values}
    return MaskValues(names, *_told(names, known, behind, found, len(opened)))


def _read(folder: Folder, path: str) -> NDArray[np.uint8] | None:
    try:
        return read_mask(folder, path)
    except (OSError, BadLabel):
        return None


def _refuse(folder: Folder, path: str) -> None:
    try:
        read_mask(folder, path)
    except (OSError, BadLabel) as error:
        said = error.detail if isinstance(error, BadLabel) else error.strerror
        raise DataError(f"{folder.shown(path)} and others cannot be read as masks: {said}") from None


def _of_classes(
    values: Sequence[int], held: Sequence[NDArray[np.int64]], said: Sequence[Mapping[str, str]]
) -> Iterator[tuple[int, str]]:
    """Yield the values that occur in images of one class alone, with that class, where no other value does."""
    for column in said[0] if said else ():
        if len({one.get(column) for one in said}) < 2:
            continue
        seen: dict[int, Counter[str]] = defaultdict(Counter)
        for inside, one in zip(held, said, strict=True):
            if name := one.get(column):
                for value in inside.tolist():
                    seen[value][name] += 1
        commonest = {value: seen[value].most_common(1)[0] for value in values if seen[value]}
        sure = {value: name for value, (name, count) in commonest.items() if count >= _SURE * seen[value].total()}
        taken = Counter(sure.values())
        if found := [(value, name) for value, name in sure.items() if taken[name] == 1]:
            yield from found
            return


def _background(values: Sequence[int], masks: Sequence[NDArray[np.uint8]], known: Mapping[int, str]) -> int | None:
    """Return the value of what lies behind, if any value is left for it."""
    if 0 in values and 0 not in known:
        return 0
    edges = np.concatenate([np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]) for mask in masks])
    counts = np.bincount(edges, minlength=256)
    return max((value for value in values if value not in known), key=lambda value: counts[value], default=None)


def _name(value: int, behind: int | None, values: Sequence[int]) -> str:
    if value == behind:
        return "background"
    return "foreground" if len(values) == 2 else f"value_{value}"


def _told(
    names: Mapping[int, str], known: Mapping[int, str], behind: int | None, found: Sequence[int], looked: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what was assumed and what is unsure."""
    assumed = [f"the values in {looked} masks mean {', '.join(f'{value} {name}' for value, name in names.items())}"]
    if known:
        assumed.append(f"{_listed(known)}: occur in images of one class alone, whose name they were given")
    if len(names) < len(found):
        assumed.append(f"{IGNORED} in masks: pixels without a label")
    made_up = [value for value in names if value not in known and value != behind]
    unsure = []
    if made_up:
        unsure.append(f"what {_listed(made_up)} in masks mean: {', '.join(names[one] for one in made_up)} are made up")
    if behind:
        unsure.append(f"whether {behind} in masks is the background: most pixels along the edges of images have it")
    return tuple(assumed), tuple(unsure)


def _listed(values: Mapping[int, str] | Sequence[int]) -> str:
    return f"value{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"
