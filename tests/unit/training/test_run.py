"""What a run is made of is checked before workers start, and what its user is to know is told there, once."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torchvision.models import detection as theirs

from thaw import bundle, cli
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.data import dataset
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import Annotation, LabelSchema
from thaw.registry import record as records
from thaw.registry import store
from thaw.storage import open_root
from thaw.training import run
from thaw.training.run import Trained
from thaw.training.state import Epoch

LABELS = {
    "kind": LabelSchema(kind="class", names=("bad", "good")),
    "things": LabelSchema(kind="boxes", names=("bolt", "nut")),
}


@pytest.fixture(scope="module")
def given() -> dict[str, Tensor]:
    """Random weights of one of torchvision's detectors."""
    torch.manual_seed(1)
    return theirs.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()


@pytest.fixture(scope="module")
def coco(given: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with them in a file of each kind."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(given, folder / "coco.pth")
    safetensors.torch.save_file(given, folder / "coco.safetensors")
    return folder


@pytest.fixture(scope="module")
def fresh() -> dict[str, Tensor]:
    """Weights of a model that starts from none."""
    return _created(_experiment({"source": "none"})).model.state_dict()


def _experiment(weights: dict[str, str], pyramid: int = 256, tasks: tuple[str, ...] = ("kind", "things")) -> Experiment:
    known = {
        "kind": {"type": "classification"},
        "things": {
            "type": "detection",
            "detector": "faster_rcnn",
            "anchors": {"sizes": [8, 16, 24, 32], "ratios": [0.5, 1, 2]},
        },
    }
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 64}},
        "tasks": {name: known[name] for name in tasks},
        "model": {"backbone": "resnet50", "weights": weights, "pyramid": pyramid},
    }
    return config.parse(values, "test")


def _created(chosen: Experiment) -> Bundle:
    return bundle.create(chosen, {name: LABELS[name] for name in chosen.tasks})


def _prepared(tasks: tuple[str, ...] = ("kind", "things")) -> Dataset:
    splits = ("train", "val", "test")
    report = Report(
        listed=96,
        rejected={},
        classes={split: {task: {} for task in tasks} for split in splits},
        labelled={split: dict.fromkeys(tasks, 32) for split in splits},
        warnings=(),
    )
    shards = {split: (Shard(file=f"{split}-0.parquet", rows=32),) for split in splits}
    labels = {task: LABELS[task] for task in tasks}
    return Dataset(name="tiny", fingerprint="f" * 12, labels=labels, splits=shards, report=report)


def _of_coco(folder: Path, file: str = "coco.pth") -> dict[str, str]:
    return {"source": "path", "path": str(folder / file)}


@pytest.mark.parametrize("file", ["coco.safetensors", "coco.pth"])
def test_backbone_pyramid_and_head_start_from_a_detectors_weights(
    file: str, coco: Path, given: dict[str, Tensor], fresh: dict[str, Tensor]
) -> None:
    made = _created(_experiment(_of_coco(coco, file)))
    state = made.model.state_dict()
    for own, other in {
        "backbone.body.layer4.2.conv3.weight": "backbone.body.layer4.2.conv3.weight",
        "backbone.body.layer1.0.bn1.running_var": "backbone.body.layer1.0.bn1.running_var",
        "pyramid.fpn.layer_blocks.3.0.weight": "backbone.fpn.layer_blocks.3.0.weight",
        "heads.things.rpn.head.conv.0.0.weight": "rpn.head.conv.0.0.weight",
        "heads.things.roi_heads.box_head.fc7.weight": "roi_heads.box_head.fc7.weight",
    }.items():
        assert torch.equal(state[own], given[other])
    alike = {name for name, value in fresh.items() if torch.equal(value, state[name])}
    assert {name for name in fresh if "box_predictor" in name or name.startswith("heads.kind")} <= alike
    said = made.description.origin
    assert said["source"] == "path"
    assert len(said["detector_sha256"]) == len(said["sha256"]) == 64
    assert "its backbone, 16 tensors of pyramid, 10 tensors of heads.things" in said["detector"]
    assert "shape" not in said["detector"]
    assert "no place" not in said["detector"]


