"""A recipe is written out as phases while it is read, can be overridden, and leaves nothing else behind."""

import copy
import json

import pytest
import yaml

from thaw.config import load as config
from thaw.config.recipes import Recipe, phases
from thaw.errors import ConfigError

BASE = {
    "name": "boards",
    "data": {"source": {"type": "boards"}},
    "tasks": {"verdict": {"type": "classification"}},
}
NAMES = ("head_only", "gradual", "full", "layer_decay", "lora")
PHASES = [{"epochs": 1}, {"epochs": 2, "depth": 4}]


def experiment(**finetune):
    return config.parse(copy.deepcopy(BASE) | {"finetune": finetune}, "e.yaml")


def refusal(**finetune):
    with pytest.raises(ConfigError) as caught:
        experiment(**finetune)
    return str(caught.value)


@pytest.fixture
def load(tmp_path):
    """Write an experiment with this finetune section and load it with overrides."""

    def _load(finetune, *overrides, **sections):
        path = tmp_path / "e.yaml"
        path.write_text(yaml.safe_dump(BASE | {"finetune": finetune} | sections), encoding="utf-8")
        return config.load(path, overrides)

    return _load


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("head_only", [(13, 0, None)]),
        ("gradual", [(3, 0, None), (10, "all", 1)]),
        ("full", [(13, "all", None)]),
        ("layer_decay", [(13, "all", None)]),
        ("lora", [(3, 0, None), (10, "all", None)]),
    ],
)
def test_a_recipe_stands_for_phases_of_these_epochs_and_depths(name, told):
    resolved = experiment(recipe=name).finetune
    assert resolved.recipe is None
    assert [(phase.epochs, phase.depth, phase.open_every) for phase in resolved.phases] == told


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs", [2, 3, 6, 40])
def test_phases_share_out_the_epochs_and_a_quarter_of_two_is_for_the_heads(name, epochs):
    found = phases(Recipe(name=name, epochs=epochs))
    assert sum(phase["epochs"] for phase in found) == epochs
    if len(found) == 2:
        assert found[0]["depth"] == 0
        assert found[0]["epochs"] == max(1, round(epochs / 4))


def test_full_has_one_rate_for_everything_and_layer_decay_one_for_each_depth():
    rates = experiment(recipe="full").finetune.phases[0].rates
    assert (rates.backbone, rates.decay) == (rates.head, 1.0)
    rates = experiment(recipe={"name": "full", "rates": {"head": 0.01}}).finetune.phases[0].rates
    assert (rates.head, rates.backbone, rates.decay) == (0.01, 0.01, 1.0)
    rates = experiment(recipe={"name": "full", "rates": {"backbone": 0.01}}).finetune.phases[0].rates
    assert rates.backbone == 0.01 != rates.head
    assert experiment(recipe="layer_decay").finetune.phases[0].rates.decay == 0.75


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_that_is_given_holds_in_every_phase_where_it_means_something(name):
    given = {"head": 0.02, "backbone": 0.003, "decay": 0.5}
    for phase in experiment(recipe={"name": name, "rates": given}).finetune.phases:
        assert phase.rates.head == 0.02
        if phase.depth == "all":
            assert (phase.rates.backbone, phase.rates.decay) == (0.003, 0.5)


def test_every_default_rate_is_the_one_that_the_schema_tells_of():
    told = config.schema()["$defs"]["Recipe"]["properties"]["rates"]["description"]
    assert "heads alone 3e-3; then gradual and layer_decay 1e-3 for the heads and 5e-4, decaying by 0.75" in told
    rates = {name: [phase["rates"] for phase in phases(Recipe(name=name))] for name in NAMES}
    assert {found[0]["head"] for name, found in rates.items() if name in ("head_only", "gradual", "lora")} == {3e-3}
    for name in ("gradual", "layer_decay"):
        assert rates[name][-1] == {"head": 1e-3, "backbone": 5e-4, "decay": 0.75}
    assert rates["full"][-1] == {"head": 3e-4, "backbone": 3e-4, "decay": 1.0}
    assert rates["lora"][-1] == {"head": 1e-3, "backbone": 1e-3, "decay": 1.0}


