"""Monitor: what a run leaves for people to look at: TensorBoard events and metrics.csv.

Written in a local folder first and copied to storage after every epoch, for no object store can append.
After a restart the steps that are done again replace the earlier ones.
"""

import csv
import io
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from thaw.model import HEADS
from thaw.storage import Root
from thaw.training.loop import Epoch, Progress
from thaw.training.plan import FinetunePlan

_RATES_AN_EPOCH = 20
"""Points an epoch at which learning rates are drawn."""


class Monitor:
    """Events and metrics of one run, from one training process."""

    def __init__(self, root: Root, run_path: str, plan: FinetunePlan, step: int) -> None:
        """Begin at ``step``; events of later steps, from before a restart, are hidden."""
        self._root, self._run_path, self._plan = root, run_path, plan
        self._folder = tempfile.TemporaryDirectory(prefix="thaw-events-")
        self._writer = SummaryWriter(self._folder.name, purge_step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._folder.cleanup()

    def tell(self, progress: Progress, history: list[Epoch], tasks: list[str]) -> None:
        """Record an epoch and bring all there is to storage."""
        self._losses(progress.step_losses, progress.epoch.step, tasks)
        self._rates(progress.epoch.step)
        for name, value in flat(progress.epoch).items():
            self._writer.add_scalar(
                name, value, progress.epoch.step - 1
            )  # the last step done: a restart purges later ones
        self._writer.flush()
        for file in Path(self._folder.name).iterdir():
            self._root.write_bytes(f"{self._run_path}/{file.name}", file.read_bytes())
        self._root.write_bytes(f"{self._run_path}/metrics.csv", as_csv(history).encode())

    def _losses(self, losses: Tensor, stop: int, tasks: list[str]) -> None:
        for step, row in enumerate(losses.tolist(), start=stop - len(losses)):
            for task, value in zip(tasks, row, strict=True):
                self._writer.add_scalar(f"step_loss/{task}", value, step)

    def _rates(self, stop: int) -> None:
        """Draw every group's rate over the epoch that ended; a frozen group's is zero."""
        stride = max(1, self._plan.epoch_steps // _RATES_AN_EPOCH)
        for step in range(stop - self._plan.epoch_steps, stop, stride):
            rates = self._plan.rates_at(step)
            for group in (*self._plan.groups, HEADS):
                self._writer.add_scalar(f"rate/{group}", rates.get(group, 0.0), step)


def flat(epoch: Epoch) -> dict[str, float]:
    """Return the figures of an epoch by the names they have in TensorBoard and metrics.csv."""
    return {
        **{f"train_loss/{task}": value for task, value in epoch.train_loss.items()},
        **{f"val_loss/{task}": value for task, value in epoch.val_loss.items()},
        **{f"val/{task}/{name}": value for task, found in epoch.metrics.items() for name, value in found.items()},
        "val/score": epoch.score,
        "plan/depth": epoch.depth,
        "speed/images_per_s": epoch.images_per_s,
        "speed/waiting": epoch.waiting,
    }


def as_csv(history: list[Epoch]) -> str:
    """Return one line an epoch, with the figures of all epochs as columns."""
    rows = [
        {
            "epoch": epoch.epoch,
            "phase": epoch.phase,
            "step": epoch.step,
            "seconds": epoch.seconds,
            **flat(epoch),
        }
        for epoch in history
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def best(root: Root, run_id: str, task: str, metric: str) -> float:
    """Return the highest value that a validation metric had in any epoch of a run; 0 where it never had one."""
    rows = csv.DictReader(io.StringIO(root.read_bytes(f"runs/{run_id}/metrics.csv").decode()))
    return max((float(row[name]) for row in rows if row.get(name := f"val/{task}/{metric}")), default=0.0)


def line(epoch: Epoch, planned: int) -> str:
    """Return one line that tells a person how an epoch went."""
    tasks = []
    for task, loss in epoch.train_loss.items():
        metrics = epoch.metrics.get(task, {})
        best = next(iter(metrics.items()), None)
        shown = f" {best[0]} {best[1]:.3f}" if best else ""
        tasks.append(f"{task} loss {loss:.3f}/{epoch.val_loss.get(task, float('nan')):.3f}{shown}")
    return (
        f"epoch {epoch.epoch}/{planned}  phase {epoch.phase + 1} depth {epoch.depth}  {'  '.join(tasks)}  "
        f"{epoch.images_per_s:.0f} img/s, {epoch.waiting:.0%} waiting, {epoch.seconds:.1f} s"
    )
