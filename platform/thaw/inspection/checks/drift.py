"""Splits that look different: whether the images of val and test are like those of train, to the frozen backbone.

What a model is chosen and scored by should be what it will meet; what it learns from should be too.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.material import Material
from thaw.probe.two_samples import CERTAIN, DIFFERENT, Comparison, compare

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = True


def check(material: Material) -> Iterator[Finding]:
    """Yield each split that looks different from train."""
    if material.vectors is None:
        return
    train = _images(material, "train")
    for split in ("val", "test"):
        images = _images(material, split)
        found = compare(material.vectors[train], material.vectors[images], material.experiment.seed)
        if found is not None and found.auc >= DIFFERENT and found.p <= CERTAIN:
            yield _finding(material, split, images, found)


def _images(material: Material, split: str) -> NDArray[np.int64]:
    """Return the places of a split's images, copies not among them: a class of copies alone would be told apart."""
    places = np.flatnonzero(material.splits == split)
    hashes = np.array(material.facts["sha256"].to_pylist(), dtype=np.str_)[places]
    return places[np.sort(np.unique(hashes, return_index=True)[1])]


def _finding(material: Material, split: str, images: NDArray[np.int64], found: Comparison) -> Finding:
    strangest = np.argsort(-found.strangeness, kind="stable")[:SHOWN]
    return Finding(
        name=f"{split}_differs_from_train",
        level="warning",
        told=f"Images of {split} look different from those of train: a linear classifier on the frozen backbone, asked "
        f"which of two unseen images is of {split}, is right in {found.auc:.0%} of cases (half would be chance; "
        f"p = {found.p:.3f}, {found.seen[1]:,} against {found.seen[0]:,} images).",
        advice=f"See whether {split} or train is what the model will meet, and collect or split anew if need be: what "
        f"is learnt on the one may not hold on the other. Those that look least like train are shown.",
        count=len(images),
        cases=tuple(
            Case(
                images=(material.ids[images[found.rows[one]]],),
                note=f"{found.strangeness[one]:.1f} standard deviations from train",
                score=float(found.strangeness[one]),
            )
            for one in strangest
        ),
        figures={"auc": found.auc, "p": found.p, "compared": {"train": found.seen[0], split: found.seen[1]}},
    )
