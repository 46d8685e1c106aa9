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


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step", "one_cycle"])
@pytest.mark.parametrize("warmup", [0, 0.1, 0.5, 1, None])
@pytest.mark.parametrize("epoch_steps", [1, 3, 40])
def test_rates_are_above_zero_reach_their_peak_and_never_pass_it(
    schedule: str, warmup: float | None, epoch_steps: int
) -> None:
    phase = {"epochs": 2, "depth": 1, "schedule": schedule, "warmup": warmup, "rates": {"head": 0.3, "backbone": 0.2}}
    plan = _plan(phase, phase, epoch_steps=epoch_steps)
    for step in range(plan.steps):
        found = plan.rates_at(step)
        assert 0 < found[HEADS] <= 0.3
        assert found["high"] / found[HEADS] == pytest.approx(0.2 / 0.3)
    assert max(plan.rates_at(step)[HEADS] for step in range(plan.steps)) == pytest.approx(0.3)


def _shares(**phase: Any) -> list[float]:
    """Return the rate of every step of a phase of four epochs of five steps, as a share of its peak."""
    plan = _plan({"epochs": 4, "rates": {"head": 2.0}, **phase})
    return [plan.rates_at(step)[HEADS] / 2 for step in range(20)]


def test_linear_falls_in_a_line_after_its_rise() -> None:
    rise = [0.25, 0.5, 0.75, 1.0]
    assert _shares(schedule="linear", warmup=0.2) == pytest.approx(rise + [1 - step / 16 for step in range(16)])


def test_step_drops_after_every_so_many_whole_epochs_of_the_phase() -> None:
    assert _shares(schedule="step", warmup=0, drop_every=1, drop_to=0.5) == pytest.approx(
        [1.0] * 5 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5
    )
    assert _shares(schedule="step", warmup=0.1, drop_every=3, drop_to=0.1) == pytest.approx(
        [0.5] + [1.0] * 14 + [0.1] * 5
    )
    assert _shares(schedule="step", warmup=0) == [1.0] * 20


def test_one_cycle_rises_along_half_a_cosine_from_a_twenty_fifth_and_falls_along_another() -> None:
    rise = [1 / 25 + 24 / 25 * (1 - math.cos(math.pi * step / 8)) / 2 for step in range(1, 9)]
    fall = [(1 + math.cos(math.pi * step / 12)) / 2 for step in range(12)]
    assert _shares(schedule="one_cycle", warmup=0.4) == pytest.approx(rise + fall)


def test_one_cycle_rises_for_three_tenths_and_the_others_for_one_unless_told() -> None:
    peaks = {
        schedule: _shares(schedule=schedule).index(1.0)
        for schedule in ("cosine", "constant", "linear", "step", "one_cycle")
    }
    assert peaks == {"cosine": 1, "constant": 1, "linear": 1, "step": 1, "one_cycle": 5}


@pytest.mark.parametrize("schedule", ["cosine", "constant", "linear", "step", "one_cycle"])
def test_the_schedule_spans_the_phase_however_its_groups_open(schedule: str) -> None:
    phase = {"epochs": 8, "depth": "all", "schedule": schedule, "drop_every": 2}
    at_once, one_by_one = _plan({"epochs": 1}, phase), _plan({"epochs": 1}, {**phase, "open_every": 2})
    assert len(one_by_one.spans) == 5
    for step in range(at_once.steps):
        rates = one_by_one.rates_at(step)
        assert rates.items() <= at_once.rates_at(step).items()
        assert set(rates) == {HEADS, *GROUPS[4 - one_by_one.depth_at(step) :]}


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


def test_a_group_is_opened_by_its_name_with_all_above_it() -> None:
    for place, name in enumerate(GROUPS):
        assert _plan({"epochs": 1, "depth": name}).depth_at(0) == 4 - place


def test_one_more_group_opens_every_so_many_epochs_until_the_depth_is_reached() -> None:
    plan = _plan({"epochs": 2}, {"epochs": 7, "depth": 3, "open_every": 2}, {"epochs": 1}, epoch_steps=3)
    assert [plan.depth_at(3 * epoch) for epoch in range(10)] == [0, 0, 1, 1, 2, 2, 3, 3, 3, 0]
    assert [(span.start, span.stop, span.depth) for span in plan.spans] == [
        (0, 6, 0), (6, 12, 1), (12, 18, 2), (18, 27, 3), (27, 30, 0),
    ]  # fmt: skip
    assert [plan.phase_at(3 * epoch) for epoch in range(10)] == [0, 0, *[1] * 7, 2]
    assert {(span.place, span.begun, span.over) for span in plan.spans} == {(0, 0, 6), (1, 6, 27), (2, 27, 30)}


