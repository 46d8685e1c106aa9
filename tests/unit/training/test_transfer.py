"""Transfer: each task is trained alone on the same images, and those that lose by sharing are named."""

import pytest
from tiny_run import experiment

from thaw.config import load as config
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import LabelSchema
from thaw.errors import ConfigError
from thaw.storage import open_root
from thaw.training import monitor, transfer
from thaw.training.transfer import Transfer

LABELS = {
    "colour": LabelSchema(kind="class", names=("blue", "green", "red")),
    "tags": LabelSchema(kind="classes", names=("bright", "warm")),
}


def prepared():
    counts = {split: {"colour": {"red": 3}, "tags": {"warm": 2}} for split in ("train", "val", "test")}
    labelled = {split: {"colour": 3, "tags": 2} for split in ("train", "val", "test")}
    report = Report(listed=9, rejected={}, classes=counts, labelled=labelled, warnings=())
    shards = {split: (Shard(file=f"{split}-0.parquet", rows=3),) for split in ("train", "val", "test")}
    return Dataset(name="tiny", fingerprint="f" * 12, labels=LABELS, splits=shards, report=report)


def test_alone_is_the_same_plan_on_the_same_images_with_one_head():
    chosen, given = experiment(), prepared()
    single, own = transfer.alone(chosen, given, "tags")
    assert list(single.tasks) == list(own.labels) == ["tags"]
    assert single.tasks["tags"] == chosen.tasks["tags"]
    assert (single.finetune, single.train, single.seed) == (chosen.finetune, chosen.train, chosen.seed)
    assert single.name != chosen.name
    assert (own.path, own.splits) == (given.path, given.splits)
    assert own.report.labelled["train"] == {"tags": 2}


@pytest.mark.parametrize(
    ("sampling", "task", "alone"),
    [("classes", "colour", "classes"), ("classes", "tags", "uniform"), ("tasks", "tags", "tasks")],
)
def test_alone_images_are_drawn_by_class_only_where_the_task_has_one_an_image(sampling, task, alone):
    chosen = experiment()
    chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update={"sampling": sampling})})
    single, _ = transfer.alone(chosen, prepared(), task)
    assert single.train.sampling == alone
    assert config.parse(single.model_dump(mode="json"), "test") == single


def test_what_cannot_be_compared_is_refused():
    transfer.check(experiment())
    single, _ = transfer.alone(experiment(), prepared(), "tags")
    with pytest.raises(ConfigError, match="two tasks or more"):
        transfer.check(single)
    values = experiment(early_stopping={"patience": None}).model_dump(mode="json")
    values["train"]["learn_from"] = "train+val"
    with pytest.raises(ConfigError, match="validation images, which train.learn_from takes"):
        transfer.check(config.parse(values, "test"))


def test_a_task_that_is_worse_in_company_is_named_and_no_other():
    worse = Transfer(task="a", metric="accuracy", together=0.90, alone=0.93, seconds_alone=10)
    chance = Transfer(task="b", metric="miou", together=0.795, alone=0.80, seconds_alone=20)
    better = Transfer(task="c", metric="map50", together=0.6, alone=0.5, seconds_alone=30)
    assert [one.loses for one in (worse, chance, better)] == [True, False, False]
    told = "\n".join(transfer.lines([worse, chance, better], 25))
    assert told.count("loses") == 1
    assert "-0.030  loses by sharing" in told
    assert "together 25 s, one after another 60 s" in told


def test_each_task_is_compared_at_its_own_best_epoch(tmp_path):
    root = open_root(str(tmp_path))
    root.write_bytes("runs/r/metrics.csv", b"epoch,val/a/miou,val/b/miou\n1,0.5,\n2,0.9,0.2\n3,0.7,0.1\n")
    assert [monitor.best(root, "r", task, "miou") for task in ("a", "b", "c")] == [0.9, 0.2, 0.0]
