"""Splits: which images train, which validate and which test.

A pure function of ids, labels, groups and the seed: the order in which images are listed changes nothing.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from thaw.config.experiment import Split
from thaw.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
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
    """Take shares of every stratum out of the pool, a whole group at a time."""
    if not shares:
        return {}
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in pool:
        groups[f"group {item.group}" if item.group is not None else f"image {item.id}"].append(item)
    strata: dict[str | None, list[str]] = defaultdict(list)
    for name, members in groups.items():
        strata[_commonest(item.stratum for item in members)].append(name)
    result: dict[str, str] = {}
    owed = dict.fromkeys(shares, 0.0)
    for stratum in sorted(strata, key=_by_name):
        names = sorted(strata[stratum], key=lambda name: _draw(seed, name))
        sizes = {name: len(groups[name]) for name in names}
        for name, split in _fill(names, sizes, shares, owed).items():
            result.update({item.id: split for item in groups[name]})
    return result


def _commonest(strata: Iterable[str | None]) -> str | None:
    """Return the stratum of most images, and of equally many the first by name."""
    counts = Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], _by_name(stratum)))


def _by_name(stratum: str | None) -> tuple[bool, str]:
    return stratum is None, stratum or ""  # a class may be called None


def _fill(
    names: Sequence[str], sizes: Mapping[str, int], shares: Mapping[str, float], owed: dict[str, float]
) -> dict[str, str]:
    """Give each part groups from the front of ``names`` until its share of the images is reached.

    ``owed`` carries what rounding left over to the next stratum, or many small classes would add up to shares
    that nobody asked for.
    """
    total = sum(sizes.values())
    result, start = {}, 0
    for split, share in shares.items():
        wanted, taken = share * total + owed[split], 0
        while start < len(names) - 1 and taken + sizes[names[start]] / 2 <= wanted:
            result[names[start]] = split
            taken += sizes[names[start]]
            start += 1
        owed[split] = wanted - taken
    return result


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()


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
