"""Splits: which images train, which validate and which test.

A pure function of ids, labels, groups and the seed: the order in which images are listed changes nothing, and images
that are added later leave nearly all others where they are.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.config.experiment import Split
from thaw.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """What a split needs to know of an image.

    Attributes:
        stratum: the class whose share is kept in every part, or None.
        group: images of one group stay together; None stands alone.
        given: the split that the source states, or None.
    """

    id: str
    stratum: str | None
    group: str | None
    given: str | None


def assign(items: Sequence[Item], options: Split, seed: int) -> dict[str, str]:
    """Return image id -> train, val or test.

    A part that the source states is kept whole. Parts that it lacks are taken out of its train images, or
    of all images where it states nothing, at their shares of what is there to divide.

    Raises:
        DataError: the source uses another word for a split, a group is stated on two sides, or a part is empty.
    """
    stated = {item.id: item.given for item in items if item.given is not None} if options.given else {}
    unknown = sorted({split for split in stated.values() if split not in SPLITS})
    if unknown:
        raise DataError(f"data.split: the source says {unknown[0]!r}; only {', '.join(SPLITS)} are splits")
    shares = {"val": options.val, "test": options.test}
    missing = {split: share for split, share in shares.items() if split not in stated.values()}
    pool = [item for item in items if stated.get(item.id, "train") == "train"]
    result = {**{item.id: "train" for item in items}, **stated, **_divide(pool, missing, seed)}
    _check_groups(items, result)
    _check_parts(result)
    return result


def _divide(pool: Sequence[Item], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Take shares of every stratum out of the pool, a whole group at a time.

    The groups of each stratum are put in an order that is drawn by their names, and each is told by where its middle
    lies in it, from 0 to 1. A part takes the groups of all strata from the least of these places on, until its share of
    all images is reached: so every stratum gives its share within rounding, many small ones together give the share
    that was asked for, and images that are added to one stratum move next to nothing in the others.
    """
    if not shares:
        return {}
    groups = _groups(pool, seed)
    sides: dict[int, str] = {}
    left = groups.in_turn()
    for split, share in shares.items():
        taken = _take(left, groups.sizes, share * len(pool))
        sides.update(dict.fromkeys(taken, split))
        left = [group for group in left if group not in sides]
    return {item.id: sides[of] for item, of in zip(pool, groups.of.tolist(), strict=True) if of in sides}


@dataclass(frozen=True)
class _Groups:
    """G groups of N images.

    Attributes:
        of: (N,) group of each image.
        sizes: (G,) images in each.
        strata: (G,) number of the stratum of each.
        draws: (G,) what orders them.
    """

    of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    strata: NDArray[np.int64]
    draws: NDArray[np.uint64]

    def in_turn(self) -> list[int]:
        """Return the groups in the order in which they are taken, but for the last of each stratum, which trains."""
        order = np.lexsort((self.draws, self.strata))
        strata, sizes = self.strata[order], self.sizes[order]
        totals = np.bincount(strata, weights=sizes)
        before = np.cumsum(sizes) - sizes - (np.cumsum(totals) - totals)[strata]
        middles = (before + sizes / 2) / totals[strata]
        spare = np.zeros(len(order), dtype=bool)
        spare[:-1] = strata[:-1] == strata[1:]
        found: list[int] = order[spare][np.lexsort((self.draws[order[spare]], middles[spare]))].tolist()
        return found


def _groups(pool: Sequence[Item], seed: int) -> _Groups:
    """Return the groups of a pool; an image that belongs to none is one of its own."""
    number: dict[str, int] = {}
    for item in pool:
        number.setdefault(_name(item), len(number))
    of = np.fromiter((number[_name(item)] for item in pool), np.int64, len(pool))
    strata = {number[_name(item)]: item.stratum for item in pool}
    shared: dict[int, Counter[str | None]] = defaultdict(Counter)
    for item in pool:
        if item.group is not None:
            shared[number[_name(item)]][item.stratum] += 1
    strata.update({group: _commonest(counts) for group, counts in shared.items()})
    places = {stratum: place for place, stratum in enumerate(dict.fromkeys(strata.values()))}
    return _Groups(
        of,
        np.bincount(of, minlength=len(number)),
        np.array([places[strata[group]] for group in range(len(number))], dtype=np.int64),
        np.fromiter((_draw(seed, name) for name in number), np.uint64, len(number)),
    )


def _name(item: Item) -> str:
    return f"group {item.group}" if item.group is not None else f"image {item.id}"


def _commonest(counts: Mapping[str | None, int]) -> str | None:
    """Return the stratum of most images, and of equally many the first by name."""
    return min(counts, key=lambda stratum: (-counts[stratum], _by_name(stratum)))


def _by_name(stratum: str | None) -> tuple[bool, str]:
    return stratum is None, stratum or ""  # a class may be called None


def _take(groups: Sequence[int], sizes: NDArray[np.int64], wanted: float) -> list[int]:
    """Return groups from the front of those in turn, passing over what would lead further away from ``wanted``."""
    taken, images = [], 0
    for group in groups:
        size = int(sizes[group])
        if images + size / 2 <= wanted:
            taken.append(group)
            images += size
    return taken


def _draw(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "little")


def _check_groups(items: Sequence[Item], result: Mapping[str, str]) -> None:
    sides: dict[str, str] = {}
    for item in items:
        if item.group is not None and sides.setdefault(item.group, result[item.id]) != result[item.id]:
            raise DataError(
                f"data.split: group {item.group!r} is in {sides[item.group]} and in {result[item.id]}; its images "
                "would leak between them (correct the source's split, or set data.split.given=false)"
            )


def _check_parts(result: Mapping[str, str]) -> None:
    found = Counter(result.values())
    empty = [split for split in SPLITS if not found[split]]
    if empty:
        raise DataError(f"data.split: {len(result)} image(s) leave {' and '.join(empty)} empty; add images or shares")
