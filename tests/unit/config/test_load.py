"""Loading: plain YAML and overrides become an experiment, or one clear line per mistake."""

import functools
import operator
import re

import pytest
import yaml

from thaw.config import load as config
from thaw.errors import ConfigError

TEXT = """\
name: boards
data:
  source: {type: boards, images: 50}
tasks:
  verdict: {type: classification}
"""


@pytest.fixture
def write(tmp_path):
    """Write an experiment and return its path."""

    def _write(text=TEXT):
        path = tmp_path / "experiment.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def refusal(path, overrides=()):
    """Return the message with which loading is refused."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, overrides)
    return str(caught.value)


def mappings(values, place=""):
    """Yield (place, mapping) of every level at which keys are fixed, in nested plain values."""
    if isinstance(values, dict):
        if place != "tasks":  # its keys are the user's own
            yield place, values
        for key, inner in values.items():
            yield from mappings(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(values, list):
        for index, inner in enumerate(values):
            yield from mappings(inner, f"{place}[{index}]")


def plain():
    return config.parse(yaml.safe_load(TEXT), "experiment.yaml").model_dump(mode="json")


PLACES = [place for place, _ in mappings(plain())]


def test_the_levels_under_test_reach_from_the_top_to_the_deepest():
    assert {"", "data.source", "tasks.verdict", "finetune.phases[1].rates", "serve.limits"} <= set(PLACES)


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_key_names_its_place_and_the_nearest_key_at_every_level(place):
    values = plain()
    level = dict(mappings(values))[place]
    for key in [key for key in level if len(key) > 3]:
        level[f"{key}x"] = level[key]
        with pytest.raises(ConfigError) as caught:
            config.parse(values, "some.yaml")
        shown = f"{place}: " if place else ""
        assert str(caught.value).startswith(f"some.yaml: {shown}unknown key '{key}x'; known here: ")
        assert str(caught.value).endswith(f"did you mean '{key}'?")
        del level[f"{key}x"]
    config.parse(values, "some.yaml")


def test_every_mistake_has_a_line_of_its_own_that_names_the_file(write):
    path = write(TEXT + "seed: -1\ntrain: {batch: 0}\nserve: {port: many}\n")
    lines = refusal(path).splitlines()
    assert [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines] == [
        "seed",
        "train.batch",
        "serve.port",
    ]


def test_a_mistake_in_the_only_entry_of_a_list_is_one_line(write):
    [line] = refusal(write(TEXT + "finetune: {phases: [{epochs: 0}]}\n")).splitlines()
    assert "finetune.phases[0].epochs: " in line


def test_a_message_shows_the_value_that_came(write):
    assert "(got -7)" in refusal(write(TEXT + "seed: -7\n"))


def test_keys_that_are_no_words_are_refused_like_others(write):
    assert "unknown key 3" in refusal(write(TEXT + "3: x\n"))
    assert "unknown key True" in refusal(write(TEXT + "yes: x\n"))


def test_a_missing_section_is_named(write):
    assert re.search(r": tasks: .*required", refusal(write("name: x\ndata: {source: {type: boards}}\n")))


@pytest.mark.parametrize(
    ("text", "found"), [("", "NoneType"), ("- name: x\n", "list"), ("boards\n", "str"), ("3\n", "int")]
)
def test_what_is_not_a_mapping_is_refused(write, text, found):
    path = write(text)
    assert refusal(path) == f"{path}: must be a mapping with name, data and tasks; found {found}"


@pytest.mark.parametrize("text", ["name: [unclosed\n", "name: a: b\n", "\tname: x\n", "name: *anchor\n"])
def test_broken_yaml_is_refused_in_one_line_with_the_file(write, text):
    path = write(text)
    message = refusal(path)
    assert message.startswith(f"{path}: not valid YAML: ")
    assert "\n" not in message


@pytest.mark.parametrize("value", ["2024-13-45", "1" * 5000])
def test_a_value_that_yaml_cannot_hold_is_refused_and_not_a_crash(write, value):
    path = write(f"{TEXT}seed: {value}\n")
    assert refusal(path).startswith(f"{path}: ")


def test_a_section_that_is_written_twice_is_refused(write):
    assert "train" in refusal(write(TEXT + "train: {batch: 64}\ntrain: {workers: 2}\n"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "missing.yaml")
    assert "directory" in refusal(tmp_path).lower()
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe\n")
    assert "not UTF-8 text" in refusal(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir",
        "!!python/object/new:pathlib.Path",
        "!!python/name:os.system",
        "!!python/module:os",
        "!path",
    ],
)
def test_yaml_that_asks_to_run_code_is_refused_and_runs_nothing(write, tag, tmp_path):
    marker = tmp_path / "marker"
    value = f"{tag} [{marker}]" if "name:" not in tag and "module:" not in tag else f"{tag} ''"
    assert "not valid YAML" in refusal(write(f"{TEXT}seed: {value}\n"))
    assert "is not a YAML value" in refusal(write(), [f"seed={value}"])
    assert not marker.exists()


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("train.batch=64", "train.batch", 64),
        ("finetune.phases[1].depth=3", "finetune.phases[1].depth", 3),
        ("finetune.phases[0].depth=all", "finetune.phases[0].depth", "all"),
        ("data.augment.zoom[1]=1.5", "data.augment.zoom", [0.9, 1.5]),
        ("data.augment.zoom=[1, 1]", "data.augment.zoom", [1, 1]),
        ("data.source.images=8", "data.source.images", 8),
        ("tasks.verdict.label_smoothing=0.1", "tasks.verdict.label_smoothing", 0.1),
        ("finetune.early_stopping.patience=null", "finetune.early_stopping.patience", None),
        ("storage.root=s3://bucket/a=b", "storage.root", "s3://bucket/a=b"),
        ("finetune.phases[1].rates.decay=1.0", "finetune.phases[1].rates.decay", 1.0),
    ],
)
def test_an_override_sets_its_place_and_nothing_else(write, override, place, value):
    path = write()
    changed, before = (config.load(path, given).model_dump(mode="json") for given in ([override], []))
    *above, last = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", place)]
    inner = functools.reduce(operator.getitem, above, changed)
    assert inner[last] == value
    assert changed != before
    inner[last] = functools.reduce(operator.getitem, [*above, last], before)
    assert changed == before


def test_overrides_apply_in_order_and_a_new_task_can_be_added(write):
    experiment = config.load(
        write(), ["seed=1", "seed=2", "tasks.layout={type: classification}", "tasks.tags.type=multilabel"]
    )
    assert experiment.seed == 2
    assert list(experiment.tasks) == ["verdict", "layout", "tags"]
    assert experiment.tasks["tags"].annotation == "classes"


def test_overrides_are_judged_together_not_one_by_one(write):
    experiment = config.load(write(), ["model.weights.source=path", "model.weights.path=w.safetensors"])
    assert experiment.model.weights.path == "w.safetensors"


@pytest.mark.parametrize("override", ["train.batch", "=3", "", "[0]=3", ".=3"])
def test_what_is_no_override_is_told_how_to_write_one(write, override):
    assert refusal(write(), [override]) == (f"{override!r} is not an override; write place=value, as in train.batch=64")


@pytest.mark.parametrize(
    ("override", "missing"),
    [
        ("finetune.phases[9].depth=1", "entry [9]"),
        ("finetune.phases[2]=1", "entry [2]"),
        ("finetune.phases.depth=1", "key 'depth'"),
        ("train[0]=1", "entry [0]"),
        ("train.batch.size=1", "key 'size'"),
    ],
)
def test_an_override_of_a_place_that_is_not_there_names_the_step(write, override, missing):
    assert refusal(write(), [override]) == (
        f"{override!r}: there is no {missing} here; only an existing list entry can be set"
    )


def test_plain_values_are_set_as_overrides_are_but_as_they_come(write):
    experiment = config.load(write())
    text = "storage.root=${A}"
    changed = config.changed(experiment, {"name": "1", "finetune.phases[1].depth": 3, "storage.root": text}, "a search")
    assert (changed.name, changed.finetune.phases[1].depth, changed.storage.root) == ("1", 3, text)
    assert config.changed(experiment, {}, "a search") == experiment
    assert config.changed(experiment, {"finetune.phases[1].depth": 3}, "") == config.load(
        write(), ["finetune.phases[1].depth=3"]
    )


def test_plain_values_are_set_in_order_judged_together_and_stay_as_they_were(write):
    weights = {"source": "path"}
    values = {"model.weights": weights, "model.weights.path": "w.safetensors"}
    assert config.changed(config.load(write()), values, "a search").model.weights.path == "w.safetensors"
    assert weights == {"source": "path"}


def test_a_recipe_as_a_plain_value_replaces_the_phases(write):
    by_value = config.changed(config.load(write()), {"finetune.recipe": "gradual"}, "a search")
    assert by_value == config.load(write(), ["finetune.recipe=gradual"])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seed": -1}, "a search: seed: Input should be greater than or equal to 0 (got -1)"),
        ({"train[0]": 1}, "a search: train[0]: there is no entry [0] here; only an existing list entry can be set"),
        (
            {"finetune.phases[2].depth": 1},
            "a search: finetune.phases[2].depth: there is no phase [2]; the experiment's plan has 2, counted from [0]: "
            "write more phases into it, or leave this place out",
        ),
    ],
)
def test_a_plain_value_that_cannot_be_set_names_its_place(write, values, told):
    with pytest.raises(ConfigError) as caught:
        config.changed(config.load(write()), values, "a search")
    assert str(caught.value) == told


def test_an_override_that_is_no_yaml_is_quoted(write):
    assert refusal(write(), ["train.batch=[1"]) == "'train.batch=[1': '[1' is not a YAML value"


def test_an_override_of_an_unknown_key_is_refused_with_the_nearest(write):
    assert "train: unknown key 'bacth'" in refusal(write(), ["train.bacth=3"])
    assert "did you mean 'batch'?" in refusal(write(), ["train.bacth=3"])


def test_an_override_out_of_bounds_is_refused_with_its_place(write):
    assert "finetune.phases[1].epochs: " in refusal(write(), ["finetune.phases[1].epochs=0"])


def test_a_variable_is_replaced_wherever_a_string_stands(write, monkeypatch):
    monkeypatch.setenv("PLACE", "somewhere")
    monkeypatch.setenv("ONE", "cat")
    text = TEXT.replace("type: classification", "type: classification, classes: ['${ONE}', dog]")
    experiment = config.load(write(text + "storage: {root: 's3://${PLACE}/${ONE}s'}\n"))
    assert experiment.storage.root == "s3://somewhere/cats"
    assert experiment.tasks["verdict"].classes == ("cat", "dog")


def test_a_variable_is_replaced_in_an_override(write, monkeypatch):
    monkeypatch.setenv("PLACE", "somewhere")
    assert config.load(write(), ["storage.root=${PLACE}/x"]).storage.root == "somewhere/x"


@pytest.mark.parametrize("text", ["$PLACE", "${}", "${1}", "{PLACE}", "$(PLACE)"])
def test_only_a_name_in_braces_is_a_variable(write, text, monkeypatch):
    monkeypatch.setenv("PLACE", "somewhere")
    assert config.load(write(f"{TEXT}storage: {{root: '{text}'}}\n")).storage.root == text


def test_a_missing_variable_names_the_file_the_variable_and_the_way_out(write, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    path = write(TEXT + "storage: {root: '${NOT_SET_ANYWHERE}/x'}\n")
    assert refusal(path) == (
        f"{path}: ${{NOT_SET_ANYWHERE}} is used but not set; run `export NOT_SET_ANYWHERE=...` first"
    )


@pytest.mark.parametrize("overrides", [[], ["seed=1"]])
def test_what_a_variable_holds_is_taken_as_it_is(write, monkeypatch, overrides):
    monkeypatch.setenv("OUTER", "${INNER}")
    monkeypatch.setenv("INNER", "other")
    path = write(TEXT + "storage: {root: '${OUTER}'}\n")
    assert config.load(path, overrides).storage.root == "${INNER}"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "seed: 7\nevaluate: {split: val}\n",
        "storage: {root: 'größe 猫'}\n",
        "finetune: {phases: [{epochs: 1, depth: all, rates: {head: 1.0e-3}}, {epochs: 2, depth: 4}]}\n",
        "model: {weights: {source: path, path: w.safetensors}}\ntrain: {device: gpu, precision: bf16}\n",
    ],
)
def test_a_dumped_experiment_loads_to_an_equal_one(write, more, tmp_path):
    experiment = config.load(write(TEXT + more))
    copy = tmp_path / "copy.yaml"
    copy.write_text(config.dump(experiment), encoding="utf-8")
    assert config.load(copy) == experiment
    assert config.dump(config.load(copy)) == config.dump(experiment)


def test_a_dump_holds_every_default(write):
    dumped = yaml.safe_load(config.dump(config.load(write())))
    assert dumped["train"]["batch"] == 32
    assert dumped["data"]["source"] == {"type": "boards", "images": 50, "size": 256, "seed": 0}
    assert dumped["tasks"]["verdict"]["label_smoothing"] == 0.0
