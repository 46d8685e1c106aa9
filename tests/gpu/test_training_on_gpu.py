"""Training on a GPU learns what training on a CPU learns, in every precision, compiled, and from its checkpoints."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_run import InMemory, KeptRun
from kept_run import experiment as kept_experiment
from tiny_run import RATES, Run, adapted, dense_experiment, experiment

from thaw.config.experiment import Experiment
from thaw.model import HEADS
from thaw.training import checkpoint, compilation, precision
from thaw.training.lr_find.sweep import Learner, Swept, sweep

TWO_PHASES = ({"epochs": 1, "depth": 0, "rates": RATES}, {"epochs": 1, "depth": 2, "rates": RATES})


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Compute in fp32 as a CPU does: TF32 keeps ten bits of what is multiplied."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def new(chosen: Experiment, device: str = "cuda", autocast: torch.dtype | None = None) -> Run:
    """Return a run; in fp16 its loss is scaled so little at first that no step is passed over."""
    run = Run.new(chosen, device=device, autocast=autocast)
    run.state.scaler = torch.amp.GradScaler(device, init_scale=64, enabled=autocast == torch.float16)
    return run


def losses(run: Run | KeptRun, **more: Any) -> list[float]:
    """Train, and return the losses of training and validation, epoch by epoch."""
    told = [progress.epoch for progress in run.fit(**more)]
    return [loss for epoch in told for each in (epoch.train_loss, epoch.val_loss) for loss in each.values()]


@pytest.fixture(params=["classes", "every kind of head", "adapters", "recipe", "average"])
def chosen(request: pytest.FixtureRequest, tmp_path: Path) -> Experiment:
    """A fine-tuning."""
    plain = {"optimizer": {"name": "sgd"}}
    if request.param == "every kind of head":
        return dense_experiment(**plain)
    if request.param == "adapters":
        return adapted(experiment(**plain), tmp_path / "base.safetensors", {"rank": 2})
    if request.param == "recipe":
        return experiment(recipe="layer_decay")
    return experiment(**plain, **({"ema": {"decay": 0.9}} if request.param == "average" else {}))


def test_a_gpu_learns_what_a_cpu_learns(chosen: Experiment) -> None:
    assert losses(new(chosen)) == pytest.approx(losses(new(chosen, "cpu")), rel=0.01, abs=0.005)


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_half_precision_learns_nearly_the_same(chosen: Experiment, autocast: torch.dtype) -> None:
    found, wanted = losses(new(chosen, autocast=autocast)), losses(new(chosen))
    assert found != wanted
    assert found == pytest.approx(wanted, rel=0.05, abs=0.05)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_a_compiled_model_learns_nearly_the_same(autocast: torch.dtype | None) -> None:
    model = dense_experiment(optimizer={"name": "sgd"})
    torch._dynamo.utils.counters.clear()
    compiled = losses(new(model, autocast=autocast), wrap=compilation.compiled)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert compiled == pytest.approx(losses(new(model, autocast=autocast)), rel=0.05, abs=0.02)


@pytest.mark.parametrize("autocast", [None, torch.float16])
@pytest.mark.parametrize("onto", ["cpu", "cuda"])
def test_a_run_is_continued_on_a_gpu_or_a_cpu(autocast: torch.dtype | None, onto: str, tmp_path: Path) -> None:
    whole, first = (new(experiment(), autocast=autocast) for _ in range(2))
    list(whole.fit())
    list(islice(first.fit(), 3))
    checkpoint.save(tmp_path, first.trained, first.state)
    kept_scale = first.state.scaler.state_dict()
    then = new(experiment(), onto, autocast)
    then.state = checkpoint.load(tmp_path, then.trained, then.plan, then.experiment.finetune, autocast is not None)
    assert then.state.scaler.state_dict() == kept_scale
    list(then.fit())
    assert len(then.state.history) == len(whole.state.history)
    for mine, found in zip(then.state.history, whole.state.history, strict=True):
        assert mine.val_loss == pytest.approx(found.val_loss, rel=0.05, abs=0.02)


def test_what_frozen_layers_make_of_images_is_kept_for_a_gpu() -> None:
    tasks = ("colour", "place", "paint")
    kept = KeptRun(kept_experiment(tasks, cache={"use": "always"}), InMemory(), device="cuda")
    plain = KeptRun(kept_experiment(tasks, cache={"use": "never"}), None, device="cuda")
    assert losses(kept) == pytest.approx(losses(plain), rel=0.01, abs=0.005)
    assert sum(kept.decoded.values()) < sum(plain.decoded.values())


def test_activations_that_are_computed_again_need_less_memory() -> None:
    def most(checkpointing: bool) -> int:
        values = experiment(phases=({"epochs": 1, "depth": "all", "rates": RATES},)).model_dump(mode="json")
        values["model"] |= {"backbone": "resnet18", "checkpointing": checkpointing}
        run = new(type(experiment()).model_validate(values))
        run.images["pixels"] = run.images["pixels"].repeat(8, axis=2).repeat(8, axis=3)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        list(run.fit())
        return torch.cuda.max_memory_allocated() - before

    assert most(True) < 0.8 * most(False)


def test_a_gpu_that_multiplies_bf16_computes_in_it() -> None:
    supported = torch.cuda.get_device_capability() >= (8, 0)
    assert precision.best("cuda") == ("bf16" if supported else "fp32")


def test_a_model_is_left_as_it_was_by_a_range_test() -> None:
    run = new(experiment(dropout=0.2))
    before = {name: tensor.clone() for name, tensor in run.trained.model.state_dict().items()}
    random = torch.cuda.get_rng_state()
    learner = Learner(run.trained.model, run.trained.tasks, run.experiment.finetune, run.on, 1)
    swept = sweep(
        learner, Swept(2, {"layer4.0": 1.0, "layer3.0": 0.5}, {HEADS: 0.02}), [1e-3, 1e-2, 1e-1], run.batches, "heads"
    )
    assert sum(1 for _ in swept) == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.trained.model.state_dict().items())
    assert torch.equal(random, torch.cuda.get_rng_state())
