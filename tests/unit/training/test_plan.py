"""The plan says at every step what learns and how fast, and remembers nothing."""

import math
from typing import Any

import pytest

from thaw.config import load as config
from thaw.errors import ConfigError
from thaw.model import HEADS
from thaw.training.plan import FinetunePlan

GROUPS = ("stem", "low", "mid", "high")


def _plan(*phases: dict[str, Any], epoch_steps: int = 5, groups: tuple[str, ...] = GROUPS) -> FinetunePlan:
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}},
        "tasks": {"verdict": {"type": "classification"}},
        "finetune": {"phases": list(phases)},
    }
    return FinetunePlan.of(config.parse(values, "test"), groups, epoch_steps)


THREE = ({"epochs": 2}, {"epochs": 3, "depth": 2}, {"epochs": 1, "depth": "all"})


def test_phases_follow_each_other_without_gap_or_overlap() -> None:
    plan = _plan(*THREE)
    assert [(span.start, span.stop, span.depth) for span in plan.spans] == [(0, 10, 0), (10, 25, 2), (25, 30, 4)]
    assert plan.steps == 30
    assert [plan.phase_at(step) for step in range(30)] == [0] * 10 + [1] * 15 + [2] * 5
    assert [plan.depth_at(step) for step in range(30)] == [0] * 10 + [2] * 15 + [4] * 5


def test_exactly_what_is_open_has_a_rate_at_every_step() -> None:
    plan = _plan(*THREE)
    for step in range(plan.steps):
        assert set(plan.rates_at(step)) == {HEADS, *GROUPS[4 - plan.depth_at(step) :]}


@pytest.mark.parametrize("decay", [1.0, 0.5, 0.1])
def test_each_deeper_group_learns_at_a_share_of_the_group_above(decay: float) -> None:
    rates = {"head": 0.3, "backbone": 0.2, "decay": decay}
    plan = _plan({"epochs": 1, "depth": "all", "rates": rates, "schedule": "constant", "warmup": 0})
    wanted = {HEADS: 0.3, "high": 0.2, "mid": 0.2 * decay, "low": 0.2 * decay**2, "stem": 0.2 * decay**3}
    for step in range(plan.steps):
        assert plan.rates_at(step) == pytest.approx(wanted)


def test_rates_rise_in_a_line_and_then_stay_or_fall_as_half_a_cosine() -> None:
    rates = {"head": 2.0}
    constant = _plan({"epochs": 2, "rates": rates, "schedule": "constant", "warmup": 0.4})
    cosine = _plan({"epochs": 2, "rates": rates, "schedule": "cosine", "warmup": 0.4})
    rise = [0.5, 1.0, 1.5, 2.0]
    fall = [1 + math.cos(math.pi * step / 6) for step in range(6)]
    assert [constant.rates_at(step)[HEADS] for step in range(10)] == pytest.approx(rise + [2.0] * 6)
    assert [cosine.rates_at(step)[HEADS] for step in range(10)] == pytest.approx(rise + fall)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("epoch_steps", [1, 3, 40])
def test_rates_are_above_zero_and_never_above_their_peak(schedule: str, warmup: float, epoch_steps: int) -> None:
    phase = {"epochs": 2, "depth": 1, "schedule": schedule, "warmup": warmup, "rates": {"head": 0.3, "backbone": 0.2}}
    plan = _plan(phase, phase, epoch_steps=epoch_steps)
    for step in range(plan.steps):
        found = plan.rates_at(step)
        assert 0 < found[HEADS] <= 0.3
        assert found["high"] / found[HEADS] == pytest.approx(0.2 / 0.3)
    assert max(plan.rates_at(step)[HEADS] for step in range(plan.steps)) == pytest.approx(0.3)


def test_every_phase_begins_its_own_rise_at_its_own_rates() -> None:
    first = {"epochs": 2, "rates": {"head": 1.0}, "warmup": 0.2}
    second = {"epochs": 2, "rates": {"head": 0.1}, "warmup": 0.2}
    plan = _plan(first, second)
    assert plan.rates_at(0)[HEADS] == pytest.approx(0.5)
    assert plan.rates_at(10)[HEADS] == pytest.approx(0.05)


def test_all_means_every_group_of_the_backbone_at_hand() -> None:
    assert _plan({"epochs": 1, "depth": "all"}, groups=GROUPS[:3]).depth_at(0) == 3
    assert _plan({"epochs": 1, "depth": 4}).depth_at(0) == 4


def test_more_groups_than_there_are_are_refused_naming_phase_model_and_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        _plan({"epochs": 1}, {"epochs": 1, "depth": 12}, groups=tuple("abcdefgh"))
    assert str(caught.value) == (
        "finetune.phases[1].depth: 12 groups cannot be opened; tf_efficientnet_lite0 has 8 "
        "(run `thaw models tf_efficientnet_lite0`)"
    )


def test_a_plan_asked_in_any_order_says_the_same() -> None:
    plan = _plan(*THREE)
    forward = [plan.rates_at(step) for step in range(plan.steps)]
    assert [plan.rates_at(step) for step in reversed(range(plan.steps))] == forward[::-1]
    assert plan == _plan(*THREE)
    assert hash(plan.groups) == hash(_plan(*THREE).groups)
