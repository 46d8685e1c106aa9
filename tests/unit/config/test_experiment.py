"""The experiment: bounds of every value, what must fit together, the shipped files and their JSON Schema."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from thaw import catalog
from thaw.config import load as config
from thaw.config.parts import Section
from thaw.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[3] / "jobs" / "configs").glob("*.yaml"))
BASE = {
    "name": "boards",
    "data": {"source": {"type": "boards"}},
    "tasks": {"verdict": {"type": "classification"}, "tags": {"type": "multilabel"}},
}


def experiment(**sections):
    return config.parse(copy.deepcopy(BASE) | sections, "e.yaml")


def at(place, value):
    """Return the plain values of an experiment, with the defaults, and one of them changed."""
    values = experiment().model_dump(mode="json")
    inner = values
    *path, last = place.split(".")
    for step in path:
        inner = inner[int(step) if step.isdigit() else step]
    inner[int(last) if last.isdigit() else last] = value
    return values


BOUNDS = [
    ("seed", 0, -1),
    ("name", "a", ""),
    ("name", "a" * 63, "a" * 64),
    ("name", "0-a_b", "-a"),
    ("name", "abc", "a/b"),
    ("name", "abc", "Abc"),
    ("data.split.val", 0.01, 0),
    ("data.split.test", 0.8, 1),
    ("data.image.size", 32, 31),
    ("data.image.size", 2048, 2049),
    ("data.image.fit", "letterbox", "squash"),
    ("data.augment.hflip", 1, 1.01),
    ("data.augment.vflip", 0, -0.01),
    ("data.augment.rotate", 180, 181),
    ("data.augment.shift", 0.5, 0.51),
    ("data.augment.zoom", [1, 5], [1, 5.1]),
    ("data.augment.zoom", [0.21, 1], [0.2, 1]),
    ("data.augment.zoom", [1, 1], [1]),
    ("data.augment.brightness", 1, 1.5),
    ("data.augment.contrast", 0, -1),
    ("data.augment.saturation", 1, 2),
    ("data.augment.hue", 0.5, 0.6),
    ("data.augment.blur", 1, 1.1),
    ("data.augment.policy", "randaugment", "autoaugment"),
    ("data.augment.policy_strength", 1, 1.1),
    ("data.augment.policy_strength", 0, -0.1),
    ("data.augment.policy_ops", 14, 15),
    ("data.augment.policy_ops", 1, 0),
    ("data.limits.max_bytes", 1, 0),
    ("data.limits.max_pixels", 1, 0),
    ("data.reencode", 32, 31),
    ("data.reencode", 4096, 4097),
    ("data.max_rejected", 1, 1.1),
    ("data.shard_images", 8, 7),
    ("model.dropout", 0, 1),
    ("model.drop_path", 0.9, 1),
    ("model.drop_path", 0, -0.1),
    ("model.weights.source", "none", "url"),
    ("model.checkpointing", True, "often"),
    ("finetune.phases", [{"epochs": 1}], []),
    ("finetune.phases.0.epochs", 1, 0),
    ("finetune.phases.0.depth", 0, -1),
    ("finetune.phases.0.depth", "all", "blocks 4"),
    ("finetune.phases.0.depth", "blocks.4", ""),
    ("finetune.phases.0.open_every", 1, 0),
    ("finetune.phases.0.rates.head", 10, 0),
    ("finetune.phases.0.rates.backbone", 1e-9, 11),
    ("finetune.phases.0.rates.decay", 1, 0),
    ("finetune.phases.0.rates.groups", {"blocks.4": 10}, {"blocks.4": 0}),
    ("finetune.phases.0.schedule", "one_cycle", "poly"),
    ("finetune.phases.0.warmup", 1, -0.1),
    ("finetune.phases.0.drop_every", 1, 0),
    ("finetune.phases.0.drop_to", 1, 0),
    ("finetune.optimizer.name", "sgd", "torch.optim.SGD"),
    ("finetune.optimizer.betas", [0, 0.9], [0.9, 1]),
    ("finetune.optimizer.betas", [0.9, 0.9, 0.9], [0.9]),
    ("finetune.optimizer.eps", 1e-6, 0),
    ("finetune.optimizer.weight_decay", 0, -1),
    ("finetune.optimizer.momentum", 0, 1),
    ("finetune.optimizer.clip_norm", None, 0),
    ("finetune.early_stopping.patience", 1, 0),
    ("finetune.early_stopping.min_delta", 0, -1),
    ("finetune.batchnorm", "adapt", "free"),
    ("finetune.ema", {"decay": 0.9}, {"decay": 1}),
    ("train.workers", 1, 0),
    ("train.device", "gpu", "tpu"),
    ("train.cpus_per_worker", 0.5, 0),
    ("train.batch", 1, 0),
    ("train.precision", "fp16", "fp8"),
    ("train.sampling", "classes", "balanced"),
    ("train.accumulate", 2, 0),
    ("train.compile", True, "often"),
    ("train.checkpoint_steps", 1, 0),
    ("train.prefetch", 1, 0),
    ("train.max_failures", 0, -1),
    ("evaluate.split", "val", "train"),
    ("evaluate.batch", 1, 0),
    ("serve.port", 1, 0),
    ("serve.port", 65535, 65536),
    ("serve.replicas", 1, 0),
    ("serve.max_batch", 1, 0),
    ("serve.batch_wait_ms", 0, -1),
    ("serve.max_queued", 1, 0),
    ("tasks", {"a": {"type": "multilabel"}}, {}),
    ("tasks", {"a": {"type": "multilabel"}}, {"A b": {"type": "multilabel"}}),
    ("tasks.verdict.weight", 0.1, 0),
    ("tasks.verdict.label_smoothing", 0, 1),
    ("tasks.verdict.focal_gamma", 10, 11),
    ("tasks.verdict.focal_gamma", 0, -1),
    ("tasks.tags.label_smoothing", 0, 1),
    ("tasks.tags.focal_gamma", 10, 11),
    ("tasks.tags.threshold", 0.5, 1),
    ("data.source.images", 1, 0),
]


@pytest.mark.parametrize(("place", "allowed", "refused"), BOUNDS)
def test_a_value_is_allowed_up_to_its_bound_and_refused_beyond_with_its_place(place, allowed, refused):
    config.parse(at(place, allowed), "e.yaml")
    with pytest.raises(ConfigError) as caught:
        config.parse(at(place, refused), "e.yaml")
    shown = place.replace(".0", "[0]")
    assert all(line.startswith(f"e.yaml: {shown}") for line in str(caught.value).splitlines())


@pytest.mark.parametrize("value", [-1, "-1", "no group"])
def test_a_wrong_depth_is_one_line_with_the_very_place(value):
    with pytest.raises(ConfigError) as caught:
        config.parse(at("finetune.phases.0.depth", value), "e.yaml")
    [line] = str(caught.value).splitlines()
    assert line.startswith("e.yaml: finetune.phases[0].depth: ")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {"batch": 9, "workers": 2}}, "train: batch 9 must be a multiple of workers 2"),
        (
            {"train": {"batch": 4, "workers": 2, "accumulate": 3}},
            "train: accumulate 3: the 2 images that are a worker's share of a batch cannot be cut into so many pieces",
        ),
        (
            {"train": {"accumulate": 2}, "finetune": {"weighting": {"by": "gradnorm"}}},
            "train.accumulate: finetune.weighting.by gradnorm compares the gradients of a whole batch",
        ),
        (
            {"model": {"checkpointing": True}, "finetune": {"batchnorm": "adapt"}},
            "model.checkpointing: what is computed again would move BatchNorm's statistics twice",
        ),
        (
            {"train": {"learn_from": "train+val"}},
            "train.learn_from: train+val leaves no image to stop early by: set finetune.early_stopping.patience",
        ),
        (
            {
                "train": {"learn_from": "train+val"},
                "finetune": {"early_stopping": {"patience": None, "monitor": "tags"}},
            },
            "train.learn_from: train+val leaves no image to stop early by",
        ),
        (
            {
                "train": {"learn_from": "train+val"},
                "finetune": {"early_stopping": {"patience": None}},
                "evaluate": {"split": "val"},
            },
            "train.learn_from: train+val leaves no image to measure the model on but those of test",
        ),
        (
            {"finetune": {"phases": [{"epochs": 3}, {"epochs": 2, "stop_after": 3}]}},
            "finetune.phases[1]: stop_after 3 lies beyond its 2 epochs",
        ),
        ({"model": {"weights": {"source": "path"}}}, "model.weights: path must be given"),
        ({"model": {"weights": {"source": "hub", "path": "w"}}}, "model.weights: path must be given"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(sections, words):
    with pytest.raises(ConfigError) as caught:
        experiment(**sections)
    assert str(caught.value).startswith(f"e.yaml: {words}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"split": {"val": 0.5, "test": 0.5}}, "data.split: val 0.5 + test 0.5 leave nothing to train on"),
        ({"augment": {"zoom": [1.2, 0.9]}}, "data.augment: zoom: the smallest magnification 1.2 is above"),
    ],
)
def test_values_of_the_data_that_do_not_fit_together_are_refused(data, words):
    with pytest.raises(ConfigError) as caught:
        experiment(data=BASE["data"] | data)
    assert str(caught.value).startswith(f"e.yaml: {words}")


@pytest.mark.parametrize("chosen", ["tags", "unheard_of"])
def test_only_a_task_of_single_classes_can_keep_its_shares(chosen):
    with pytest.raises(ConfigError, match=f"data.split.stratify: '{chosen}' is not a single-class task"):
        experiment(data=BASE["data"] | {"split": {"stratify": chosen}})


def test_the_first_single_class_task_keeps_its_shares_unless_another_is_chosen():
    one, two, tags = {"type": "classification"}, {"type": "classification"}, {"type": "multilabel"}
    tasks = {"tags": tags, "one": one, "two": two}
    assert experiment(tasks=tasks).stratified_task() == "one"
    chosen = BASE["data"] | {"split": {"stratify": "two"}}
    assert experiment(tasks=tasks, data=chosen).stratified_task() == "two"
    assert experiment(tasks={"tags": tags}).stratified_task() is None


def test_drawing_by_class_needs_a_single_class_task():
    drawn = {"train": {"sampling": "classes"}}
    assert experiment(**drawn).train.sampling == "classes"
    with pytest.raises(ConfigError, match=r"train\.sampling: classes draws each class of a single-class task"):
        experiment(tasks={"tags": {"type": "multilabel"}}, **drawn)


def _with_lora(source="package", batchnorm="held", **lora):
    return experiment(model={"weights": {"source": source}, "lora": lora}, finetune={"batchnorm": batchnorm})


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("rank", 1, 0),
        ("rank", 256, 257),
        ("alpha", 1024, 0),
        ("dropout", 0, 1),
        ("targets", ["qkv"], []),
        ("targets", None, "qkv"),
    ],
)
def test_adapters_are_off_unless_asked_for_and_their_bounds_are_known(field, allowed, refused):
    assert experiment().model.lora is None
    assert _with_lora(**{field: allowed}).model.lora is not None
    with pytest.raises(ConfigError, match=rf"model\.lora\.{field}"):
        _with_lora(**{field: refused})


def test_adapters_need_weights_that_can_be_had_again_and_that_stay_as_they_are():
    with pytest.raises(ConfigError, match=r"model: lora: .* set weights\.source to hub, path or package"):
        _with_lora(source="none")
    with pytest.raises(ConfigError, match=r"finetune\.batchnorm: .* set it to held"):
        _with_lora(batchnorm="adapt")


def test_a_task_reads_the_column_of_its_name_unless_told_otherwise():
    tasks = {"verdict": {"type": "classification"}, "kind": {"type": "classification", "column": "layout"}}
    assert [experiment(tasks=tasks).column(task) for task in tasks] == ["verdict", "layout"]


def sections(value):
    """Yield every section of an experiment, itself first."""
    if isinstance(value, Section):
        yield value
        for name in type(value).model_fields:
            yield from sections(getattr(value, name))
    elif isinstance(value, dict | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from sections(inner)


def test_no_section_can_be_changed_after_it_was_read():
    found = list(sections(experiment()))
    assert len(found) > 15
    for section in found:
        name = next(iter(type(section).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


def test_the_storage_root_is_that_of_the_machine_unless_written_down(monkeypatch):
    monkeypatch.setenv("THAW_STORAGE", "s3://bucket/here")
    assert experiment().storage.root == "s3://bucket/here"
    assert experiment(storage={"root": "mine"}).storage.root == "mine"
    monkeypatch.delenv("THAW_STORAGE")
    assert experiment().storage.root == "store"


def test_there_are_shipped_experiments():
    assert {"boards.yaml", "grocery.yaml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_experiment_loads_and_survives_a_dump(path, monkeypatch, tmp_path):
    monkeypatch.setenv("THAW_DATA", str(tmp_path))
    loaded = config.load(path)
    (tmp_path / "copy.yaml").write_text(config.dump(loaded), encoding="utf-8")
    assert config.load(tmp_path / "copy.yaml") == loaded


@pytest.fixture(scope="module")
def schema():
    jsonschema = pytest.importorskip("jsonschema")
    made = config.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_schema_accepts_every_shipped_experiment_as_it_is_written(path, schema):
    schema.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_schema_accepts_an_experiment_with_all_defaults_written_out(schema):
    schema.validate(experiment().model_dump(mode="json"))


@pytest.mark.parametrize(("place", "allowed", "refused"), BOUNDS)
def test_the_schema_knows_the_bound_of_every_value(place, allowed, refused, schema):
    assert schema.is_valid(at(place, allowed))
    assert not schema.is_valid(at(place, refused))


@pytest.mark.parametrize("place", ["tain", "data.imgae", "data.source.imags", "tasks.verdict.wight"])
def test_the_schema_refuses_unknown_keys(place, schema):
    assert not schema.is_valid(at(place, 1))


@pytest.mark.parametrize("folder", ["data.sources", "tasks"])
def test_the_schema_names_every_task_and_source_and_no_other(folder, schema):
    text = json.dumps(config.schema())
    for name in catalog.names(folder):
        assert f'"const": "{name}"' in text
    values = at("tasks.verdict.type" if folder == "tasks" else "data.source.type", "unheard_of")
    assert not schema.is_valid(values)


def test_the_schema_says_what_every_field_is_for():
    described = config.schema()["$defs"]["Rates"]["properties"]
    assert all(field.get("description") for field in described.values())
