"""A sampler's suggestion follows from the seed, the number and the trials told, whoever asks and in whatever order."""

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import pytest
from pydantic import ValidationError

import thaw
from thaw.tuning.search import Grid, Random, Search, sampler
from thaw.tuning.space import Space
from thaw.tuning.tpe import Tpe
from thaw.tuning.trial import Report, Trial, best_of


def space(dimensions):
    return Space.model_validate({"name": "some", "dimensions": dimensions})


MIXED = space(
    {
        "depth": {"int": [0, 4]},
        "head": {"log": [1e-4, 1e-1]},
        "backbone": {"log": [1e-5, 1e-1], "when": {"depth": {"above": 0}}},
        "optimizer": {"choice": [{"name": "adamw"}, {"name": "sgd", "betas": [0.9, 0.99]}, None]},
    }
)
FEW = space(
    {
        "policy": {"choice": ["none", "randaugment"]},
        "ops": {"int": [1, 3], "when": {"policy": "randaugment"}},
        "zoom": {"choice": [[1, 1], [0.9, 1.2]]},
    }
)
SAMPLERS = [Random(MIXED, 7), Tpe(MIXED, 7), Grid(MIXED), Random(FEW, 7), Tpe(FEW, 7), Grid(FEW)]


def bowl(values):
    """Return a score with one peak: open, a head rate of 1e-3, a backbone rate of 3e-4."""
    if not values:
        return 0.0
    score = 1 - 0.2 * abs(math.log10(values["head"]) + 3) - 0.3 * (values["optimizer"] != {"name": "adamw"})
    if values["depth"] == 0:
        return score - 0.4
    return score - 0.25 * abs(math.log10(values["backbone"]) + 3.5) - 0.03 * abs(values["depth"] - 3)


def trial(number, values, score=None, stage="finished"):
    reports = () if score is None else (report(score),)
    return Trial(number=number, values=values, stage=stage, reports=reports)


def report(score, epoch=1):
    return Report(epoch=epoch, images=10, depth=0, score=score, metrics={}, at_s=0.0)


def swept(by, trials):
    """Return the trials of a sweep, one after another, on the bowl."""
    told = []
    for number in range(trials):
        values = by.suggest(number, told)
        told.append(trial(number, values, bowl(values)))
    return told


def few_until_none(by):
    """Return what a sampler suggests until nothing is left."""
    told = []
    while (values := by.suggest(len(told), told)) is not None:
        told.append(trial(len(told), values, 0.1 * len(told)))
        assert len(told) < 100
    return [one.values for one in told]


# of every sampler


@pytest.mark.parametrize("by", SAMPLERS)
def test_trial_0_is_the_experiment_as_it_was_written(by):
    assert by.suggest(0, []) == {}


@pytest.mark.parametrize("by", SAMPLERS)
def test_values_are_of_the_space_and_go_through_json(by):
    for number in range(1, 8):
        values = by.suggest(number, [trial(0, {}, 0.5)])
        assert json.loads(json.dumps(values)) == values
        assert by.space.drawn(lambda place, dimension: values[place]) == values  # noqa: B023 - called at once
        assert all(by.space.dimensions[place].holds(value) for place, value in values.items())


@pytest.mark.parametrize("by", [Random, Tpe])
def test_another_seed_draws_other_values(by):
    assert by(MIXED, 1).suggest(3, []) != by(MIXED, 2).suggest(3, [])


@pytest.mark.parametrize("by", [lambda: Random(FEW, 3), lambda: Tpe(FEW, 3), lambda: Grid(FEW)])
def test_of_few_points_each_is_drawn_once_and_then_nothing_is_left(by):
    first, *drawn = few_until_none(by())
    assert first == {}
    assert sorted(map(json.dumps, drawn)) == sorted(
        json.dumps({"policy": policy, **ops, "zoom": zoom})
        for policy, ops in [("none", {}), *(("randaugment", {"ops": number}) for number in (1, 2, 3))]
        for zoom in ([1, 1], [0.9, 1.2])
    )


@pytest.mark.parametrize("by", [Random, Tpe])
def test_a_sweep_that_is_started_again_in_the_middle_goes_on_as_it_would_have(by):
    told = swept(by(MIXED, 5), 25)
    again = [Trial.model_validate_json(one.model_dump_json()) for one in told[:14]]
    for number in range(14, 25):  # each by a new sampler, told what was kept in a file, in any order
        values = by(MIXED, 5).suggest(number, again[::-1])
        again.append(trial(number, values, bowl(values)))
    assert again == told


@pytest.mark.parametrize(("by", "kind"), [("random", Random), ("grid", Grid), ("tpe", Tpe)])
def test_a_search_names_its_sampler(by, kind):
    chosen = sampler(MIXED, Search(by=by, trials=4, seed=9))
    assert isinstance(chosen, kind)
    assert getattr(chosen, "seed", 9) == 9


@pytest.mark.parametrize("by", ["random", "tpe"])
def test_a_search_without_an_end_needs_a_number_of_trials(by):
    assert Search(by="grid").trials is None
    with pytest.raises(ValidationError, match=f"trials: {by} has no end of its own; give a number, such as 32, or use"):
        Search(by=by)


# random


def test_random_values_depend_on_the_seed_and_the_number_alone():
    forwards = [Random(MIXED, 4).suggest(number) for number in range(20)]
    same = Random(MIXED, 4)
    assert [same.suggest(number, [trial(0, {}, 0.9)]) for number in reversed(range(20))] == forwards[::-1]


def test_random_draws_what_is_likelier_sooner():
    lopsided = space({"a": {"choice": [0, 1]}, "b": {"int": [1, 50], "when": {"a": 1}}})
    first = [Random(lopsided, seed).suggest(1) for seed in range(300)]
    assert 110 < first.count({"a": 0}) < 190  # one of 51 points, and drawn as often as the 50 others