def test_groups_open_every_so_many_epochs_where_asked():
    found = experiment(recipe={"name": "gradual", "epochs": 20, "open_every": 3}).finetune.phases
    assert [(phase.epochs, phase.open_every) for phase in found] == [(5, None), (15, 3)]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("gradul", "finetune.recipe.name: Input should be 'head_only', 'gradual', 'full', 'layer_decay' or 'lora'"),
        ({"name": "full", "epohs": 3}, "finetune.recipe: unknown key 'epohs'; known here: "),
        ({"epochs": 3}, "finetune.recipe.name: Field required"),
        ({"name": "full", "epochs": 0}, "finetune.recipe.epochs: Input should be greater than or equal to 1 (got 0)"),
        ({"name": "full", "rates": {"head": 0}}, "finetune.recipe.rates.head: Input should be greater than 0 (got 0)"),
        ({"name": "full", "open_every": 2}, "finetune.recipe: open_every: full opens all its groups at once"),
        ({"name": "gradual", "epochs": 1}, "finetune.recipe: epochs: gradual has two phases and needs 2 epochs"),
        (3, "finetune.recipe: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_its_place(recipe, words):
    assert refusal(recipe=recipe).startswith(f"e.yaml: {words}")
    assert len(refusal(recipe=recipe).splitlines()) == 1


def test_a_recipe_and_phases_are_not_given_together():
    assert refusal(recipe="full", phases=PHASES) == (
        "e.yaml: finetune: recipe and phases are two ways to write the same plan; keep one of them"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_experiment_holds_phases_and_loads_to_itself(name):
    resolved = experiment(recipe=name)
    dumped = yaml.safe_load(config.dump(resolved))
    assert dumped["finetune"]["recipe"] is None
    assert config.parse(dumped, "run") == resolved
    assert config.dump(config.parse(dumped, "run")) == config.dump(resolved)


def test_lora_gives_the_model_adapters_unless_it_has_some():
    assert experiment(recipe="lora").model.lora.rank == 8
    assert experiment(recipe="full").model.lora is None
    values = BASE | {"finetune": {"recipe": {"name": "lora"}}, "model": {"dropout": 0.1, "lora": {"rank": 2}}}
    assert config.parse(values, "e.yaml").model.lora.rank == 2
    assert config.parse(values, "e.yaml").model.dropout == 0.1


def test_a_recipe_in_the_file_can_be_changed_in_part_or_as_a_whole(load):
    written = {"recipe": {"name": "gradual", "epochs": 8}}
    assert [one.epochs for one in load(written, "finetune.recipe.epochs=20").finetune.phases] == [5, 15]
    assert load(written, "finetune.recipe.rates.decay=0.5").finetune.phases[1].rates.decay == 0.5
    assert [one.epochs for one in load(written, "finetune.recipe.name=lora").finetune.phases] == [2, 6]
    assert [one.epochs for one in load(written, "finetune.recipe=full").finetune.phases] == [13]
    assert [one.epochs for one in load({"recipe": "gradual"}, "finetune.recipe.epochs=20").finetune.phases] == [5, 15]


def test_other_overrides_leave_a_recipe_as_it_is(load):
    written = {"recipe": {"name": "lora", "epochs": 8}}
    changed = load(written, "train.batch=4", "finetune.optimizer.name=sgd")
    assert changed.finetune.phases == load(written).finetune.phases
    assert changed.model == load(written).model


def test_what_a_recipe_asked_of_the_model_goes_with_it(load):
    assert load({"recipe": "lora"}, "finetune.recipe=full").model.lora is None
    assert load({"recipe": "full"}, "finetune.recipe=lora").model.lora.rank == 8
    assert load({"recipe": "full"}, "finetune.recipe=lora", "model.lora.rank=2").model.lora.rank == 2
    model = {"lora": {"rank": 4}}
    assert load({"recipe": "lora"}, "finetune.recipe=full", model=model).model.lora.rank == 4


@pytest.mark.parametrize("written", [{}, {"phases": PHASES}])
def test_a_recipe_on_the_command_line_replaces_the_phases(load, written):
    found = load(written, "finetune.recipe=gradual", "finetune.recipe.epochs=4")
    assert [(one.epochs, one.depth) for one in found.finetune.phases] == [(1, 0), (3, "all")]
    assert load(written, "finetune.recipe=full") == load({"recipe": "full"})
    assert load(written, "finetune.recipe=null") == load(written)


def test_phases_on_the_command_line_replace_a_recipe(load):
    found = load({"recipe": "gradual"}, "finetune.phases=[{epochs: 7}]")
    assert [one.epochs for one in found.finetune.phases] == [7]
    assert load({}, "finetune.recipe=full", "finetune.phases=[{epochs: 7}]") == found


def test_a_part_of_what_is_not_written_cannot_be_changed(load):
    with pytest.raises(ConfigError) as caught:
        load({"phases": PHASES}, "finetune.recipe.epochs=20")
    assert str(caught.value) == (
        "'finetune.recipe.epochs=20': the plan is written as phases; choose a recipe first, as in "
        "finetune.recipe=gradual, which replaces them"
    )
    with pytest.raises(ConfigError, match=r"the phases come from a recipe; change finetune\.recipe\.epochs"):
        load({"recipe": "gradual"}, "finetune.phases[1].depth=2")


@pytest.mark.parametrize("recipe", ["gradual", {"name": "gradual", "epochs": 4}])
def test_the_schema_accepts_a_recipe_by_name_and_as_a_section(recipe):
    jsonschema = pytest.importorskip("jsonschema")
    schema = jsonschema.Draft202012Validator(json.loads(json.dumps(config.schema())))
    assert schema.is_valid(BASE | {"finetune": {"recipe": recipe}})
    assert not schema.is_valid(BASE | {"finetune": {"recipe": "gradul"}})
