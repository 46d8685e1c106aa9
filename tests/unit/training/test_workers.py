"""Two workers that share a batch learn what one learns, and whatever would break that is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_workers
from tiny_run import PHASES, Run, dense_experiment, experiment, weights_in


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights that runs by a recipe begin with."""
    made = tmp_path_factory.mktemp("workers")
    weights_in(made / two_workers.BASE)
    return made


@pytest.fixture(scope="module")
def workers(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes came to; started once for all rules here."""
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, two_workers.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{worker}.json").read_text()) for worker in range(two_workers.WORKERS)]


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    """What one process comes to with the same global batches."""
    torch.set_num_threads(1)
    return two_workers.told(Run.new(experiment()))


def test_losses_and_metrics_of_two_workers_are_those_of_one(
    workers: list[dict[str, Any]], alone: list[dict[str, Any]]
) -> None:
    assert [epoch["phase"] for epoch in alone] == [0, 0, 1, 1, 2]
    for found in workers:
        for one, other in zip(found["right"], alone, strict=True):
            assert one["train"] == pytest.approx(other["train"], rel=0, abs=1e-5)
            assert one["val"] == pytest.approx(other["val"], rel=0, abs=1e-5)
            for task, values in other["metrics"].items():
                assert one["metrics"][task] == pytest.approx(values, abs=1e-6)


def test_heads_for_boxes_and_masks_learn_the_same_on_two_workers_as_on_one(workers: list[dict[str, Any]]) -> None:
    # In one of its two batches no image has a box, in the other none has a mask: nothing hangs, nothing is NaN.
    torch.set_num_threads(1)
    alone = two_workers.told(Run.new(dense_experiment(**two_workers.DENSE_FINETUNE)))
    for found in workers:
        for one, other in zip(found["dense"], alone, strict=True):
            assert set(one["train"]) == {"colour", "one", "two", "paint"}
            assert one["train"] == pytest.approx(other["train"], rel=0, abs=1e-3)
            assert one["val"] == pytest.approx(other["val"], rel=0, abs=1e-3)
    first, second = ([epoch["digest"] for epoch in found["dense"]] for found in workers)
    assert first == second
    assert len(set(first)) == len(first)


def test_heads_that_all_look_at_places_train_on_two_workers_too(workers: list[dict[str, Any]]) -> None:
    for found in workers:
        assert [epoch["phase"] for epoch in found["places alone"]] == [0, 1]
        assert set(found["places alone"][0]["train"]) == {"one", "two", "paint"}
    first, second = ([epoch["digest"] for epoch in found["places alone"]] for found in workers)
    assert first == second


def test_pieces_and_the_average_of_weights_are_the_same_on_two_workers_as_on_one(workers: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    alone = two_workers.told(Run.new(experiment(phases=PHASES[1:2], ema={"decay": 0.9})))
    for found in workers:
        for one, other in zip(found["in pieces"], alone, strict=True):
            assert one["train"] == pytest.approx(other["train"], rel=0, abs=1e-5)
            assert one["val"] == pytest.approx(other["val"], rel=0, abs=1e-5)
    for what in ("digest", "served"):
        first, second = ([epoch[what] for epoch in found["in pieces"]] for found in workers)
        assert first == second


@pytest.mark.parametrize("name", two_workers.RECIPES)
def test_every_recipe_learns_the_same_on_two_workers_as_on_one(
    name: str, workers: list[dict[str, Any]], folder: Path
) -> None:
    # adamw, which the recipes' rates are made for: no task here has the tiny gradients whose rounding it lets grow.
    torch.set_num_threads(1)
    alone = two_workers.told(two_workers.by_recipe(name, folder))
    assert [epoch["depth"] for epoch in alone] == two_workers.RECIPES[name]
    for found in workers:
        for one, other in zip(found["recipes"][name], alone, strict=True):
            assert one["train"] == pytest.approx(other["train"], rel=0, abs=1e-5)
            assert one["val"] == pytest.approx(other["val"], rel=0, abs=1e-5)
    first, second = ([epoch["digest"] for epoch in found["recipes"][name]] for found in workers)
    assert first == second
    assert len(set(first)) == len(first)


def test_workers_hold_the_same_weights_after_every_epoch(workers: list[dict[str, Any]]) -> None:
    first, second = ([epoch["digest"] for epoch in found["right"]] for found in workers)
    assert first == second
    assert len(set(first)) == len(first)


def test_weights_that_are_not_averaged_since_they_opened_end_the_run_in_that_phase(
    workers: list[dict[str, Any]],
) -> None:
    for found in workers:
        assert "drifted apart" in found["wrapped once"]["error"]
        assert set(found["wrapped once"]["phases"]) <= {0, 1}
        assert found["wrapped once"]["phases"][:2] == [0, 0]


def test_metrics_of_two_workers_are_those_of_one(workers: list[dict[str, Any]]) -> None:
    wanted = two_workers.metrics(0, 1)
    assert 0 < wanted["boxes"]["map50"] < 1
    assert 0 < wanted["masks"]["miou"] < 1
    for found in workers:
        for name in ("confusion", "pixels"):
            assert found["metrics"][name] == wanted[name]
        for name in ("kinds", "sets", "boxes", "masks"):
            assert found["metrics"][name] == pytest.approx(wanted[name], abs=1e-6)
