"""Hparams: a sweep for TensorBoard's HPARAMS tab, a folder of events for each trial.

Scores are drawn over images seen, so that trials with different batches compare; times count from the sweep's start.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard import SummaryWriter, summary

from thaw.tuning.report import table
from thaw.tuning.trial import Report, Trial

_BEST = "best/"
_ENDED = {
    "finished": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}


def write(folder: Path, trials: Sequence[Trial], places: Sequence[str]) -> None:
    """Write events below a folder, which is made when missing.

    Every trial has its values, its scores and metrics after each epoch, and those of its best epoch under ``best/``.
    """
    columns = {place: table.column(trials, place) for place in places}
    shown = _dimensions(trials, columns)
    for row, trial in enumerate(trials):
        values = {place: cells[row] for place, cells in columns.items() if cells[row] is not None}
        with SummaryWriter(str(folder / f"trial-{trial.number:03d}")) as writer:
            _begin(writer, shown, values)
            _curves(writer, trial)
            if trial.stage in _ENDED:
                _add(writer, _end(_ENDED[trial.stage], trial.seconds))


def _dimensions(trials: Sequence[Trial], columns: Mapping[str, list[Any]]) -> Any:
    """Return the summary that names all dimensions; TensorBoard takes any one trial's to hold for all of them."""
    samples = {place: next((one for one in cells if one is not None), "") for place, cells in columns.items()}
    best = {_BEST + name: None for trial in trials if trial.best for name in _figures(trial.best)}
    return summary.hparams(samples, best)[0]  # type: ignore[no-untyped-call]


def _begin(writer: SummaryWriter, shown: Any, values: Mapping[str, Any]) -> None:
    _add(writer, shown)
    _add(writer, summary.hparams(dict(values), {})[1])  # type: ignore[no-untyped-call]


def _end(status: int, seconds: float) -> Any:
    """Return the summary that says how a trial ended; torch's always says that it did well."""
    ended = SessionEndInfo(status=status, end_time_secs=seconds)
    content = HParamsPluginData(session_end_info=ended, version=metadata.PLUGIN_DATA_VERSION).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content)
    shown = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=shown)])


def _curves(writer: SummaryWriter, trial: Trial) -> None:
    for report in trial.reports:
        for name, value in _figures(report).items():
            writer.add_scalar(name, value, report.images, walltime=report.at_s)
    if best := trial.best:
        for name, value in _figures(best).items():
            writer.add_scalar(_BEST + name, value, best.images, walltime=best.at_s)


def _figures(report: Report) -> dict[str, float]:
    metrics = {f"{task}/{name}": value for task, found in report.metrics.items() for name, value in found.items()}
    return {"score": report.score, **metrics}


def _add(writer: SummaryWriter, content: Any) -> None:
    writer._get_file_writer().add_summary(content, 0)  # type: ignore[no-untyped-call]
