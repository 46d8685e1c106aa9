"""A space draws valid experiments, each dimension only where its conditions hold, and refuses what cannot be drawn."""

import copy
import json
import math
import random
import re
from pathlib import Path

import pytest
import yaml

from thaw.backbones import family
from thaw.config import load as config
from thaw.errors import ConfigError
from thaw.training.plan import FinetunePlan
from thaw.tuning import space as spaces
from thaw.tuning import study
from thaw.tuning.space import Space
from tiny import EXPERIMENT

SHIPPED = sorted((Path(__file__).parents[3] / "jobs" / "spaces").glob("*.yaml"))
GROUPS = [f"group.{place}" for place in range(5)]
DEPTH, HEAD, BACK = "finetune.phases[1].depth", "finetune.phases[1].rates.head", "finetune.phases[1].rates.backbone"
DECAY = "finetune.phases[1].rates.decay"
DIMENSIONS = {
    DECAY: {"float": [0.4, 1.0], "when": {DEPTH: {"above": 0}, BACK: {"below": 1e-3}}},
    BACK: {"log": [1e-5, 3e-3], "when": {DEPTH: {"above": 0}}},
    DEPTH: {"int": [0, 4]},
    HEAD: {"log": [1e-4, 1e-2]},
    "model.dropout": {"choice": [0.0, 0.2, 0.5]},
}


@pytest.fixture
def base():
    return config.parse(EXPERIMENT, "tiny")


def space(dimensions=DIMENSIONS, **more):
    return Space.model_validate({"name": "some", "dimensions": copy.deepcopy(dimensions), **more})


def fits(experiment):
    FinetunePlan.of(experiment, GROUPS, 4)


def draws(drawn_from, count=200, seed=0):
    source = random.Random(seed)
    return [drawn_from.drawn(lambda _, dimension: dimension.at(source.random())) for _ in range(count)]


@pytest.fixture
def read(tmp_path):
    """Read a space from the text of a YAML file."""

    def _read(text):
        path = tmp_path / "some.yaml"
        path.write_text(text, encoding="utf-8")
        return spaces.read(Space, path)

    return _read


@pytest.fixture
def refusal(read, tmp_path):
    """Return the lines with which a space is refused, without the file that each names."""

    def _refusal(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        prefix = f"{tmp_path / 'some.yaml'}: "
        lines = str(caught.value).splitlines()
        assert all(line.startswith(prefix) for line in lines)
        return [line.removeprefix(prefix) for line in lines]

    return _refusal


# what is drawn


def test_a_dimension_is_drawn_exactly_where_all_its_conditions_hold():
    drawn = draws(space())
    for values in drawn:
        assert DEPTH in values
        assert HEAD in values
        assert (BACK in values) == (values[DEPTH] > 0)
        assert (DECAY in values) == (values[DEPTH] > 0 and values[BACK] < 1e-3)
    assert {(BACK in values, DECAY in values) for values in drawn} == {(False, False), (True, False), (True, True)}


def test_a_dimension_whose_condition_looks_at_one_that_was_not_drawn_is_not_drawn():
    chained = space(
        {
            "seed": {"int": [0, 1]},
            "model.dropout": {"choice": [0.0, 0.5], "when": {"seed": 1}},
            "model.drop_path": {"float": [0, 0.5], "when": {"model.dropout": [0.0, 0.5]}},
        }
    )
    drawn = draws(chained)
    assert all(("model.drop_path" in values) == (values["seed"] == 1) for values in drawn)
    assert {values["seed"] for values in drawn} == {0, 1}


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        (2, {2}),
        ([0, 4], {0, 4}),
        ({"above": 2}, {3, 4}),
        ({"below": 2}, {0, 1}),
        ({"above": 0, "below": 3}, {1, 2}),
    ],
)
def test_a_condition_is_a_value_or_a_list_or_ends_that_are_left_out(wanted, held):
    conditional = space({DEPTH: {"int": [0, 4]}, HEAD: {"log": [1e-4, 1e-2], "when": {DEPTH: wanted}}})
    assert {values[DEPTH] for values in draws(conditional) if HEAD in values} == held
    assert {values[DEPTH] for values in draws(conditional) if HEAD not in values} == set(range(5)) - held


