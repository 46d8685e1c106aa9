"""Look-alikes: images of different splits that the backbone takes for nearly the same, without being copies.

The same animal, product or stretch of a weld, photographed twice: a model that has seen one knows the other. How near
is near depends on the backbone and on the images, so it is not said by a fixed cosine: two images are told of when they
lie at most half as far from each other as either from the neighbours that it has in plenty.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.split import SPLITS
from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.likeness import groups
from thaw.inspection.likeness.neighbours import Neighbours
from thaw.inspection.material import Material

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = True

_AMONG = 20
"""The neighbour whose distance is the measure."""
_LEAST = 10 * _AMONG
"""Images below which there are no neighbours in plenty."""
_SHARE = 0.5
_AT_ONCE = 4096


@dataclass(frozen=True)
class Alike:
    """Pairs of images: the places of both, and their distance as a share of that of neighbours; nearest pairs first."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shares: NDArray[np.float32]


def check(material: Material) -> Iterator[Finding]:
    """Yield the look-alikes across splits."""
    if material.vectors is None or len(material.vectors) < _LEAST:
        return
    splits, ids = material.splits, material.ids
    copies = groups.of(material.facts).groups
    alike = pairs(material.vectors, splits, copies)
    if not len(alike.first):
        return
    concerned = np.union1d(alike.first, alike.second)
    held_out = {split: int((splits[concerned] == split).sum()) for split in SPLITS}
    yield Finding(
        name="look_alikes_across_splits",
        level="warning",
        told=f"{len(concerned):,} of {len(ids):,} images look so much like one of another split that they may show the "
        "same thing.",
        advice="If they do, say which images belong together, such as with data.source.group_column, so that none is "
        "learnt and then asked for.",
        count=len(concerned),
        cases=tuple(
            Case(
                images=(ids[first], ids[second]),
                note=f"{splits[first]} and {splits[second]}",
                score=round(1 - float(share), 3),
            )
            for first, second, share in zip(alike.first[:SHOWN], alike.second[:SHOWN], alike.shares, strict=False)
        ),
        figures=held_out,
    )


def pairs(vectors: NDArray[np.float32], splits: NDArray[np.str_], copies: NDArray[np.int64]) -> Alike:
    """Return the look-alikes of different splits.

    Distances are of directions from the mean of all vectors.

    Args:
        vectors: (N, D).
        copies: (N,) which group of copies each image is in; images of one group are passed over.
    """
    centred = vectors - vectors.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    index = Neighbours(centred)
    parts = [index.nearest(centred[first : first + _AT_ONCE], _AMONG + 1) for first in range(0, len(centred), _AT_ONCE)]
    cosines, places = (np.concatenate(one) for one in zip(*parts, strict=True))
    usual = 1 - cosines[:, -1]  # the nearest is the image itself
    row, column = np.nonzero((places >= 0) & (places != np.arange(len(places))[:, None]))
    other = places[row, column]
    shares = (1 - cosines[row, column]) / np.maximum(np.minimum(usual[row], usual[other]), 1e-6)
    good = (shares <= _SHARE) & (splits[row] != splits[other]) & (copies[row] != copies[other])
    ends = np.sort(np.stack([row[good], other[good]]), axis=0)
    found, first = np.unique(ends, axis=1, return_index=True)
    shares = shares[good][first]
    order = np.argsort(shares, kind="stable")
    return Alike(found[0, order], found[1, order], shares[order])
