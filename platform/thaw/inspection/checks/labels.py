"""Labels that are probably wrong, by what linear heads on the frozen backbone make of images that they had not seen.

All splits are judged together: wrong labels mislead training in one and the figures in the others, and every split has
something to say about every class. Tasks of boxes and masks are not judged: their heads look at places.

Labels that are more probably wrong than right are a warning. Those of images that look as much like another class as
its own do are a note, for they are wrong where people take one class for another, and right where images are hard.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.finding import SHOWN, Case, Finding, Level
from thaw.inspection.material import Material
from thaw.probe.suspicion import Suspicion, suspect

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = True

SURE = 0.5
"""A label is named once it is more probably wrong than right."""

_PAIRS = 10
"""Most pairs of classes among the figures."""


def check(material: Material) -> Iterator[Finding]:
    """Yield the suspected wrong labels of each task of one class or several an image."""
    if material.vectors is None:
        return
    groups = np.array(material.facts["sha256"].to_pylist(), dtype=np.str_)
    for task, targets in {**material.classes, **material.sets}.items():
        labelled = np.flatnonzero((targets if targets.ndim == 1 else targets[:, 0]) >= 0)
        found = suspect(material.vectors[labelled], targets[labelled], groups[labelled], material.experiment.seed)
        if found is not None:
            yield from _Told(material, task, labelled, targets[labelled], found).findings()


@dataclass(frozen=True)
class _Told:
    """What is said of one task.

    Attributes:
        labelled: places of the images among all.
        targets: of these images.
    """

    material: Material
    task: str
    labelled: NDArray[np.int64]
    targets: NDArray[np.int64]
    found: Suspicion

    def findings(self) -> Iterator[Finding]:
        """Yield what is probably wrong, and what may be."""
        wrong = self.found.wrong > SURE
        if wrong.any():
            expected = float(self.found.wrong[wrong].mean())
            yield self._finding(
                self.found.wrong * wrong,
                name="wrong_labels",
                level="warning",
                told="are probably wrong, by linear heads on the frozen backbone that had not seen them and agree "
                f"with {self.found.agreement:.1%} of all.",
                advice="Look at them, the surest first, and correct those that are wrong in the source: about "
                f"{expected:.0%} of those named are expected to be.",
                figures={"expected_wrong": {"of all labels": self.found.noise, "of those named": expected}},
            )
        if ((self.found.pull > 0) & ~wrong).any():
            yield self._finding(
                self.found.pull * ~wrong,
                name="hard_or_wrong_labels",
                level="note",
                told="belong to images that look as much like another class as images of that class do.",
                advice="Look at the first of them: where people take one class for another they are wrong, otherwise "
                "the images are hard, and nothing needs to be done.",
                figures={},
            )

    def _finding(
        self, scores: NDArray[np.float64], *, name: str, level: Level, told: str, advice: str, figures: dict[str, Any]
    ) -> Finding:
        """Return a finding of the labels with a score; ``told`` goes on after ``3 of 9 labels of kind``."""
        named, judged = self._named(scores), int(self.found.judged.sum())
        things = "labels" if self.targets.ndim == 1 else "labels (each a yes or no to one class)"
        return Finding(
            name=name,
            level=level,
            task=self.task,
            told=f"{len(named):,} of {judged:,} {things} of {self.task} {told}",
            advice=advice,
            count=len(named),
            cases=tuple(self._case(one, float(scores[one])) for one in named[:SHOWN]),
            figures={
                **figures,
                "agreement": self.found.agreement,
                "named_by_split": self._by_split(named),
                "named_by_pair": dict(Counter(self._note(one) for one in named).most_common(_PAIRS)),
                "not_judged": int(self.found.judged.size) - judged,
            },
        )

    def _named(self, scores: NDArray[np.float64]) -> list[tuple[int, ...]]:
        """Return the places of labels with a score, those of the highest one first."""
        places = np.argwhere(scores > 0)
        order = np.argsort([-scores[tuple(one)] for one in places], kind="stable")
        return [tuple(int(step) for step in places[one]) for one in order]

    def _case(self, place: tuple[int, ...], score: float) -> Case:
        return Case(images=(self.material.ids[self.labelled[place[0]]],), note=self._note(place), score=score)

    def _note(self, place: tuple[int, ...]) -> str:
        names = self.material.tasks[self.task].labels.names
        if len(place) == 1:
            return f"said {names[self.targets[place]]}, looks like {names[self.found.likeliest[place]]}"
        name = names[place[1]]
        return f"said {name}, does not look like it" if self.targets[place] else f"looks like {name}, not said so"

    def _by_split(self, named: list[tuple[int, ...]]) -> dict[str, int]:
        splits = self.material.splits[self.labelled]
        return dict(Counter(str(splits[one[0]]) for one in named))