@pytest.mark.parametrize("value", [None, "lamb", {"rank": 8}, [1, 2]])
def test_a_condition_holds_for_plain_values_of_any_kind(value):
    conditional = space({"a": {"choice": [value, 7]}, "b": {"choice": [1], "when": {"a": [value]}}})
    assert {json.dumps(values["a"]) for values in draws(conditional) if "b" in values} == {json.dumps(value)}


def test_both_ends_of_a_range_are_drawn_from_and_nothing_beyond():
    ranges = space({"a": {"int": [-1, 1]}, "b": {"float": [0.4, 1.0]}, "c": {"log": [1e-5, 3e-3]}})
    drawn = draws(ranges, 500)
    assert {values["a"] for values in drawn} == {-1, 0, 1}
    assert all(0.4 <= values["b"] <= 1 and 1e-5 <= values["c"] <= 3e-3 for values in drawn)
    assert [ranges.dimensions[place].points()[0] for place in "abc"] == [-1, 0.4, 1e-5]
    assert [ranges.dimensions[place].points()[-1] for place in "abc"] == [1, 1.0, 3e-3]


def test_every_whole_number_is_as_likely_as_any_other():
    counts = [sum(values["a"] == one for values in draws(space({"a": {"int": [0, 4]}}), 2000)) for one in range(5)]
    assert all(300 < count < 500 for count in counts)


def test_a_log_is_even_over_orders_of_magnitude_and_a_float_over_numbers():
    drawn = draws(space({"log": {"log": [1e-4, 1.0]}, "float": {"float": [1e-4, 1.0]}}), 2000)
    decades = [math.floor(math.log10(values["log"])) for values in drawn]
    assert all(400 < decades.count(decade) < 600 for decade in (-4, -3, -2, -1))
    assert sum(values["float"] > 0.1 for values in drawn) > 1700
    assert space({"a": {"log": [1e-4, 1.0], "steps": 5}}).dimensions["a"].points() == pytest.approx(
        (1e-4, 1e-3, 1e-2, 1e-1, 1)
    )


# the experiment that comes of it


def test_the_experiment_has_what_was_drawn_and_what_all_share_and_nothing_else_is_changed(base):
    shared = space(set={"finetune.phases[0].views": 4, "train.cache": {"use": "always"}})
    changed = shared.experiment(base, {DEPTH: 2, BACK: 1e-4, "model.dropout": 0.5}).model_dump(mode="json")
    expected = base.model_dump(mode="json")
    expected["finetune"]["phases"][0]["views"] = 4
    expected["finetune"]["phases"][1]["depth"] = 2
    expected["finetune"]["phases"][1]["rates"]["backbone"] = 1e-4
    expected["model"]["dropout"] = 0.5
    expected["train"]["cache"]["use"] = "always"
    assert changed == expected


def test_trial_0_is_the_experiment_as_written_with_what_all_share(base):
    assert space().experiment(base, {}) == base
    assert space(set={"seed": 5}).experiment(base, {}).seed == 5


def test_what_is_drawn_goes_before_what_all_share(base):
    assert space(set={"model.dropout": 0.1}).experiment(base, {"model.dropout": 0.5}).model.dropout == 0.5


@pytest.mark.parametrize("name", ["head_only", "gradual", "full", "lora"])
def test_a_recipe_replaces_the_phases(base, name):
    recipes = space({"finetune.recipe": {"choice": ["head_only", "gradual", "full", "lora"]}})
    values = {**EXPERIMENT, "finetune": {"recipe": name}, "model": {"weights": {"source": "package"}}}
    pretrained = config.parse({**values, "finetune": EXPERIMENT["finetune"]}, "tiny")
    assert recipes.experiment(pretrained, {"finetune.recipe": name}) == config.parse(values, "tiny")


def test_what_a_recipe_has_is_a_dimension_beside_it_and_leaves_the_choice_as_it_was(base):
    written = {
        "finetune.recipe.epochs": {"int": [4, 8], "when": {"finetune.recipe": [{"name": "gradual"}]}},
        "finetune.recipe": {"choice": [{"name": "gradual"}, {"name": "full", "epochs": 3}]},
    }
    recipes = space(written)
    values = {"finetune.recipe.epochs": 8, "finetune.recipe": recipes.dimensions["finetune.recipe"].values[0]}
    assert sum(phase.epochs for phase in recipes.experiment(base, values).finetune.phases) == 8
    assert recipes == space(written)