def test_what_is_taken_over_is_told_once_by_the_driver(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = _experiment(_of_coco(coco), pyramid=64)
    run.check(open_root(str(tmp_path)), chosen, _prepared())
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(
        "model.weights: weights of a detector; taken over: its backbone, 5 tensors of heads.things; "
    )
    assert "21 tensors have another shape here, such as backbone.fpn." in told
    _created(chosen)  # as every worker does
    assert capsys.readouterr().err == ""


def test_a_model_that_detects_nothing_takes_the_backbone_alone(coco: Path) -> None:
    made = _created(_experiment(_of_coco(coco), tasks=("kind",)))
    assert made.description.origin["detector"].startswith("weights of a detector; taken over: its backbone;")


def test_of_other_weights_nothing_more_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = _experiment({"source": "none"}, tasks=("kind",))
    run.check(open_root(str(tmp_path)), chosen, _prepared(("kind",)))
    assert capsys.readouterr().err == ""
    assert set(_created(chosen).description.origin) == {"source", "sha256"}


def test_images_are_drawn_by_the_classes_of_the_stratified_task(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    kinds: list[Annotation] = [0] * 25 + [1] * 5 + [None] * 2
    labels = {"other": LabelSchema(kind="class", names=("a", "b")), "kind": LABELS["kind"]}
    carried: dict[str, list[Annotation]] = {"other": [0, 1] * 16, "kind": kinds}
    rows = dataset.table([str(row) for row in range(32)], [b""] * 32, [(1, 1)] * 32, carried, labels)
    prepared = _prepared(("kind",)).model_copy(update={"labels": labels})
    dataset.write_shard(root, f"{prepared.path}/train-0.parquet", rows)
    values = _experiment({"source": "none"}, tasks=("kind",)).model_dump(mode="json")
    values["tasks"] = {"other": values["tasks"]["kind"], "kind": values["tasks"]["kind"]}
    values["data"]["split"]["stratify"] = "kind"
    found = {}
    for sampling in ("uniform", "classes", "tasks"):
        values["train"]["sampling"] = sampling
        found[sampling] = run.chances(root, config.parse(values, "test"), prepared)
    assert found["uniform"] is None
    assert found["classes"] == pytest.approx([15 / 32 / 25] * 25 + [15 / 32 / 5] * 5 + [1 / 32] * 2)
    assert found["tasks"] == pytest.approx([(1 / 30 + 1 / 32) / 2] * 30 + [1 / 64] * 2)


def test_a_run_that_is_complete_stays_so_whatever_ends_its_driver(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    begun = run.begin(_experiment({"source": "none"}), _prepared())
    records.save(root, begun)
    run.stop(root, begun)
    assert records.load(root, begun.id).stage == "failed"
    done = begun.model_copy(update={"stage": "trained", "bundle": "models/tiny/1"})
    records.save(root, done)
    run.stop(root, begun)
    assert records.load(root, begun.id) == done


def test_a_run_begins_under_a_name_known_beforehand() -> None:
    begun = run.begin(_experiment({"source": "none"}), _prepared(), "nightly")
    assert begun.id == "nightly"


def test_a_command_that_names_its_run_can_be_repeated_after_it_has_succeeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, chosen = open_root(str(tmp_path / "store")), _experiment({"source": "none"}, tasks=("kind",))
    begun = run.begin(chosen, _prepared(("kind",)), "nightly")
    records.save(root, begun.model_copy(update={"stage": "trained", "bundle": "models/tiny/1"}))
    path = tmp_path / "tiny.yaml"
    path.write_text(config.dump(chosen))
    assert cli.run(["train", str(path), "--run", "nightly", "--storage", root.uri]) == 0
    assert "run nightly is complete: models/tiny/1" in capsys.readouterr().err
    assert cli.run(["train", str(path), "train.batch=3", "--run", "nightly", "--storage", root.uri]) == 2
    assert "run nightly can be continued only as it was begun" in capsys.readouterr().err
    assert cli.run(["train", str(path), "--run", "not a name", "--storage", root.uri]) == 2
    assert "not an id" in capsys.readouterr().err


def test_an_attempt_that_registered_its_model_is_completed_by_the_next_one(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    begun = run.begin(_experiment({"source": "none"}), _prepared())
    made = tmp_path / "best"
    made.mkdir()
    _created(_experiment({"source": "none"})).save(made)
    values = {"epoch": 1, "phase": 0, "depth": 0, "step": 1, "train_loss": {}, "val_loss": {}, "metrics": {}}
    history = [Epoch(**values, score=0.0, seconds=1.0, images_per_s=1.0, waiting=0.0)]
    trained = Trained(history=history, weights={}, environment={})
    first, second = (run.finish(root, begun, trained, made, 1, 1.0) for _ in range(2))
    assert first.bundle == second.bundle
    assert store.versions(root, str(begun.experiment["name"])) == [1]
