"""What is killed for test_killed.py; run by it as ``python killed.py FOLDER``.

One process that forks into a child for every start of every run, because each costs seconds of imports. A child trains,
leaving a checkpoint after every other step, and is killed by SIGKILL: when it asks for the batch of a certain step, or
while it writes a checkpoint, whenever that is. It is then started again, and trains to the end.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_run import EPOCH_STEPS, RATES, Run, experiment

from thaw.backbones.weights import digest
from thaw.training import checkpoint
from thaw.training.loop import Batch

BORDER = 12
"""The step at which groups open."""
KILLS = range(BORDER - 10, BORDER + 10)
PHASES = (
    {"epochs": BORDER // EPOCH_STEPS, "depth": 0, "rates": RATES},
    {"epochs": BORDER // EPOCH_STEPS, "depth": 2, "rates": RATES},
)
EXPERIMENT = experiment(dropout=0.3, phases=PHASES, batchnorm="adapt", ema={"decay": 0.9})
DONE = "done.json"


def train(folder: Path, killed_at: int | None) -> None:
    """Train on from the last checkpoint in the folder, and write down there what it came to."""
    torch.set_num_threads(1)
    run = Run.new(EXPERIMENT)
    if last := max(folder.glob("step-*"), default=None):
        run.state = checkpoint.load(last, run.trained, run.plan, EXPERIMENT.finetune)

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for step, batch in zip(range(start, stop), run.batches(start, stop), strict=True):
            if step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    begun = run.state.step
    for _ in run.fit(batches=batches, pause_steps=2):
        _save(folder, run)
    figures = [(one.epoch, one.train_loss, one.val_loss, one.metrics) for one in run.state.history]
    served = run.state.served(run.trained.model).state_dict()
    found = {"weights": digest(run.trained.model.state_dict()), "served": digest(served), "figures": figures}
    (folder / DONE).write_text(json.dumps({"begun": begun, **found}))


def _save(folder: Path, run: Run) -> None:
    """Write a checkpoint that has its name only once it is whole."""
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    checkpoint.save(partial, run.trained, run.state)
    partial.rename(folder / f"step-{run.state.step:04d}")


def _started(folder: Path, killed_at: int | None) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        train(folder, killed_at)
        code = 0
    finally:
        os._exit(code)


def _kill_while_saving(child: int, folder: Path, step: int) -> None:
    """Kill a child as soon as it writes another checkpoint once it has come near a step."""
    while not list(folder.glob(f"step-{step - step % 2 - 2:04d}")) or not (folder / "partial").exists():
        if os.waitpid(child, os.WNOHANG)[0]:
            raise RuntimeError("it ended before it could be killed")
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)


def _killed_and_continued(folder: Path, step: int, while_saving: bool) -> dict[str, object]:
    """Return what a run came to that was killed near a step and started again."""
    folder.mkdir()
    child = _started(folder, None if while_saving else step)
    if while_saving:
        _kill_while_saving(child, folder, step)
    signalled = os.WTERMSIG(os.waitpid(child, 0)[1])
    again = os.waitstatus_to_exitcode(os.waitpid(_started(folder, None), 0)[1])
    return {"signal": signalled, "again": again, **json.loads((folder / DONE).read_text())}


def _undisturbed(folder: Path) -> dict[str, object]:
    folder.mkdir()
    again = os.waitstatus_to_exitcode(os.waitpid(_started(folder, None), 0)[1])
    return {"again": again, **json.loads((folder / DONE).read_text())}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    told = {"undisturbed": _undisturbed(place / "undisturbed")}
    for at in KILLS:
        told[str(at)] = _killed_and_continued(place / str(at), at, while_saving=at % 4 == 0)
    (place / "told.json").write_text(json.dumps(told))
