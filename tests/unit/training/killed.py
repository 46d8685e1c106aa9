"""What is killed for test_killed.py; run by it as ``python killed.py FOLDER``.

One process that forks into a child for every start of every run, because each costs seconds of imports. A child trains
on from the newest checkpoint that is whole, leaves one after every step, and kills itself by SIGKILL where it is told
to; the next child of the same run goes on from what is left.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import torch
from tiny_run import RATES, Run, experiment

from thaw.backbones.weights import digest
from thaw.training import checkpoint

PHASES = (
    {"epochs": 4, "depth": 0, "rates": RATES},
    {"epochs": 3, "depth": 2, "rates": RATES},
    {"epochs": 5, "depth": 4, "open_every": 2, "rates": RATES},
)
BORDERS = (8, 14, 18)
"""The steps at which groups open: two at once with the second phase, then one by one within the third."""
KILLS = range(2, 22)
EXPERIMENT = experiment(dropout=0.3, phases=PHASES, batchnorm="adapt", ema={"decay": 0.9})
DONE = "done.json"

Moment = Literal["saved", "computed", "saving"]
"""When a step's child is killed: its checkpoint has just got its name; it is computed and nothing of it is written; its
checkpoint is written in part."""


def depths() -> dict[int, int]:
    """Return step -> how many groups are open from there on, for every step at which that changes."""
    plan = Run.new(EXPERIMENT).plan
    return {span.start: span.depth for span in plan.spans if span.start}


def train(folder: Path, killed_at: int | None, moment: Moment | None) -> None:
    """Train on from the newest checkpoint in the folder, and write down there what it came to."""
    run = Run.new(EXPERIMENT)
    if last := max(folder.glob("step-*"), default=None):
        run.state = checkpoint.load(last, run.trained, run.plan, EXPERIMENT.finetune)
    with (folder / "begun").open("a") as begun:
        begun.write(f"{run.state.step}\n")
    for _ in run.fit(pause_steps=1):
        now = moment if run.state.step == killed_at else None
        if now == "computed":
            _die()
        _save(folder, run, now == "saving")
        if now == "saved":
            _die()
    (folder / DONE).write_text(json.dumps(_left(run)))


def _left(run: Run) -> dict[str, Any]:
    """Return what a run leaves, tensors by the digest of their bits."""
    kept = run.state.optimizer.state_dict()
    moments = {f"{place}/{key}": value for place, held in kept["state"].items() for key, value in held.items()}
    return {
        "weights": digest(run.trained.model.state_dict()),
        "served": digest(run.state.served(run.trained.model).state_dict()),
        "moments": digest(moments),
        "optimizer": kept["param_groups"],
        "figures": [(one.epoch, one.train_loss, one.val_loss, one.metrics) for one in run.state.history],
    }


def _save(folder: Path, run: Run, dies: bool) -> None:
    """Write a checkpoint that has its name only once it is whole.

    Args:
        dies: be killed when a part of it, or all of it, has been written.
    """
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    death = Thread(target=_die_with, args=(partial / checkpoint.OPTIMIZER,))
    if dies:
        death.start()
    checkpoint.save(partial, run.trained, run.state)
    if dies:
        death.join()
    partial.rename(folder / f"step-{run.state.step:04d}")


def _die_with(file: Path) -> None:
    while not file.exists():
        pass
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _ended(folder: Path, killed_at: int | None = None, moment: Moment | None = None) -> int:
    """Train in a child, and return its exit status, negative where a signal ended it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            train(folder, killed_at, moment)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed_twice(folder: Path, step: int) -> dict[str, Any]:
    """Return what a run came to that was killed after a step was saved and again before the next one was."""
    folder.mkdir()
    before: Moment = "saving" if step % 4 < 2 else "computed"
    ends = [_ended(folder, step, "saved"), _ended(folder, step + 1, before), _ended(folder)]
    begun = [int(line) for line in (folder / "begun").read_text().split()]
    return {"ends": ends, "begun": begun, **json.loads((folder / DONE).read_text())}


def _undisturbed() -> dict[str, Any]:
    """Return what a run comes to that nothing is written of on its way."""
    run = Run.new(EXPERIMENT)
    list(run.fit())
    return json.loads(json.dumps(_left(run)))  # type: ignore[no-any-return]


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    told = {str(step): _killed_twice(place / str(step), step) for step in KILLS}
    (place / "told.json").write_text(json.dumps({"undisturbed": _undisturbed(), **told}))
