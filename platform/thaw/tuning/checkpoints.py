"""Checkpoints of a trial that trains in place: its last and its best one, in the storage root.

A run of its own leaves them to Ray Train; they lie in the same folders under the same names.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from thaw.errors import StorageError
from thaw.storage import Root
from thaw.training import checkpoint
from thaw.training.state import Epoch
from thaw.tuning.trial import Report

CHECKPOINTS = "checkpoints"


def path_of(place: str, epoch: int) -> str:
    """Return the folder of the checkpoint after an epoch; ``place`` is that of the trial."""
    return f"{place}/{CHECKPOINTS}/epoch_{epoch:04d}"


def keep(root: Root, place: str, folder: Path, history: Sequence[Epoch]) -> None:
    """Store the checkpoint of the last epoch, and then remove all others but that of the best."""
    root.upload(folder, path_of(place, history[-1].epoch))
    best = max(history, key=lambda epoch: epoch.score)
    kept = {Path(path_of(place, epoch.epoch)).name for epoch in (best, history[-1])}
    for name in root.list(f"{place}/{CHECKPOINTS}"):
        if name not in kept:
            root.remove(f"{place}/{CHECKPOINTS}/{name}")


def best(root: Root, place: str, reports: Sequence[Report]) -> int:
    """Return the epoch with the highest score whose checkpoint is kept; of equal ones Ray Train keeps the later.

    Raises:
        StorageError: none is kept.
    """
    kept = [report for report in reports if root.exists(f"{path_of(place, report.epoch)}/{checkpoint.STATE}")]
    if not kept:
        raise StorageError(f"{root.shown(place)}: its checkpoints are gone; train its experiment anew with --refit")
    return max(kept, key=lambda report: report.score).epoch


@contextmanager
def last(root: Root, place: str) -> Iterator[Path | None]:
    """Give a copy of the last complete checkpoint; None where there is none."""
    complete = _complete(root, place)
    if not complete:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="thaw-checkpoint-") as folder:
        root.download(f"{place}/{CHECKPOINTS}/{complete[-1]}", Path(folder))
        yield Path(folder)


def strip(root: Root, place: str) -> None:
    """Remove what only a trial that goes on needs: the optimizer's state is twice as large as the weights."""
    for name in _complete(root, place):
        root.remove(f"{place}/{CHECKPOINTS}/{name}/{checkpoint.OPTIMIZER}")


def history(folder: Path) -> list[Epoch]:
    """Return the epochs that a checkpoint has behind it."""
    content = json.loads((folder / checkpoint.STATE).read_text(encoding="utf-8"))
    return [Epoch.model_validate(epoch) for epoch in content["history"]]


def _complete(root: Root, place: str) -> list[str]:
    """Return the names of the checkpoints that are whole, in order; Ray Train keeps files of its own beside them."""
    names = root.list(f"{place}/{CHECKPOINTS}")
    return [name for name in names if root.exists(f"{place}/{CHECKPOINTS}/{name}/{checkpoint.STATE}")]