def test_many_points_are_drawn_with_putting_back():
    many = space({"a": {"int": [0, 10**9]}, "b": {"int": [0, 10**9]}})
    assert 0 <= Random(many, 0).suggest(10**6)["a"] <= 10**9


# grid


def test_a_grid_is_every_combination_once_in_order():
    steps = space(
        {
            "depth": {"int": [0, 8], "steps": 3},
            "head": {"log": [1e-4, 1e-2]},
            "decay": {"float": [0.4, 1.0], "steps": 2, "when": {"depth": {"above": 0}}},
        }
    )
    drawn = few_until_none(Grid(steps))[1:]
    heads = [1e-4, pytest.approx(1e-3), 1e-2]
    closed = [{"depth": 0, "head": head} for head in heads]
    opened = itertools.product((4, 8), heads, (0.4, 1.0))
    assert drawn == [*closed, *({"depth": depth, "head": head, "decay": decay} for depth, head, decay in opened)]
    assert len({json.dumps(values) for values in drawn}) == len(drawn)


def test_a_grid_takes_every_whole_number_where_steps_are_more_than_there_are():
    assert [values["a"] for values in few_until_none(Grid(space({"a": {"int": [0, 2], "steps": 9}})))[1:]] == [0, 1, 2]


# tpe


def test_tpe_finds_more_than_random_does():
    seeds = range(5)
    by_tpe, by_random = ([swept(by(MIXED, seed), 40) for seed in seeds] for by in (Tpe, Random))
    best = [statistics.mean(best_of(told).best.score for told in tolds) for tolds in (by_tpe, by_random)]
    late = [statistics.mean(one.best.score for told in tolds for one in told[-10:]) for tolds in (by_tpe, by_random)]
    assert best[0] > best[1] + 0.02
    assert late[0] > late[1] + 0.1


def test_tpe_suggests_the_same_to_whoever_asks():
    told = swept(Random(MIXED, 1), 20)
    assert Tpe(MIXED, 3).suggest(20, told) == Tpe(MIXED, 3).suggest(20, told)
    assert Tpe(MIXED, 3).suggest(20, told) != Tpe(MIXED, 3).suggest(21, told)


def test_tpe_suggests_the_same_in_another_process():
    told = swept(Random(MIXED, 1), 20)
    text = json.dumps([MIXED.model_dump(mode="json"), [one.model_dump(mode="json") for one in told]])
    code = (
        "import json, sys\n"
        "from thaw.tuning.space import Space\nfrom thaw.tuning.tpe import Tpe\nfrom thaw.tuning.trial import Trial\n"
        "space, told = json.load(sys.stdin)\n"
        "told = [Trial.model_validate(one) for one in told]\n"
        "print(json.dumps(Tpe(Space.model_validate(space), 3).suggest(20, told)))\n"
    )
    env = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": str(Path(thaw.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], input=text, env=env, capture_output=True, text=True)
    assert json.loads(done.stdout) == Tpe(MIXED, 3).suggest(20, told)


def test_tpe_looks_elsewhere_than_where_trials_still_run():
    told = swept(Random(MIXED, 1), 30)
    first = Tpe(MIXED, 3).suggest(30, told)
    running = [trial(30 + place, first, stage="running") for place in range(6)]

    def distances(told):
        drawn = [Tpe(MIXED, seed).suggest(40, told) for seed in range(12)]
        return statistics.mean(abs(math.log10(values["head"] / first["head"])) for values in drawn)

    assert distances([*told, *running]) > distances(told)


def test_tpe_suggests_different_values_for_trials_that_run_together():
    told = swept(Random(FEW, 1), 0)
    for number in range(9):
        told.append(trial(number, Tpe(FEW, 3).suggest(number, told), stage="running"))
    assert len({json.dumps(one.values) for one in told}) == 9


def studied(trials, as_written=None):
    """Return what Optuna is told of these trials."""
    return Tpe(MIXED, 0, as_written)._study(9, trials).trials


def test_tpe_counts_a_stopped_trial_by_its_best_score_and_a_failed_one_not_at_all():
    values = Random(MIXED, 0).suggest(1)
    stopped = trial(1, values, stage="stopped").model_copy(update={"reports": (report(0.7), report(0.4, 2))})
    told = studied([stopped, trial(2, values, 0.9, "failed"), trial(3, values, 0.9, "running"), trial(4, values)])
    states = [(one.state.name, one.values) for one in told]
    assert states == [("COMPLETE", [0.7]), ("FAIL", None), ("RUNNING", None), ("FAIL", None)]


def test_tpe_is_told_of_exactly_what_was_drawn_and_of_choices_by_their_place():
    values = {"depth": 0, "head": 1e-3, "optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}
    [told] = studied([trial(1, values, 0.5)])
    assert told.params == {"depth": 0, "head": 1e-3, "optimizer": 1}
    assert told.distributions["head"] == optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)


def test_tpe_learns_from_trial_0_where_its_values_are_known():
    written = {"depth": 0, "head": 1e-3, "optimizer": None}
    assert studied([trial(0, {}, 0.5)]) == []
    [told] = studied([trial(0, {}, 0.5)], written)
    assert (told.params["head"], told.value) == (1e-3, 0.5)
    assert sampler(MIXED, Search(trials=4), written).as_written == written


def test_tpe_quiets_optuna_and_leaves_warnings_as_they_were():
    optuna.logging.set_verbosity(optuna.logging.INFO)
    before = warnings.filters[:]
    Tpe(MIXED, 0).suggest(12, swept(Random(MIXED, 0), 12))
    assert warnings.filters == before
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