def test_adapters_are_a_dimension_and_go_where_a_recipe_does_without():
    values = {**EXPERIMENT, "finetune": {"recipe": "lora"}, "model": {"weights": {"source": "package"}}}
    base = config.parse(values, "tiny")
    recipes = space(
        {
            "finetune.recipe": {"choice": ["lora", "gradual"]},
            "model.lora": {"choice": [None], "when": {"finetune.recipe": "gradual"}},
            "model.lora.rank": {"int": [4, 16], "when": {"finetune.recipe": "lora"}},
        }
    )
    assert recipes.experiment(base, {"finetune.recipe": "gradual", "model.lora": None}).model.lora is None
    assert recipes.experiment(base, {"finetune.recipe": "lora", "model.lora.rank": 4}).model.lora.rank == 4


@pytest.mark.parametrize("place", ["finetune.phases[2].depth", "finetune.phases[2]"])
def test_a_phase_that_the_plan_lacks_is_told_with_how_many_there_are(base, place):
    with pytest.raises(ConfigError) as caught:
        space({place: {"int": [0, 1]}}).experiment(base, {place: 1})
    assert str(caught.value) == (
        f"space some: {place}: there is no phase [2]; the experiment's plan has 2, counted from [0]: write more phases "
        "into it, or leave this place out"
    )


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("train.bacth", 8, "space some: train: unknown key 'bacth'"),
        ("train.batch", 0, "space some: train.batch: Input should be greater than 0 (got 0)"),
        ("train.batch.size", 1, "space some: train.batch.size: there is no key 'size' here"),
        ("data.augment.zoom[2]", 1, "space some: data.augment.zoom[2]: there is no entry [2] here"),
        ("finetune.recipe.epochs", 4, "space some: finetune.recipe.epochs: the plan is written as phases"),
    ],
)
def test_a_place_or_a_value_that_cannot_be_is_named(base, place, value, told):
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
        space({place: {"choice": [value]}}).experiment(base, {place: value})


def test_a_value_of_no_dimension_is_refused(base):
    with pytest.raises(ConfigError, match=r"space some: model.dropot is no dimension; .*did you mean 'model.dropout'"):
        space().experiment(base, {"model.dropot": 0.5})


# where `all` is a number


def test_all_becomes_the_number_of_layer_groups_and_nothing_else_changes():
    written = {**DIMENSIONS, DEPTH: {"int": [0, "all"]}}
    assert space(written).resolved(4) == space()
    assert space().resolved(9) == space()


@pytest.mark.parametrize(
    ("dimensions", "told"),
    [
        ({DEPTH: {"int": [4, "all"]}}, f"dimensions.{DEPTH}: int: low 4 must be below high 4; swap them"),
        (
            {DEPTH: {"int": [0, "all"]}, HEAD: {"log": [1e-4, 1], "when": {DEPTH: {"above": 4}}}},
            f"dimensions.{HEAD}.when: {DEPTH} never is above 4; it can be 0 to 4",
        ),
        (
            {DEPTH: {"int": [0, "all"]}, HEAD: {"log": [1e-4, 1], "when": {DEPTH: [1, 5]}}},
            f"dimensions.{HEAD}.when: {DEPTH} never is 5; it can be 0 to 4",
        ),
    ],
)
def test_a_backbone_with_too_few_groups_for_a_range_or_condition_is_told(dimensions, told):
    with pytest.raises(ConfigError) as caught:
        space(dimensions).resolved(4)
    assert str(caught.value).startswith(f"space some, where the backbone has 4 layer groups: {told}")


# checked before anything starts


def test_a_space_whose_every_draw_is_valid_passes(base):
    space().check(base, fits)


@pytest.mark.parametrize(
    ("dimensions", "told"),
    [
        ({DEPTH: {"int": [0, 6]}}, rf"with {DEPTH}=6: {DEPTH}: 6 groups cannot be opened"),
        ({DECAY: {"float": [0.5, 1.1]}}, rf"with {DECAY}=1.1: {DECAY}: .*less than or equal to 1 \(got 1.1\)"),
        ({"train.batch": {"choice": [8, 16, -1, 32]}}, r"with train.batch=-1: train.batch: "),
        (
            {"seed": {"int": [0, 9]}, "model.dropout": {"choice": [0.0, 1.0], "when": {"seed": 9}}},
            r"with seed=9, model.dropout=1.0: model.dropout: ",
        ),
        (
            {"seed": {"int": [0, 9]}, "model.dropout": {"choice": [0.0, 1.0], "when": {"seed": 4}}},
            r"with seed=4, model.dropout=1.0: model.dropout: ",
        ),
    ],
    ids=["plan", "end of a range", "one choice", "corner of two", "inside"],
)
def test_a_draw_that_is_not_valid_is_named_with_its_values_and_the_reason(base, dimensions, told):
    place_literal = re.sub(r"(finetune\.phases)\[1\]", r"\1\\[1\\]", told)
    with pytest.raises(ConfigError, match=f"^space some, {place_literal}"):
        space(dimensions).check(base, fits)


