"""A sweep finds the rate of a problem whose best rate is known, ends when the loss runs away, and leaves no trace."""

import pytest
import torch
from parabola import batches, learner, steepest_rate, told
from tiny_run import Run, experiment
from torch import Tensor

from thaw.errors import ConfigError
from thaw.model import HEADS
from thaw.training.lr_find.curve import Curve
from thaw.training.lr_find.sweep import DIVERGED, Learner, Swept, restored, sweep, train

HEAD = Swept(0, {HEADS: 1.0})
TINY = Swept(2, {"layer4.0": 1.0, "layer3.0": 0.5}, {HEADS: 0.02})


def rising(highest: float, steps: int = 40, decades: float = 4) -> list[float]:
    return [highest * 10 ** (-decades * (1 - step / (steps - 1))) for step in range(steps)]


def curve(std: float, seed: int) -> Curve:
    rates = rising(100 * steepest_rate(std))
    found: Curve = told(sweep(learner(std, seed), HEAD, rates, batches(), "heads"))[1]
    return found


@pytest.mark.parametrize(("std", "seed"), [*((1.0, seed) for seed in range(6)), (0.1, 0), (0.01, 0)])
def test_the_suggestion_follows_the_steepness_of_the_loss(std: float, seed: int) -> None:
    assert steepest_rate(std) / 10 < curve(std, seed).suggestion < steepest_rate(std) / 3


def test_a_sweep_ends_soon_after_the_loss_runs_away() -> None:
    found = curve(1.0, 0)
    assert found.ended_early
    assert steepest_rate(1.0) < found.rates[-1] < 10 * steepest_rate(1.0)
    assert found.smoothed()[-1] > DIVERGED * found.level
    assert max(found.smoothed()[:-1]) <= DIVERGED * found.level
    assert len(found.resting) == 40


def test_a_sweep_ends_where_the_loss_is_no_number_any_more() -> None:
    rates = [1e-6, 1e-6, 1e30, 1e30, 1e30, 1e30]
    _, found = told(sweep(learner(), HEAD, rates, batches(), "heads"))
    assert 0 < len(found.rates) < len(rates)
    assert all(torch.isfinite(torch.tensor(list(one.values()))).all() for one in found.losses)


def test_a_loss_that_is_no_number_from_the_first_step_on_is_refused() -> None:
    broken = learner()
    with torch.no_grad():
        next(broken.model.heads.parameters()).fill_(float("nan"))
    with pytest.raises(ConfigError, match="not a finite number after step 1"):
        told(sweep(broken, HEAD, rising(1), batches(), "heads"))


def test_every_step_of_both_passes_is_told() -> None:
    steps, _ = told(sweep(learner(), HEAD, rising(1e-3, steps=4), batches(), "heads"))
    assert [(one.stage, one.done, one.of) for one in steps] == [
        (f"heads, {way}", done, 4) for way in ("at rest", "rate rising") for done in (1, 2, 3, 4)
    ]


def test_without_learning_both_passes_have_the_same_losses() -> None:
    _, found = told(sweep(learner(), HEAD, [0.0] * 5, batches(), "heads"))
    assert found.losses == found.resting


def test_held_groups_learn_in_both_passes() -> None:
    swept = Swept(1, {"scale": 1.0}, {HEADS: 0.1})
    _, found = told(sweep(learner(), swept, [0.0] * 20, batches(), "backbone"))
    assert found.losses[-1]["number"] < 0.5 * found.losses[0]["number"]
    assert found.losses == found.resting


def _tiny(run: Run) -> Learner:
    return Learner(run.trained.model, run.trained.tasks, run.experiment.finetune, run.on, seed=1)


def _everything(run: Run) -> tuple[list[Tensor], list[object]]:
    """Return all that a sweep could leave changed: tensors, and the rest."""
    model = run.trained.model
    tensors = [tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())]
    gradients = [weight.grad for weight in model.parameters()]
    learns = [weight.requires_grad for weight in model.parameters()]
    modes = [module.training for module in model.modules()]
    return [*tensors, torch.get_rng_state()], [model.depth, learns, modes, list(map(id, gradients))]


@pytest.mark.parametrize("end", ["whole", "abandoned", "diverged"])
@pytest.mark.parametrize("depth", [0, 3])
def test_a_sweep_leaves_the_model_as_it_was_bit_for_bit(end: str, depth: int) -> None:
    run = Run.new(experiment(dropout=0.3, batchnorm="adapt"))
    model = run.trained.model
    model.open_groups(depth)
    model.train()
    next(model.heads.children()).eval()  # a mode that no train() would set
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight) if weight.requires_grad else None
    torch.manual_seed(7)
    before = _everything(run)
    steps = sweep(_tiny(run), TINY, [1e-3] * 3 + [1e4 if end == "diverged" else 1e-2] * 3, run.batches, "backbone")
    if end == "abandoned":
        for _ in range(8):
            next(steps)
        steps.close()
    else:
        assert told(steps)[1].ended_early == (end == "diverged")
    after = _everything(run)
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]


def test_a_sweep_has_the_same_curve_each_time() -> None:
    run = Run.new(experiment(dropout=0.3, batchnorm="adapt"))
    curves = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        curves.append(told(sweep(_tiny(run), TINY, [1e-3] * 4, run.batches, "backbone"))[1])
    assert curves[0] == curves[1]


def test_training_in_between_stays_until_what_surrounds_it_is_restored() -> None:
    chosen = learner()
    before = chosen.model.state_dict()["heads.number.1.weight"].clone()
    with restored(chosen.model, chosen.on.device):
        steps = list(train(chosen, 0, [{HEADS: 0.1}] * 5, batches(), "heads"))
        assert not torch.equal(chosen.model.state_dict()["heads.number.1.weight"], before)
    assert steps[-1].loss < steps[0].loss
    assert torch.equal(chosen.model.state_dict()["heads.number.1.weight"], before)


def test_early_stopping_does_not_end_a_sweep() -> None:
    _, found = told(sweep(learner(), HEAD, [1e-6] * 12, batches(), "heads"))
    assert len(found.losses) == 12