@pytest.mark.parametrize(
    ("before", "depths"),
    [
        ([], [1, 2, 3, 4]),
        ([{"epochs": 1, "depth": 2}], [3, 4, 4, 4]),
        ([{"epochs": 2, "depth": "all", "open_every": 1}], [3, 4, 4, 4]),
        ([{"epochs": 1, "depth": 3}], [4, 4, 4, 4]),
    ],
)
def test_opening_goes_on_from_what_the_phase_before_had_open(before: list[dict[str, Any]], depths: list[int]) -> None:
    plan = _plan(*before, {"epochs": 4, "depth": "all", "open_every": 1}, epoch_steps=1)
    assert [plan.depth_at(step) for step in range(plan.steps - 4, plan.steps)] == depths


def test_a_phase_too_short_to_open_all_its_groups_is_told_of() -> None:
    gradual = {"epochs": 5, "depth": "all", "open_every": 2}
    assert _plan({"epochs": 1}, gradual).shortfalls() == [
        "finetune.phases[1]: opens 3 of 4 groups, one every 2 epoch(s), in its 5 epochs; the others stay frozen"
    ]
    assert _plan(*THREE, {**gradual, "epochs": 7, "depth": "mid"} | {"open_every": None}).shortfalls() == []
    assert _plan({"epochs": 1}, {**gradual, "epochs": 7}).shortfalls() == []


@pytest.mark.parametrize("depth", [1, 2])
def test_opening_where_nothing_is_left_to_open_is_refused(depth: int) -> None:
    with pytest.raises(ConfigError) as caught:
        _plan({"epochs": 1, "depth": 2}, {"epochs": 3, "depth": depth, "open_every": 1})
    assert str(caught.value) == (
        "finetune.phases[1].open_every: nothing is left to open one by one: before this phase 2 groups are open, and "
        f"its depth is {depth}; leave open_every out, or raise depth"
    )


def test_a_rate_in_the_table_takes_the_place_of_what_decay_gives_that_group_alone() -> None:
    rates = {"head": 0.3, "backbone": 0.2, "decay": 0.5, "groups": {"mid": 0.07, "stem": 0.01}}
    plan = _plan({"epochs": 1, "depth": "all", "rates": rates, "schedule": "constant", "warmup": 0})
    assert plan.rates_at(0) == pytest.approx({HEADS: 0.3, "high": 0.2, "mid": 0.07, "low": 0.05, "stem": 0.01})
    shallow = _plan({"epochs": 1, "depth": 1, "rates": rates, "schedule": "constant", "warmup": 0})
    assert set(shallow.rates_at(0)) == {HEADS, "high"}


@pytest.mark.parametrize(
    ("phase", "place"),
    [({"depth": "hihg"}, "depth"), ({"depth": 1, "rates": {"groups": {"hihg": 0.1}}}, "rates.groups")],
)
def test_a_group_that_there_is_not_is_refused_with_the_nearest(phase: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _plan({"epochs": 1}, {"epochs": 1, **phase})
    assert str(caught.value) == (
        f"finetune.phases[1].{place}: 'hihg' is not a layer group of tf_efficientnet_lite0, which has stem, low, mid, "
        "high; did you mean 'high'? (run `thaw models tf_efficientnet_lite0`)"
    )


def test_a_plan_asked_in_any_order_says_the_same() -> None:
    plan = _plan(*THREE)
    forward = [plan.rates_at(step) for step in range(plan.steps)]
    assert [plan.rates_at(step) for step in reversed(range(plan.steps))] == forward[::-1]
    assert plan == _plan(*THREE)
    assert hash(plan.groups) == hash(_plan(*THREE).groups)


def test_a_phase_that_stops_early_leaves_all_others_and_its_own_rates_as_they_are() -> None:
    gradual = {"epochs": 4, "depth": 2, "open_every": 2}
    further = {"epochs": 2, "depth": "all", "open_every": 1}
    whole = _plan({"epochs": 3}, gradual, further)
    cut = _plan({"epochs": 3, "stop_after": 2}, {**gradual, "stop_after": 1}, {**further, "stop_after": 1})
    assert [(span.start, span.stop) for span in cut.spans] == [(0, 10), (15, 20), (35, 40)]
    assert cut.steps == 40
    for span in cut.spans:
        for step in range(span.start, span.stop):
            assert (cut.depth_at(step), cut.rates_at(step)) == (whole.depth_at(step), whole.rates_at(step))