def test_the_experiment_as_written_is_checked_too(base):
    with pytest.raises(ConfigError, match=r"^space some, with nothing drawn: finetune.phases\[1\].depth: 3 groups"):
        space({"seed": {"int": [0, 1]}}).check(base, lambda one: FinetunePlan.of(one, GROUPS[:2], 4))


def test_random_draws_find_what_the_ends_do_not(base):
    def refuse_the_middle(experiment):
        if 0.3 < experiment.model.dropout < 0.4:
            raise ConfigError("not here")

    drawn = space({"model.dropout": {"float": [0.1, 0.9]}})
    with pytest.raises(ConfigError, match=r"^space some, with model.dropout=0.3\d+: not here$"):
        drawn.check(base, refuse_the_middle)
    drawn.check(base, refuse_the_middle, draws=0)


def test_every_end_and_every_choice_is_checked_however_few_random_draws_follow(base):
    seen = []
    space().check(base, seen.append, draws=0)
    depths = {one.finetune.phases[1].depth for one in seen}
    assert depths == {0, 1, 3, 4}  # the ends, as it was written, and the least at which rates are drawn
    assert {one.model.dropout for one in seen} == {0.0, 0.2, 0.5}
    assert {1e-5, 3e-3} <= {one.finetune.phases[1].rates.backbone for one in seen}


def test_the_ends_of_a_dimension_are_checked_wherever_its_conditions_lie(base):
    chained = space(
        {
            "seed": {"int": [0, 10**6]},
            "train.batch": {"float": [0.0, 10**6], "when": {"seed": {"above": 20, "below": 22}}},
            "model.drop_path": {"choice": [0.1, 0.2], "when": {"train.batch": {"above": 7, "below": 9}}},
            "model.dropout": {"float": [0.1, 0.9], "when": {"model.drop_path": [0.2], "seed": {"above": 5}}},
        }
    )
    ends = list(chained._ends())
    assert {values["model.dropout"] for values in ends if "model.dropout" in values} == {0.1, 0.9}
    assert {values["model.drop_path"] for values in ends if "model.drop_path" in values} == {0.1, 0.2}
    assert {values["train.batch"] for values in ends if "train.batch" in values} == {0.0, 8.0, 1e6}
    assert {values["seed"] for values in ends} == {0, 21, 10**6}


# where the experiment itself lies


def test_the_values_of_the_experiment_as_written_are_those_that_leave_it_as_it_is(base):
    own = space().values_of(base, 4)
    assert own == {DEPTH: 3, HEAD: 3e-3, BACK: 1e-3, "model.dropout": 0.2}  # 1e-3 is not below 1e-3: no decay
    assert space().experiment(base, own) == base


def test_what_all_share_counts_as_the_experiments_own(base):
    assert space(set={DEPTH: 0}).values_of(base, 4) == {DEPTH: 0, HEAD: 3e-3, "model.dropout": 0.2}


def test_a_depth_of_all_is_the_number_of_groups(base):
    opened = config.changed(base, {DEPTH: "all"}, "tiny")
    assert space({DEPTH: {"int": [0, 4]}}).values_of(opened, 4) == {DEPTH: 4}
    assert space({DEPTH: {"choice": [0, "all"]}}).values_of(opened, 4) == {DEPTH: "all"}


@pytest.mark.parametrize(
    ("dimensions", "own"),
    [
        ({"model.weights": {"choice": [{"source": "hub"}, {"source": "none"}]}}, {"source": "none"}),
        ({"finetune.phases": {"choice": [[{"epochs": 9}], EXPERIMENT["finetune"]["phases"]]}}, None),
    ],
)
def test_a_choice_that_leaves_out_defaults_is_found_too(base, dimensions, own):
    [place] = dimensions
    assert space(dimensions).values_of(base, 4) == {place: own or EXPERIMENT["finetune"]["phases"]}


