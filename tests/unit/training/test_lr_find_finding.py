"""A finding is two sweeps in order, overrides to paste, and a picture; a range that says little is refused."""

import io
from pathlib import Path

import pytest
import torch
from parabola import batches, learner, steepest_rate, told
from PIL import Image
from tiny_run import experiment

from thaw.config import load
from thaw.config.experiment import Phase, Rates
from thaw.errors import ConfigError
from thaw.model import HEADS
from thaw.training.lr_find import finding, picture
from thaw.training.lr_find.curve import Curve
from thaw.training.lr_find.finding import Finding, Range
from thaw.training.plan import FinetunePlan, Span

STEPS = 30
PHASES = (Phase(epochs=1, depth=0), Phase(epochs=1, depth=1, rates=Rates(decay=0.5)))


def _span(phase: Phase, place: int, start: int, stop: int) -> Span:
    depth = int(phase.depth)
    return Span(phase, place, start, stop, depth, depth, start, stop)


def plan(*phases: Phase) -> FinetunePlan:
    spans = tuple(_span(phase, place, place, place + 1) for place, phase in enumerate(phases))
    return FinetunePlan(spans, ("scale",), 1)


@pytest.fixture(scope="module")
def found() -> tuple[list[tuple[str, int]], Finding]:
    chosen = learner()
    before = {name: value.clone() for name, value in chosen.model.state_dict().items()}
    span = Range.checked(1e-4, 10, STEPS)
    steps, result = told(finding.find(chosen, plan(*PHASES), span, batches()))
    assert all(torch.equal(value, before[name]) for name, value in chosen.model.state_dict().items())
    return [(step.stage, step.done) for step in steps], result


def test_heads_are_swept_then_trained_at_their_rate_then_the_opened_groups_are_swept(found) -> None:
    stages = list(dict.fromkeys(stage for stage, _ in found[0]))
    assert stages == [
        "heads, at rest",
        "heads, rate rising",
        "heads, at the rate found",
        "backbone, at rest",
        "backbone, rate rising",
    ]
    assert ("heads, at the rate found", STEPS) in found[0]
    result = found[1]
    assert result.depth == 1
    assert result.backbone.level < 0.5 * result.head.level  # the heads had learnt when the second sweep began
    assert steepest_rate(1.0) / 10 < result.head_rate < steepest_rate(1.0) / 3


def test_a_plan_that_opens_nothing_asks_for_the_heads_rate_alone() -> None:
    _, result = told(finding.find(learner(), plan(PHASES[0]), Range.checked(1e-4, 10, STEPS), batches()))
    assert result.backbone is None
    assert list(result.curves) == ["heads"]
    assert [one.split("=")[0] for one in result.overrides([0])] == ["finetune.phases[0].rates.head"]


def test_deeper_groups_keep_their_share_of_the_rate_that_rises() -> None:
    phases = (Phase(epochs=1, depth=0), Phase(epochs=4, depth=2, rates=Rates(backbone=3e-4, decay=0.5), warmup=0.5))
    spans = (_span(phases[0], 0, 0, 1), _span(phases[1], 1, 1, 5))
    shares = finding.shares(FinetunePlan(spans, ("stem", "low", "top"), 1), 1)
    assert shares == pytest.approx({"top": 1.0, "low": 0.5})
    assert HEADS not in shares


def test_the_suggestion_is_taken_as_overrides_by_every_phase_it_concerns(found, tmp_path: Path) -> None:
    place = tmp_path / "experiment.yaml"
    chosen = experiment()
    place.write_text(load.dump(chosen))
    depths = [0, 2, 5]
    result = found[1]
    phases = load.load(place, result.overrides(depths)).finetune.phases
    assert [phase.rates.head for phase in phases] == [result.head_rate] * 3
    old = chosen.finetune.phases[0].rates.backbone
    assert [phase.rates.backbone for phase in phases] == [old, result.backbone_rate, result.backbone_rate]


def _curve(losses: list[float], level: float = 2.0) -> Curve:
    rates = tuple(10.0 ** (-6 + step / 10) for step in range(len(losses)))
    resting = ({"one": level},) * STEPS
    return Curve(rates=rates, losses=tuple({"one": loss} for loss in losses), resting=resting, weights={"one": 1.0})


@pytest.mark.parametrize(
    ("losses", "doubt"),
    [
        ([2.0] * 15 + [1.99] * 5 + [5.0], "hardly fell"),
        ([2.0 - step / 20 for step in range(STEPS)], "still falling at the highest rate; raise --to"),
        ([1.0] * 2 + [3.0] * 10, "below the lowest rate; lower --from"),
    ],
)
def test_a_suggestion_that_means_little_says_so(losses: list[float], doubt: str) -> None:
    curve = _curve(losses)
    result = Finding(head=curve, backbone=None, depth=0, head_rate=curve.suggestion, backbone_rate=None)
    [warning] = result.warnings()
    assert warning.startswith("heads: ")
    assert doubt in warning
    assert f"warning: {warning}" in result.lines()


def test_a_clear_suggestion_has_no_warning(found) -> None:
    assert found[1].warnings() == []


@pytest.mark.parametrize(
    ("low", "high", "steps", "told_of"),
    [
        (1e-3, 1e-3, 100, "0 < from < to"),
        (0, 1, 100, "0 < from < to"),
        (1e-6, 11, 100, "to <= 10"),
        (float("nan"), 1, 100, "0 < from < to"),
        (1e-3, 5e-2, 100, "a range of 100 times or more"),
        (1e-6, 1, 29, "--steps 29: needs 30 to 1000"),
        (1e-6, 1, 1001, "--steps 1001: needs 30 to 1000"),
    ],
)
def test_a_range_that_says_little_is_refused(low: float, high: float, steps: int, told_of: str) -> None:
    with pytest.raises(ConfigError, match=told_of):
        Range.checked(low, high, steps)


def test_rates_rise_by_one_factor_from_the_lowest_to_the_highest() -> None:
    rates = Range.checked(1e-6, 1e-2, 41).rates()
    assert rates[0] == 1e-6
    assert rates[-1] == pytest.approx(1e-2)
    assert [rates[step + 1] / rates[step] for step in range(40)] == pytest.approx([10**0.1] * 40)


def test_the_picture_has_a_panel_for_each_sweep(found) -> None:
    result = found[1]
    alone = result.model_copy(update={"backbone": None, "backbone_rate": None})
    both, one = (Image.open(io.BytesIO(picture.draw("tiny", each))) for each in (result, alone))
    assert both.format == "PNG"
    assert both.width == one.width
    assert both.height == 2 * one.height
