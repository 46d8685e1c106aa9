"""Labels that are probably wrong, by what linear heads on the frozen backbone make of images that they had not seen.

All splits are judged together: wrong labels mislead training in one and the figures in the others, and every split has
something to say about every class. Tasks of boxes and masks are not judged: their heads look at places.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.inspection.finding import SHOWN, Case, Finding
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
        if found is not None and (found.wrong > SURE).any():
            yield _Told(material, task, labelled, targets[labelled], found).finding()


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

    def finding(self) -> Finding:
        suspects = self._suspects()
        wrong, judged = np.array([self.found.wrong[one] for one in suspects]), int(self.found.judged.sum())
        things = "labels" if self.targets.ndim == 1 else "labels (each a yes or no to one class)"
        return Finding(
            name="wrong_labels",
            level="warning",
            task=self.task,
            told=f"{len(suspects):,} of {judged:,} {things} of {self.task} are probably wrong, by linear heads on the "
            f"frozen backbone that had not seen them and agree with {self.found.agreement:.1%} of all.",
            advice="Look at them, the surest first, and correct those that are wrong in the source: about "
            f"{wrong.mean():.0%} of those named are expected to be.",
            count=len(suspects),
            cases=tuple(self._case(one) for one in suspects[:SHOWN]),
            figures={
                "expected_wrong": {"of all labels": self.found.noise, "of those named": float(wrong.mean())},
                "agreement": self.found.agreement,
                "named_by_split": self._by_split(suspects),
                "named_by_pair": dict(Counter(self._note(one) for one in suspects).most_common(_PAIRS)),
                "not_judged": int(self.found.judged.size) - judged,
            },
        )

    def _suspects(self) -> list[tuple[int, ...]]:
        """Return the places of suspected labels in ``wrong``, the surest first."""
        places = np.argwhere(self.found.wrong > SURE)
        order = np.argsort([-self.found.wrong[tuple(one)] for one in places], kind="stable")
        return [tuple(int(step) for step in places[one]) for one in order]

    def _case(self, place: tuple[int, ...]) -> Case:
        image = self.material.ids[self.labelled[place[0]]]
        return Case(images=(image,), note=self._note(place), score=float(self.found.wrong[place]))

    def _note(self, place: tuple[int, ...]) -> str:
        names = self.material.tasks[self.task].labels.names
        if len(place) == 1:
            return f"said {names[self.targets[place]]}, looks like {names[self.found.likeliest[place]]}"
        name = names[place[1]]
        return f"said {name}, does not look like it" if self.targets[place] else f"looks like {name}, not said so"

    def _by_split(self, suspects: list[tuple[int, ...]]) -> dict[str, int]:
        splits = self.material.splits[self.labelled]
        return dict(Counter(str(splits[one[0]]) for one in suspects))