def test_a_recipe_is_found_by_the_phases_that_it_stands_for():
    base = config.parse({**EXPERIMENT, "finetune": {"recipe": "gradual"}}, "tiny")
    recipes = space({"finetune.recipe": {"choice": ["full", "gradual"]}})
    assert recipes.values_of(base, 4) == {"finetune.recipe": "gradual"}


@pytest.mark.parametrize(
    "dimensions",
    [
        {DEPTH: {"int": [0, 2]}},
        {"model.dropout": {"choice": [0.0, 0.5]}},
        {"train.batch": {"float": [16, 32]}},
        {"finetune.phases[2].depth": {"int": [0, 2]}},
        {"train.device": {"int": [0, 2]}},
        {"train.nothing": {"int": [0, 2]}},
        {"finetune.recipe": {"choice": ["full", "gradual"]}},
    ],
)
def test_an_experiment_that_lies_outside_has_none(base, dimensions):
    assert space(dimensions).values_of(base, 4) is None


# reading and keeping


def test_a_space_goes_through_json_and_back_to_an_equal_one():
    kept = space(set={"finetune.phases[0].views": 4})
    again = Space.model_validate(json.loads(json.dumps(kept.model_dump(mode="json"))))
    assert again == kept
    assert again.order == kept.order
    assert Space.model_validate_json(kept.model_dump_json()) == kept
    assert kept.model_dump(mode="json")["dimensions"] == DIMENSIONS


def test_a_space_is_read_with_variables_of_the_environment(read, monkeypatch):
    monkeypatch.setenv("RATE", "1e-2")
    loaded = read(
        f"name: some\nset: {{storage.root: '${{RATE}}'}}\ndimensions:\n  {HEAD}: {{log: [1e-4, '${{RATE}}']}}\n"
    )
    assert loaded.set == {"storage.root": "1e-2"}
    assert loaded.dimensions[HEAD].values == (1e-4, 1e-2)  # to YAML, 1e-4 is a string


def dimension(text):
    return f"name: some\ndimensions:\n  seed: {{int: [0, 9]}}\n  model.dropout: {text}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3", "needs a mapping such as {float: [0, 1]}, with one of choice, int, float, log (got 3)"),
        ("{}", "needs exactly one of choice, int, float, log; found none of them"),
        ("{int: [0, 1], log: [1, 2]}", "needs exactly one of choice, int, float, log; found int and log"),
        (
            "{flaot: [0, 1]}",
            "unknown key 'flaot'; known here: choice, int, float, log, steps, when; did you mean 'float'?",
        ),
        ("{choice: []}", "choice needs a list of one or more different values; got []"),
        ("{choice: 0.5}", "choice needs a list of one or more different values; got 0.5"),
        ("{choice: [1, 2, 1.0]}", "choice names 1.0 twice; choice needs a list of one or more different values"),
        ("{int: [0]}", "int needs [low, high], two whole numbers of which high may be all; got [0]"),
        ("{int: [0, 0.5]}", "int needs [low, high], two whole numbers of which high may be all; got [0, 0.5]"),
        ("{int: [false, 2]}", "int needs [low, high], two whole numbers of which high may be all; got [False, 2]"),
        ("{int: [all, 2]}", "int needs [low, high], two whole numbers of which high may be all; got ['all', 2]"),
        ("{int: [0, many]}", "int needs [low, high], two whole numbers of which high may be all; got [0, 'many']"),
        ("{int: [3, 3]}", "int: low 3 must be below high 3; swap them, or leave the dimension out"),
        ("{float: [0, all]}", "float needs [low, high], two numbers; got [0, 'all']"),
        ("{float: [0, .inf]}", "float needs [low, high], two numbers; got [0, inf]"),
        ("{float: [0, true]}", "float needs [low, high], two numbers; got [0, True]"),
        ("{float: 0.5}", "float needs [low, high], two numbers; got 0.5"),
        ("{float: [0.5, 0.1]}", "float: low 0.5 must be below high 0.1; swap them, or leave the dimension out"),
        ("{log: [0, 1]}", "log needs [low, high], two numbers above 0; got [0, 1]"),
        ("{log: [-1, 1]}", "log needs [low, high], two numbers above 0; got [-1, 1]"),
        ("{log: [1.0, 0.1]}", "log: low 1.0 must be below high 0.1; swap them, or leave the dimension out"),
        ("{choice: [1, 2], steps: 2}", "steps: a grid takes every value of a choice; leave steps out"),
        ("{float: [0, 1], steps: 1}", "steps: Input should be greater than or equal to 2 (got 1)"),
        ("{float: [0, 1], when: 3}", "when: Input should be a valid dictionary (got 3)"),
    ],
)
def test_a_dimension_that_cannot_be_drawn_is_refused_in_one_line(refusal, text, told):
    [line] = refusal(dimension(text))
    assert re.sub(r"\.(steps|when): ", r": \1: ", line) == f"dimensions.model.dropout: {told}"


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("{sede: 1}", "sede is no other dimension; there are seed; did you mean 'seed'?"),
        ("{model.dropout: 1}", "model.dropout is no other dimension; there are seed"),
        ("{seed: 10}", "seed never is 10; it can be 0 to 9"),
        ("{seed: [1, 2.5]}", "seed never is 2.5; it can be 0 to 9"),
        ("{seed: true}", "seed never is True; it can be 0 to 9"),
        ("{seed: null}", "seed never is None; it can be 0 to 9"),
        ("{seed: []}", "seed never is []; it can be 0 to 9"),
        ("{seed: {above: 9}}", "seed never is above 9; it can be 0 to 9"),
        ("{seed: {below: 0}}", "seed never is below 0; it can be 0 to 9"),
        ("{seed: {above: 3, below: 4}}", "seed never is above 3 and below 4; it can be 0 to 9"),
        (
            "{seed: {over: 3}}",
            "seed needs a value, a list of values, or numbers as in {above: 0} or {below: 4}; got {'over': 3}",
        ),
        ("{seed: {}}", "seed needs a value, a list of values, or numbers as in {above: 0} or {below: 4}; got {}"),
        (
            "{seed: {above: x}}",
            "seed needs a value, a list of values, or numbers as in {above: 0} or {below: 4}; got {'above': 'x'}",
        ),
    ],
)
def test_a_condition_that_can_never_hold_is_refused_in_one_line(refusal, when, told):
    [line] = refusal(dimension(f"{{choice: [0, 1], when: {when}}}"))
    assert line == f"dimensions.model.dropout.when: {told}"


