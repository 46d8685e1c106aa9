"""A run is continued as it was begun: what would change its result is refused by name, all else is taken as asked."""

from pathlib import Path
from typing import Any

import pytest

from thaw import cli
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError
from thaw.registry import record
from thaw.registry.record import RunRecord
from thaw.storage import open_root
from thaw.training import resume, run

RUN = "tiny-20260101-000000-abcd"
ANCHORS = {"sizes": [8, 16, 32, 64], "ratios": [0.5, 1, 2]}
YAML = """
name: tiny
data: {source: {type: boards, images: 72}, image: {size: 64}}
tasks: {verdict: {type: classification}, parts: {type: detection, detector: faster_rcnn}}
model: {backbone: test_resnet, weights: {source: none}, pyramid: 16}
train: {batch: 8}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The experiment as a user wrote it."""
    path = tmp_path / "experiment.yaml"
    path.write_text(YAML)
    return path


def _begun(path: Path) -> Experiment:
    """Return the experiment as a run resolved it: with a device and anchors."""
    values = load.load(path).model_dump(mode="json")
    values["train"]["device"] = "cpu"
    values["tasks"]["parts"]["anchors"] = ANCHORS
    return load.parse(values, "test")


def test_the_same_experiment_continues_as_the_run_was_resolved(path: Path) -> None:
    begun = _begun(path)
    assert resume.continued(begun, load.load(path), RUN) == begun


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.batch=16", "train.batch: 8 when begun, 16 now"),
        ("train.workers=2", "train.workers: 1 when begun, 2 now"),
        ("train.device=gpu", "train.device: 'cpu' when begun, 'gpu' now"),
        ("finetune.phases[1].depth=2", "finetune.phases[1].depth: 'all' when begun, 2 now"),
        ("finetune.optimizer.clip_norm=null", "finetune.optimizer.clip_norm: 5.0 when begun, None now"),
        ("finetune.ema={decay: 0.9}", "finetune.ema: None when begun, {'decay': 0.9, 'warmup': True} now"),
        (
            "tasks.parts.anchors={sizes: [9, 16, 32, 64], ratios: [0.5, 1, 2]}",
            "tasks.parts.anchors.sizes[0]: 8.0 when begun, 9.0 now",
        ),
        ("tasks.layout={type: classification}", "tasks.layout: not there when begun, {"),
        ("seed=1", "seed: 0 when begun, 1 now"),
    ],
)
def test_what_changes_the_result_is_refused_with_both_values(path: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resume.continued(_begun(path), load.load(path, [override]), RUN)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"run {RUN} can be continued only as it was begun")
    assert str(caught.value).count("\n") == 1


def test_all_changes_are_named_at_once(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resume.continued(_begun(path), load.load(path, ["seed=1", "train.batch=16", "train.prefetch=2"]), RUN)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["seed", "train.batch"]


@pytest.mark.parametrize("place", resume.MAY_CHANGE)
def test_what_the_result_does_not_depend_on_is_taken_as_asked(path: Path, place: str) -> None:
    others: dict[str, Any] = {
        "cluster": "cluster.wait_s=60",
        "data.allow": "data.allow=[copies_across_splits]",
        "evaluate": "evaluate.batch=7",
        "serve": "serve.port=9000",
        "storage": "storage.root=elsewhere",
        "train.checkpoint_steps": "train.checkpoint_steps=10",
        "train.cpus_per_worker": "train.cpus_per_worker=2",
        "train.decode": "train.decode.cpus=0.5",
        "train.max_failures": "train.max_failures=9",
        "train.prefetch": "train.prefetch=2",
    }
    begun, asked = _begun(path), load.load(path, [others[place]])
    found = resume.continued(begun, asked, RUN)
    section, _, key = place.partition(".")
    one, other = getattr(found, section), getattr(asked, section)
    assert (getattr(one, key) == getattr(other, key)) if key else one == other
    assert found != begun


def _recorded(path: Path, root_uri: str) -> None:
    """Store an interrupted run."""
    begun = RunRecord(
        id=RUN,
        stage="failed",
        created="2026-01-01T00:00:00+00:00",
        git_commit=None,
        thaw_version="0",
        experiment=_begun(path).model_dump(mode="json"),
        dataset="datasets/tiny",
        dataset_fingerprint="f" * 12,
        label_fingerprints={},
        weights={},
        environment={},
        metrics={},
        epochs_run=0,
        wall_s=0.0,
        bundle=None,
    )
    record.save(open_root(root_uri), begun)


def test_a_stored_run_is_continued_in_the_root_where_it_was_found(path: Path, tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "store"))
    _recorded(path, root.uri)
    asked = load.load(path, ["train.max_failures=9"])
    for found in (run.resumed(root, RUN), run.resumed(root, RUN, asked)):
        assert found.storage.root == root.uri
        assert found.tasks["parts"].anchors is not None
    assert found.train.max_failures == 9


def test_the_command_line_refuses_a_changed_experiment(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    _recorded(path, store)
    assert cli.run(["train", str(path), "train.batch=16", "--resume", RUN, "--storage", store]) == 2
    told = capsys.readouterr().err
    assert "train.batch: 8 when begun, 16 now" in told
    assert "seed" not in told
