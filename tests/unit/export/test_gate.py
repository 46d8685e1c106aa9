"""No artifact passes that answers otherwise than its parent: whatever was swapped, lost or is not a number."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from stored import IMAGES, Stored
from thaw.bundle import Bundle, build_tasks
from thaw.export import gate
from thaw.export.gate import Tolerance, Verdict
from thaw.tasks.contract import Answering, Task

STRICT = Tolerance(drop=0.005, flips=0.02)


def _judged(stored: Stored, artifact: Bundle, tolerance: Tolerance = STRICT) -> Verdict:
    return gate.judge(stored.bundle, artifact, stored.validation.batches(), tolerance)


def _broken(stored: Stored, breaks: Callable[[Bundle], None]) -> Bundle:
    broken = replace(stored.bundle, model=copy.deepcopy(stored.bundle.model))
    with torch.no_grad():
        breaks(broken)
    return broken


def _swap_channels(one: Bundle) -> None:
    """As if it were given blue, green and red, in this order."""
    first = next(weight for weight in one.model.backbone.parameters() if weight.shape[1:2] == (3,))
    first.copy_(first.flip(1))
    one.model.mean.copy_(one.model.mean.flip(1))
    one.model.std.copy_(one.model.std.flip(1))


def _swap_classes(one: Bundle) -> None:
    linear = one.model.heads["colour"][1]
    linear.weight.copy_(linear.weight.roll(1, 0))
    linear.bias.copy_(linear.bias.roll(1, 0))


def _normalise_wrongly(one: Bundle) -> None:
    """As if pixels were to come between 0 and 1."""
    one.model.mean.zero_()
    one.model.std.fill_(1.0)


def _lose_a_number(one: Bundle) -> None:
    one.model.heads["tags"][1].bias[0] = math.nan


def _overflow(one: Bundle) -> None:
    one.model.heads["tags"][1].bias[0] = -math.inf
    one.model.heads["colour"][1].bias[1] = math.inf


def test_the_parent_itself_passes_and_is_right_on_most_images(stored: Stored) -> None:
    verdict = _judged(stored, stored.bundle)
    assert verdict.passed
    assert verdict.images == IMAGES
    assert {one.flips for one in verdict.tasks.values()} == {one.farthest for one in verdict.tasks.values()} == {0.0}
    assert verdict.tasks["colour"].parent == verdict.tasks["colour"].artifact
    assert verdict.tasks["colour"].parent is not None
    assert verdict.tasks["colour"].parent > 0.6


@pytest.mark.parametrize("breaks", [_swap_channels, _swap_classes, _normalise_wrongly])
def test_a_broken_export_is_refused_with_figures(stored: Stored, breaks: Callable[[Bundle], None]) -> None:
    verdict = _judged(stored, _broken(stored, breaks))
    assert not verdict.passed
    assert any(reason.startswith("colour: accuracy falls from ") for reason in verdict.reasons)
    assert any("of what it decides differs from its parent; 2.00% is allowed" in reason for reason in verdict.reasons)
    assert verdict.tasks["colour"].drop > 0.3
    assert verdict.tasks["colour"].flips > 0.5


@pytest.mark.parametrize("breaks", [_lose_a_number, _overflow])
def test_what_is_no_finite_number_is_refused_however_much_is_tolerated(
    stored: Stored, breaks: Callable[[Bundle], None]
) -> None:
    verdict = _judged(stored, _broken(stored, breaks), Tolerance(drop=1, flips=1))
    [reason] = verdict.reasons
    assert "its output probabilities is not a finite number" in reason
    assert verdict.tasks == {}
    assert verdict.mean == math.inf


def test_what_is_tolerated_passes_and_a_little_less_does_not(stored: Stored) -> None:
    broken = _broken(stored, _swap_channels)
    found = _judged(stored, broken, Tolerance(drop=1, flips=1))
    assert found.passed
    drop, flips = (max(getattr(one, name) for one in found.tasks.values()) for name in ("drop", "flips"))
    assert _judged(stored, broken, Tolerance(drop=drop, flips=flips)).passed
    assert len(_judged(stored, broken, Tolerance(drop=drop - 0.01, flips=1)).reasons) >= 1
    assert len(_judged(stored, broken, Tolerance(drop=1, flips=flips - 0.01)).reasons) >= 1


def test_an_artifact_that_is_better_is_not_refused_for_it(stored: Stored) -> None:
    verdict = gate.judge(_broken(stored, _swap_classes), stored.bundle, stored.validation.batches(), Tolerance(flips=1))
    assert verdict.passed
    assert verdict.tasks["colour"].drop < -0.3


def test_a_fall_by_just_what_is_tolerated_passes() -> None:
    found = gate.Figures(metric="accuracy", parent=0.97, artifact=0.965, flips=0.02, farthest=0.1, mean=0.0)
    assert list(gate._reasons("colour", found, STRICT)) == []
    worse = found.model_copy(update={"artifact": 0.964, "flips": 0.021})
    assert len(list(gate._reasons("colour", worse, STRICT))) == 2


def test_what_abstains_otherwise_than_its_parent_is_refused(stored: Stored) -> None:
    names = ("blue", "green", "red")
    sides = [replace(stored.bundle, tasks=_abstaining(stored, dict.fromkeys(names, least))) for least in (0.0, 1.0)]
    verdict = gate.judge(*sides, stored.validation.batches(), STRICT)
    assert verdict.tasks["colour"].flips == 0
    assert verdict.tasks["colour"].unsure > 0.9
    [reason] = verdict.reasons
    assert reason.startswith("colour: what it is unsure about differs from its parent by ")


def _abstaining(stored: Stored, thresholds: dict[str, float]) -> dict[str, Task]:
    of = stored.bundle.description
    return build_tasks(of.tasks, of.labels, {"colour": Answering(thresholds=thresholds)})