@pytest.mark.parametrize(
    ("other", "wanted", "told"),
    [
        ("{choice: [sgd, lion]}", "adamw", "seed never is 'adamw'; it can be 'sgd', 'lion'"),
        (
            "{choice: [0, all]}",
            "{above: 0}",
            "seed has values that are no numbers, so list those that are meant; it can be 0, 'all'",
        ),
        ("{choice: [1, 2]}", "{above: 2}", "seed never is above 2; it can be 1, 2"),
        ("{float: [0, 1]}", "0.5", "seed needs {above: x} or {below: x}, because it is a float; got 0.5"),
        ("{log: [1, 2]}", "{above: 2}", "seed never is above 2; it can be 1.0 to 2.0"),
        ("{float: [0, 1]}", "{above: 0.5, below: 0.5}", "seed never is above 0.5 and below 0.5; it can be 0.0 to 1.0"),
    ],
)
def test_a_condition_asks_for_what_the_other_dimension_can_be(refusal, other, wanted, told):
    [line] = refusal(f"name: some\ndimensions:\n  seed: {other}\n  x: {{choice: [0], when: {{seed: {wanted}}}}}\n")
    assert line == f"dimensions.x.when: {told}"


def test_dimensions_that_wait_for_one_another_are_refused(refusal):
    [line] = refusal(
        "name: some\ndimensions:\n  seed: {int: [0, 9]}\n"
        "  a: {int: [0, 1], when: {b: 1}}\n  b: {int: [0, 1], when: {a: 1, seed: 3}}\n"
    )
    assert line == "dimensions.a.when: a and b wait for one another; take out one of their conditions"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("model.weights.source", "model.weights"),
        ("finetune.phases[1].depth", "finetune.phases[1]"),
        ("finetune.phases[1].depth", "finetune.phases"),
        ("finetune.phases[1].depth", "finetune.recipe"),
        ("finetune.recipe.epochs", "finetune.recipe"),
        ("finetune.recipe", "finetune.phases"),
    ],
)
def test_what_a_later_one_would_undo_is_refused_wherever_it_is_written(refusal, first, later):
    told = f"dimensions.{later}: is set after {first} and replaces it; write it first, or keep one of them"
    drawn = f"{later}: {{choice: [0]}}"
    assert refusal(f"name: some\ndimensions:\n  {first}: {{choice: [0]}}\n  {drawn}\n") == [told]
    assert refusal(f"name: some\nset: {{'{first}': 0}}\ndimensions:\n  {drawn}\n") == [told]


