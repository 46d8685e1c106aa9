"""Weightings: learnt weights go where their papers say, count for the backward pass, and survive a restart."""

import pytest
import torch
from tiny_run import Run, experiment
from torch import nn

from thaw.config.experiment import Weighting as Options
from thaw.training import checkpoint
from thaw.training.weighting import Weighting


class Own:
    """A task, as far as its weight goes."""

    def __init__(self, weight=1.0):
        self.options = self
        self.weight = weight


def weighting(by, weights=(1.0, 1.0), **options):
    tasks = {str(place): Own(weight) for place, weight in enumerate(weights)}
    return Weighting(tasks, Options(by=by, **options), torch.device("cpu"))


ALL = torch.tensor([4, 4])


@pytest.mark.parametrize("by", ["fixed", "uncertainty", "gradnorm"])
def test_the_tasks_own_weights_are_where_all_begin(by):
    assert weighting(by, (2.0, 0.5)).weights.tolist() == [2.0, 0.5]


def test_uncertainty_settles_where_each_weight_is_half_the_inverse_of_its_loss():
    one = weighting("uncertainty", rate=0.05)
    for _ in range(2000):
        one.learn(torch.tensor([4.0, 0.25]), ALL)
    assert one.weights.tolist() == pytest.approx([1 / 8, 2.0], rel=1e-3)  # where exp(-s) L = 1 / 2


@pytest.mark.parametrize("by", ["fixed", "uncertainty", "gradnorm"])
def test_a_task_without_labels_keeps_its_weight(by):
    one, shared = weighting(by), nn.Parameter(torch.ones(3, 3))
    for _ in range(5):
        loss = torch.stack([(shared * 3).sum(), shared.sum() * 0])
        one.compare(loss, torch.tensor([4, 0]), [shared])
        one.learn(loss.detach(), torch.tensor([4, 0]))
    assert one.weights[1] == 1.0


def test_gradnorm_holds_back_the_task_whose_gradient_is_larger():
    one, shared = weighting("gradnorm", rate=0.02, alpha=0.0), nn.Parameter(torch.ones(3, 3))
    for _ in range(300):
        one.compare(torch.stack([(shared * 9).sum(), shared.sum()]), ALL, [shared])
    assert float(one.weights.sum()) == pytest.approx(2, abs=1e-4)
    assert float(one.weights[0] * 9) == pytest.approx(float(one.weights[1]), rel=0.35)


def test_gradnorm_pushes_the_task_that_lags_behind():
    one, shared = weighting("gradnorm", alpha=3.0), nn.Parameter(torch.ones(3, 3))
    for step in range(60):
        fast = shared.sum() - step * 0.1  # the same gradient, a loss that falls
        one.compare(torch.stack([fast, shared.sum()]), ALL, [shared])
    assert one.weights[1] > 1.2 > 0.8 > one.weights[0]


def test_gradnorm_looks_at_the_first_weight_that_all_tasks_depend_on():
    one = weighting("gradnorm", rate=0.1, alpha=0.0)
    shared, mine = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    one.compare(torch.stack([(shared * mine * 5).sum(), shared.sum()]), ALL, [mine, shared])
    assert one.weights[0] < 1 < one.weights[1]
    alone = weighting("gradnorm", rate=0.1)
    alone.compare(torch.stack([mine.sum(), shared.sum()]), ALL, [mine, shared])
    assert alone.weights.tolist() == [1, 1]


@pytest.mark.parametrize("by", ["uncertainty", "gradnorm"])
def test_a_run_learns_its_weights_and_a_restart_continues_them(tmp_path, by):
    chosen = experiment(weighting={"by": by, "rate": 0.1})
    whole = Run.new(chosen)
    for progress in whole.fit():
        if progress.epoch.epoch == 3:
            checkpoint.save(tmp_path, whole.trained, whole.state)
    again = Run.new(chosen)
    again.state = checkpoint.load(tmp_path, again.trained, again.plan, chosen.finetune)
    list(again.fit())
    assert torch.equal(again.state.weighting.weights, whole.state.weighting.weights)
    assert not torch.allclose(whole.state.weighting.weights, torch.tensor([1.0, 0.5]))
    for one, other in zip(whole.trained.model.parameters(), again.trained.model.parameters(), strict=True):
        assert torch.equal(one, other)
