"""Checkpoints: a bundle plus what a restart needs. The best one is registered as it is."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from thaw import bundle
from thaw.bundle import Bundle
from thaw.config.experiment import Finetune
from thaw.errors import ModelError
from thaw.training import optimizer
from thaw.training.ema import Average
from thaw.training.plan import FinetunePlan
from thaw.training.state import Begun, Epoch, State
from thaw.training.weighting import Weighting

OPTIMIZER = "optimizer.pt"
STATE = "state.json"
TRAINING_ONLY = (OPTIMIZER, STATE)
"""Files of a checkpoint that are no part of its bundle."""


def save(folder: Path, trained: Bundle, state: State) -> None:
    """Write a checkpoint into an existing folder; what it is without its last file is none."""
    replace(trained, model=state.served(trained.model)).save(folder)
    torch.save(_learnt(trained, state), folder / OPTIMIZER)
    history = [epoch.model_dump() for epoch in state.history]
    content = {"step": state.step, "history": history, "environment": state.environment}
    (folder / STATE).write_text(json.dumps(content), encoding="utf-8")


def _learnt(trained: Bundle, state: State) -> dict[str, Any]:
    """Return the tensors of a state, and the weights themselves where the bundle holds their average."""
    learnt = {
        "optimizer": state.optimizer.state_dict(),
        "weighting": state.weighting.state(),
        "scaler": state.scaler.state_dict(),
    }
    if state.begun:
        learnt["begun"] = {"losses": state.begun.losses, "counts": state.begun.counts}
    if state.average:
        learnt["weights"] = trained.model.own_state()
    return learnt


def fresh(trained: Bundle, plan: FinetunePlan, options: Finetune, scaled: bool = False) -> State:
    """Return the state of a run that has done nothing yet.

    Args:
        scaled: whether losses are scaled, as fp16 needs it.
    """
    trained.model.open_groups(plan.depth_at(0))
    return _state(trained, options, scaled)


def load(folder: Path, trained: Bundle, plan: FinetunePlan, options: Finetune, scaled: bool = False) -> State:
    """Load a checkpoint's weights into ``trained`` and return where the run stands.

    Raises:
        ModelError: it is of another version of Thaw, or its adapters belong to other weights.
    """
    bundle.check_base(bundle.describe(folder), trained.description.origin["sha256"], folder)
    served = safetensors.torch.load_file(folder / bundle.WEIGHTS)
    saved = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    content = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if "scaler" not in saved:
        raise ModelError(f"{folder}: a checkpoint of another version of Thaw; train anew")
    trained.model.load_own_state(saved.get("weights", served))
    # The optimizer holds what was open when the state was saved; at the border of a phase, fit opens the rest.
    trained.model.open_groups(plan.depth_at(max(0, content["step"] - 1)))
    state = _state(trained, options, scaled)
    state.step = content["step"]
    state.history = [Epoch.model_validate(epoch) for epoch in content["history"]]
    _restore(state, saved, served)
    return state


def environment(folder: Path) -> dict[str, str | int]:
    """Return what the figures of a checkpoint depend on besides the experiment: where and how it was trained."""
    found: dict[str, str | int] = json.loads((folder / STATE).read_text(encoding="utf-8"))["environment"]
    return found


def _restore(state: State, saved: Mapping[str, Any], served: Mapping[str, Tensor]) -> None:
    """Give a state back the tensors that `_learnt` returned, and its average the weights of the bundle."""
    state.optimizer.load_state_dict(saved["optimizer"])
    state.weighting.load(saved["weighting"])
    state.scaler.load_state_dict(saved["scaler"])
    state.begun = Begun(**saved["begun"]) if "begun" in saved else None
    if state.average:
        state.average.load(served)


def _state(trained: Bundle, options: Finetune, scaled: bool) -> State:
    device = next(trained.model.parameters()).device
    return State(
        optimizer.build(trained.model, options.optimizer),
        Weighting(trained.tasks, options.weighting, device),
        average=Average(trained.model, options.ema) if options.ema else None,
        scaler=torch.amp.GradScaler(device.type, enabled=scaled),
    )