@pytest.mark.parametrize("place", ["''", "'[0]'", "a..b", ".a", "'a[x]'", "'a[0'", "a."])
@pytest.mark.parametrize("where", ["set", "dimensions"])
def test_what_is_no_place_is_refused(refusal, place, where):
    more = f"  {place}: {{choice: [0]}}\n" if where == "dimensions" else f"set: {{{place}: 1}}\n"
    [line] = refusal("name: some\ndimensions:\n  seed: {int: [0, 9]}\n" + more)
    shown = place.strip("'")
    assert line == f"{where}: {shown!r} is no place in an experiment; write one such as finetune.phases[1].depth"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping with name and dimensions; found NoneType"),
        ("name: some\n", "dimensions: Field required"),
        ("name: some\ndimensions: {}\n", "dimensions: Dictionary should have at least 1 item after validation, not 0"),
        ("name: some\ndimension: {}\ndimensions: {seed: {int: [0, 1]}}\n", "unknown key 'dimension'; known here: name"),
        ("name: Some Thing\ndimensions: {seed: {int: [0, 1]}}\n", "name: String should match pattern"),
        ("name: [x\n", "not valid YAML: "),
        (
            "name: some\ndimensions: {seed: {int: [0, 1]}, seed: {int: [0, 2]}}\n",
            "not valid YAML: 'seed' is written twice",
        ),
    ],
)
def test_a_file_that_holds_no_space_is_refused(refusal, text, told):
    assert refusal(text)[0].startswith(told)


def test_a_place_that_needs_quotes_is_told_so(refusal):
    [line] = refusal(dimension("{choice: [0, 1], when: {finetune.phases[1].depth: 1}}"))
    assert line.endswith('between braces, a place with an index needs quotes, as in {"finetune.phases[1].depth": 0}')


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        ConfigError, match=r"none\.yaml: cannot be read \(No such file.*give the path of a space's YAML"
    ):
        spaces.read(Space, tmp_path / "none.yaml")


def test_every_mistake_has_a_line_of_its_own(refusal):
    lines = refusal("name: some\ndimensions: {a: {int: [2, 1]}, b: {log: [0, 1]}, c: {float: [0, 1], steps: 0}}\n")
    assert [line.split(": ")[0] for line in lines] == ["dimensions.a", "dimensions.b", "dimensions.c.steps"]
    lines = refusal(dimension("{float: [0, 1], when: {a: 1, seed: 99}}"))
    assert [line.split(": ")[0] for line in lines] == ["dimensions.model.dropout.when"] * 2


# the spaces that are shipped


def shipped(name):
    return next(path for path in SHIPPED if path.stem == name)


def test_these_are_shipped():
    assert [path.stem for path in SHIPPED] == ["backbone", "recipe", "unfreeze"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_opens_with_what_it_explores_and_draws_valid_experiments_alone(path, base):
    assert re.match(r"# .*\n(# .*\n)*# .*[Ee]xpect.*\n(# .*\n)*name: ", path.read_text())
    ready = study.load(path)
    assert ready.name == path.stem
    ready.resolved(len(GROUPS)).check(base, fits, draws=64)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_differs_from_trial_to_trial_in_every_dimension(path, base):
    ready = study.load(path).resolved(len(GROUPS))
    drawn = draws(ready)
    for place in ready.dimensions:
        assert len({values[place] for values in drawn if place in values}) > 1, place


def test_every_backbone_of_the_shipped_space_is_known():
    named = study.load(shipped("backbone")).dimensions["model.backbone"].values
    assert all(family.names(name) == [name] for name in named)


def test_unfreezing_draws_rates_only_of_what_is_open():
    for values in draws(study.load(shipped("unfreeze")).resolved(5)):
        assert (BACK in values) == (values[DEPTH] > 0)
        assert (DECAY in values) == (values[DEPTH] > 1)
    assert yaml.safe_load(shipped("unfreeze").read_text())["dimensions"][DEPTH] == {"int": [0, "all"]}
