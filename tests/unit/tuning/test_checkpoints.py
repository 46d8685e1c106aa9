"""Checkpoints of trials: the last and the best are kept, what is half there counts for nothing."""

import json
from pathlib import Path

import pytest

from thaw.errors import StorageError
from thaw.storage import Root
from thaw.training.state import Epoch
from thaw.tuning import checkpoints
from thaw.tuning.trial import Report

PLACE = "sweeps/tiny/trials/0003"


def epochs(*scores: float) -> list[Epoch]:
    figures = {"train_loss": {}, "val_loss": {}, "metrics": {}, "seconds": 1.0, "images_per_s": 1.0, "waiting": 0.0}
    return [
        Epoch(epoch=place, phase=0, depth=0, step=5 * place, score=score, **figures)
        for place, score in enumerate(scores, start=1)
    ]


def reports(*scores: float) -> list[Report]:
    return [
        Report(epoch=place, images=40 * place, depth=0, score=score, metrics={}, at_s=float(place))
        for place, score in enumerate(scores, start=1)
    ]


def keep(root: Root, folder: Path, history: list[Epoch]) -> None:
    """Keep a checkpoint of the last epoch, as a trial does."""
    folder.mkdir(exist_ok=True)
    for name in ("bundle.json", "model.safetensors", "optimizer.pt"):
        (folder / name).write_text(f"{name} of epoch {history[-1].epoch}")
    content = {"step": history[-1].step, "history": [epoch.model_dump() for epoch in history]}
    (folder / "state.json").write_text(json.dumps(content))
    checkpoints.keep(root, PLACE, folder, history)


def kept(root: Root) -> list[str]:
    return root.list(f"{PLACE}/checkpoints")


def test_the_last_and_the_best_are_kept_and_the_first_of_equal_ones(root: Root, tmp_path: Path) -> None:
    history = epochs(0.1, 0.5, 0.5, 0.2)
    for place in range(1, 5):
        keep(root, tmp_path / "made", history[:place])
    assert kept(root) == ["epoch_0002", "epoch_0004"]
    assert checkpoints.best(root, PLACE, reports(0.1, 0.5, 0.5, 0.2)) == 2
    with checkpoints.last(root, PLACE) as folder:
        assert folder is not None
        assert (folder / "optimizer.pt").read_text() == "optimizer.pt of epoch 4"
        assert checkpoints.history(folder) == history


def test_a_checkpoint_whose_upload_was_cut_off_counts_for_nothing(root: Root, tmp_path: Path) -> None:
    keep(root, tmp_path / "made", epochs(0.3))
    root.write_bytes(f"{PLACE}/checkpoints/epoch_0002/model.safetensors", b"half of it")
    with checkpoints.last(root, PLACE) as folder:
        assert folder is not None
        assert len(checkpoints.history(folder)) == 1
    assert checkpoints.best(root, PLACE, reports(0.3, 0.9)) == 1


def test_of_equal_ones_that_is_best_which_is_there(root: Root, tmp_path: Path) -> None:
    keep(root, tmp_path / "made", epochs(0.3, 0.3))
    root.remove(f"{PLACE}/checkpoints/epoch_0001")
    assert checkpoints.best(root, PLACE, reports(0.3, 0.3)) == 2


def test_without_any_there_is_nothing_to_go_on_from(root: Root) -> None:
    with checkpoints.last(root, PLACE) as folder:
        assert folder is None
    with pytest.raises(StorageError, match="its checkpoints are gone; train its experiment anew with --refit"):
        checkpoints.best(root, PLACE, reports(0.3))


def test_a_trial_that_is_over_keeps_no_state_of_its_optimizer(root: Root, tmp_path: Path) -> None:
    keep(root, tmp_path / "made", epochs(0.3, 0.2))
    root.write_bytes(f"{PLACE}/checkpoints/.validate_storage_marker", b"")  # as Ray Train leaves
    checkpoints.strip(root, PLACE)
    assert not root.exists(f"{PLACE}/checkpoints/epoch_0002/optimizer.pt")
    assert root.exists(f"{PLACE}/checkpoints/epoch_0002/model.safetensors")
