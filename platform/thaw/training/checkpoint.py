"""Checkpoints: a bundle plus what a restart needs. The best one is registered as it is."""

import json
from pathlib import Path

import safetensors.torch
import torch

from thaw import bundle
from thaw.bundle import Bundle
from thaw.config.experiment import Finetune
from thaw.errors import ModelError
from thaw.training import optimizer
from thaw.training.loop import Epoch, State
from thaw.training.plan import FinetunePlan
from thaw.training.weighting import Weighting

OPTIMIZER = "optimizer.pt"
STATE = "state.json"
TRAINING_ONLY = (OPTIMIZER, STATE)
"""Files of a checkpoint that are no part of its bundle."""


def save(folder: Path, trained: Bundle, state: State) -> None:
    """Write a checkpoint into an existing folder."""
    trained.save(folder)
    learnt = {"optimizer": state.optimizer.state_dict(), "weighting": state.weighting.state()}
    torch.save(learnt, folder / OPTIMIZER)
    history = [epoch.model_dump() for epoch in state.history]
    content = {"step": state.step, "history": history}
    (folder / STATE).write_text(json.dumps(content), encoding="utf-8")


def fresh(trained: Bundle, plan: FinetunePlan, options: Finetune) -> State:
    """Return the state of a run that has done nothing yet."""
    trained.model.open_groups(plan.depth_at(0))
    return _state(trained, options)


def load(folder: Path, trained: Bundle, plan: FinetunePlan, options: Finetune) -> State:
    """Load a checkpoint's weights into ``trained`` and return where the run stands.

    Raises:
        ModelError: it is of another version of Thaw, or its adapters belong to other weights.
    """
    bundle.check_base(bundle.describe(folder), trained.description.origin["sha256"], folder)
    trained.model.load_own_state(safetensors.torch.load_file(folder / bundle.WEIGHTS))
    content = json.loads((folder / STATE).read_text(encoding="utf-8"))
    history = [Epoch.model_validate(epoch) for epoch in content["history"]]
    # The optimizer holds what was open when the state was saved; at the border of a phase, fit opens the rest.
    trained.model.open_groups(plan.depth_at(max(0, history[-1].step - 1)))
    state = _state(trained, options)
    state.step, state.history = content["step"], history
    saved = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    if "weighting" not in saved:
        raise ModelError(f"{folder}: a checkpoint of another version of Thaw; train anew")
    state.optimizer.load_state_dict(saved["optimizer"])
    state.weighting.load(saved["weighting"])
    return state


def _state(trained: Bundle, options: Finetune) -> State:
    device = next(trained.model.parameters()).device
    weighting = Weighting(trained.tasks, options.weighting, device)
    return State(optimizer.build(trained.model, options.optimizer), weighting)
