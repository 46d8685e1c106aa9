"""Training from what is kept equals training from pixels; it is refused with its reason; nothing is computed twice."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_run import IMAGES, InMemory, KeptRun, experiment

from thaw.training import checkpoint

ALWAYS = {"use": "always"}
ALL_TASKS = ("colour", "place", "paint")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def history(run: KeptRun) -> list[dict[str, Any]]:
    return [told(progress.epoch) for progress in run.fit()]


def told(epoch: Any) -> dict[str, Any]:
    return {"train": epoch.train_loss, "val": epoch.val_loss, "metrics": epoch.metrics, "phase": epoch.phase}


def weights(run: KeptRun) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in run.trained.model.parameters()])


@pytest.mark.parametrize(
    "tasks", [("colour",), pytest.param(ALL_TASKS, marks=pytest.mark.slow)], ids=["pooled", "maps"]
)
def test_a_training_from_what_is_kept_equals_one_from_pixels(tasks: tuple[str, ...]) -> None:
    kept = KeptRun(experiment(tasks, cache=ALWAYS), InMemory())
    plain = KeptRun(experiment(tasks, cache={"use": "never"}), None)
    for one, other in zip(history(kept), history(plain), strict=True):
        for kind in ("train", "val"):
            assert one[kind] == pytest.approx(other[kind], abs=1e-4)
        assert set(one["metrics"]) == set(other["metrics"])
    assert torch.allclose(weights(kept), weights(plain), atol=1e-4)
    assert kept.decoded == {"train": IMAGES["train"] * (2 + 1), "val": IMAGES["val"] * 2}
    assert plain.decoded == {"train": 16 * 4, "val": IMAGES["val"] * 4}


def test_batches_from_what_is_kept_are_bitwise_those_of_pixels() -> None:
    kept = KeptRun(experiment(ALL_TASKS, cache=ALWAYS), InMemory())
    plain = KeptRun(experiment(ALL_TASKS, cache={"use": "never"}), None)
    for run in (kept, plain):
        run.trained.model.open_groups(0)
        run.trained.model.train()
    for one, other in zip(kept.images.batches(0, 6), plain.images.batches(0, 6), strict=True):
        targets = {name for name in other if name != "pixels"}
        assert {name for name in one if not name.startswith("cut.")} == targets
        for name in targets:
            assert one[name].dtype == other[name].dtype
            assert (one[name] == other[name]).all()
        with torch.no_grad():
            expected = kept.trained.model.cut(torch.as_tensor(other["pixels"]))
        assert set(expected) == {name.removeprefix("cut.") for name in one if name.startswith("cut.")}
        for name, tensor in expected.items():
            found = torch.as_tensor(one[f"cut.{name}"])
            assert found.stride() == tensor.stride()
            assert torch.allclose(found, tensor, atol=1e-6)


def test_a_view_is_computed_when_the_first_epoch_that_shows_it_begins() -> None:
    run = KeptRun(experiment(cache=ALWAYS), InMemory())
    of_epochs = [(progress.epoch.phase, run.decoded["train"]) for progress in run.fit()]
    views = IMAGES["train"]
    assert of_epochs == [(0, views), (0, 2 * views), (0, 2 * views), (1, 3 * views)]
    assert len([line for line in run.lines if "phase 1" in line]) == 1


def test_what_was_computed_in_bf16_is_kept_in_bf16() -> None:
    run = KeptRun(experiment(ALL_TASKS, cache=ALWAYS), InMemory(), autocast=torch.bfloat16)
    run.trained.model.open_groups(2)
    run.trained.model.train()
    last = run.plan.spans[-1]
    batch = next(run.images.batches(last.start, last.stop))
    assert {torch.as_tensor(value).dtype for name, value in batch.items() if name.startswith("cut.")} == {
        torch.bfloat16
    }


def test_a_run_resumed_amid_a_phase_goes_on_from_what_is_kept_and_without_it(tmp_path: Path) -> None:
    chosen, store = experiment(cache=ALWAYS), InMemory()
    whole = KeptRun(chosen, store)
    for progress in whole.fit():
        if progress.epoch.epoch == 2:
            checkpoint.save(tmp_path, whole.trained, whole.state)
    for kept, decoded in ((store, 0), (InMemory(), IMAGES["train"])):
        run = KeptRun(chosen, kept)
        run.state = checkpoint.load(tmp_path, run.trained, run.plan, chosen.finetune)
        rest = run.fit()
        next(rest)
        assert run.decoded["train"] == decoded  # of the one view that the epoch left needs
        assert run.decoded["val"] == (IMAGES["val"] if decoded else 0)
        assert [one.epoch.phase for one in rest] == [1]
        assert torch.equal(weights(run), weights(whole))


def line_of(run: KeptRun) -> str:
    """Return what is told of the first phase."""
    run.trained.model.open_groups(run.plan.depth_at(0))
    run.trained.model.train()
    next(run.images.batches(0, run.plan.spans[0].stop))
    [told] = run.lines
    return told


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"phases": [{"epochs": 2}]},
            r"phase 1 \(depth 0\): every epoch augments images anew; finetune.phases\[0\].views",
        ),
        ({"phases": [{"epochs": 2, "depth": "all", "views": 1}]}, r"phase 1 \(depth 5\): every layer group is open"),
        ({"phases": [{"epochs": 2, "views": 2}]}, "each of the 2 epoch.s. left has a view of its own"),
        ({"cache": {"max_bytes": 1000}}, r"of 1 KB: too much; raise train.cache.max_bytes or lower the phase's views"),
    ],
)
def test_it_is_not_used_and_says_why(changes: Any, reason: str) -> None:
    chosen = experiment(**changes)
    store = InMemory(chosen.train.cache.max_bytes or 10**9)
    told = line_of(KeptRun(chosen, store))
    assert told.startswith("cache: not used in phase 1")
    assert re.search(reason, told), told
    assert not store.shelf.nbytes


def test_measuring_leaves_the_model_as_it_was() -> None:
    run = KeptRun(experiment(cache=ALWAYS, phases=[{"epochs": 2, "depth": 2, "views": 1}]), InMemory())
    run.trained.model.batchnorm = "adapt"
    run.trained.model.open_groups(2)
    run.trained.model.train()
    before = {name: value.clone() for name, value in run.trained.model.state_dict().items()}
    next(run.images.batches(0, 4))
    assert all(torch.equal(value, before[name]) for name, value in run.trained.model.state_dict().items())
    assert all(weight.grad is None for weight in run.trained.model.parameters())


@pytest.mark.slow
def test_two_workers_share_the_work_and_learn_as_one_does(tmp_path: Path) -> None:
    here = Path(__file__).parent
    subprocess.run([sys.executable, str(here / "two_keepers.py"), str(tmp_path)], check=True, timeout=300)
    found = [json.loads((tmp_path / f"{worker}.json").read_text()) for worker in range(2)]
    one = KeptRun(experiment(ALL_TASKS, cache=ALWAYS), InMemory())
    alone = history(one)
    for both in found:
        for told_by_two, told_by_one in zip(both["history"], alone, strict=True):
            for kind in ("train", "val"):
                assert told_by_two[kind] == pytest.approx(told_by_one[kind], abs=1e-3)
    for split in ("train", "val"):
        assert sum(both["decoded"][split] for both in found) == one.decoded[split]
        assert all(both["decoded"][split] for both in found)
