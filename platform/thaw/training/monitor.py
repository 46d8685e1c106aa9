"""Monitor: what a run leaves for people to look at: TensorBoard events and metrics.csv.

Written in a local folder first and copied to storage after every epoch, for no object store can append.
After a restart the steps that are done again replace the earlier ones. Pictures and curves are drawn after epochs that
are the best so far, as long as there is room for them.
"""

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter, summary

from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.model import HEADS
from thaw.storage import Root
from thaw.tasks.contract import Task
from thaw.training import pictures
from thaw.training.diagnosis import Diagnosis
from thaw.training.loop import Epoch, Progress
from thaw.training.plan import FinetunePlan
from thaw.training.validation import Seen

_RATES_AN_EPOCH = 20
"""Points an epoch at which learning rates are drawn."""
_MOST_BYTES = 24 * 2**20
"""Bytes of pictures from which on no more are drawn: all events are copied to storage after every epoch."""
_CURVES = 12
"""Classes of a task, the most frequent ones, that have a curve of precision over recall."""


@dataclass(frozen=True)
class Told:
    """What is said of an epoch beside its figures."""

    diagnosis: Sequence[Diagnosis] = ()
    seen: Seen = field(default_factory=Seen)


class Monitor:
    """Events and metrics of one run, from one training process."""

    def __init__(self, root: Root, run_path: str, plan: FinetunePlan, step: int) -> None:
        """Begin at ``step``; events of later steps, from before a restart, are hidden."""
        self._root, self._run_path, self._plan = root, run_path, plan
        self._folder = tempfile.TemporaryDirectory(prefix="thaw-events-")
        self._writer = SummaryWriter(self._folder.name, purge_step=step)
        self._spent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._folder.cleanup()

    def begin(self, experiment: Experiment) -> None:
        """Show what the run was asked to do."""
        text = "\n".join(f"    {line}" for line in config.dump(experiment).splitlines())
        self._writer.add_text("experiment", text, 0)
        chosen = {name: value for name, value in settings(experiment).items() if value is not None}
        for part in summary.hparams(chosen, {"val/score": None})[:2]:  # type: ignore[no-untyped-call]
            # add_hparams would begin a folder of its own
            self._writer._get_file_writer().add_summary(part, 0)  # type: ignore[no-untyped-call]

    def tell(self, progress: Progress, history: list[Epoch], tasks: Mapping[str, Task], told: Told) -> None:
        """Record an epoch and bring all there is to storage."""
        last = progress.epoch.step - 1  # the last step done: a restart purges later ones
        self._losses(progress.step_losses, progress.epoch.step, list(tasks))
        self._rates(progress.epoch.step)
        for name, value in flat(progress.epoch).items():
            self._writer.add_scalar(name, value, last)
        for one in told.diagnosis:
            self._writer.add_text(f"diagnosis/{one.task}", one.line(), last)
        if progress.epoch.score >= max(epoch.score for epoch in history) and self._spent < _MOST_BYTES:
            self._show(told.seen, tasks, last)
        self._writer.flush()
        for file in Path(self._folder.name).iterdir():
            self._root.write_bytes(f"{self._run_path}/{file.name}", file.read_bytes())
        self._root.write_bytes(f"{self._run_path}/metrics.csv", as_csv(history).encode())

    def _show(self, seen: Seen, tasks: Mapping[str, Task], step: int) -> None:
        """Draw answers, confusion between classes, and precision over recall."""
        for place, picture in enumerate(pictures.answers(seen, tasks)):
            self._picture(f"answers/{place}", picture, step)
        for task, table in seen.confusion.items():
            names = tasks[task].labels.names
            self._picture(f"confusion/{task}", pictures.confusion(names, table), step)
            self._writer.add_text(f"confusion/{task}", pictures.mistaken(names, table), step)
        for task, (scores, truths) in seen.curves.items():
            places = truths.sum(dim=0).argsort(descending=True, stable=True)[:_CURVES].tolist()
            for place in places if len(truths) else ():
                name = f"{task}/{tasks[task].labels.names[place]}"
                self._writer.add_pr_curve(name, truths[:, place], scores[:, place], step)

    def _picture(self, name: str, picture: Image.Image, step: int) -> None:
        content = pictures.jpeg(picture)
        self._spent += len(content)
        drawn = Summary.Image(height=picture.height, width=picture.width, colorspace=3, encoded_image_string=content)
        shown = Summary(value=[Summary.Value(tag=name, image=drawn)])
        self._writer._get_file_writer().add_summary(shown, step)  # type: ignore[no-untyped-call]

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
        **{f"plain_loss/{task}": value for task, value in epoch.plain_loss.items()},
        **{
            f"train/{task}/{name}": value
            for task, found in epoch.train_metrics.items()
            for name, value in found.items()
        },
        **{f"val/{task}/{name}": value for task, found in epoch.metrics.items() for name, value in found.items()},
        **({"val/score": epoch.score} if epoch.val_loss else {}),
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


def seconds(root: Root, run_id: str) -> float:
    """Return how long the epochs of a run took so far; 0 where none is over."""
    place = f"runs/{run_id}/metrics.csv"
    if not root.exists(place):
        return 0.0
    return sum(float(row["seconds"]) for row in csv.DictReader(io.StringIO(root.read_bytes(place).decode())))


def line(epoch: Epoch, planned: int) -> str:
    """Return one line that tells a person how an epoch went; metrics are of training/validation images, as losses."""
    tasks = "  ".join(f"{task} {_went(epoch, task)}" for task in epoch.train_loss)
    return (
        f"epoch {epoch.epoch}/{planned}  phase {epoch.phase + 1} depth {epoch.depth}  {tasks}  "
        f"{epoch.images_per_s:.0f} img/s, {epoch.waiting:.0%} waiting, {epoch.seconds:.1f} s"
    )


def _went(epoch: Epoch, task: str) -> str:
    """Return loss and best metric of a task; where nothing was validated, of training images alone."""
    losses = [epoch.train_loss[task], *([epoch.val_loss[task]] if task in epoch.val_loss else [])]
    found = [metrics.get(task, {}) for metrics in (epoch.train_metrics, epoch.metrics)]
    best = next(iter(found[1] or found[0]), None)
    values = [metrics[best] for metrics in found if best in metrics]
    return f"loss {_joined(losses)}" + (f" {best} {_joined(values)}" if values else "")


def _joined(values: Sequence[float]) -> str:
    return "/".join(f"{value:.3f}" for value in values)


def settings(experiment: Experiment) -> dict[str, str | int | float | bool | None]:
    """Return every setting of an experiment that training depends on, by its dotted name."""
    values = experiment.model_dump(mode="json", exclude={"storage", "cluster", "serve", "evaluate", "track"})
    return dict(_leaves("", values))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str | int | float | bool | None]]:
    if isinstance(value, dict | list) and value:
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            yield from _leaves(f"{place}.{key}" if place else str(key), one)
    else:
        yield place, str(value) if isinstance(value, dict | list) else value
