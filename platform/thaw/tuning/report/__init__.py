"""Report: what a sweep came to, as tables, a page and TensorBoard events. Pure functions of its trials, but for one.

Nothing here runs, chooses or stops a trial.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from thaw.storage import Root
from thaw.tuning.report import hparams, table
from thaw.tuning.report.page import page
from thaw.tuning.report.range import Range, Ranges
from thaw.tuning.report.summary import Summary
from thaw.tuning.trial import Trial

__all__ = ["Range", "Ranges", "Summary", "publish"]


def publish(root: Root, path: str, summary: Summary, trials: Sequence[Trial]) -> None:
    """Write trials.csv, trials.parquet, report.html and tensorboard/ below a path, in place of earlier ones.

    Raises:
        StorageError: the store does not take them.
    """
    trials, places = [summary.filled(trial) for trial in trials], list(summary.ranges)
    root.write_bytes(f"{path}/trials.csv", table.as_csv(trials, places).encode())
    root.write_bytes(f"{path}/trials.parquet", table.as_parquet(trials, places))
    root.write_bytes(f"{path}/report.html", page(summary, trials).encode())
    with tempfile.TemporaryDirectory(prefix="thaw-sweep-") as folder:
        hparams.write(Path(folder), trials, places)
        root.remove(f"{path}/tensorboard")
        root.upload(Path(folder), f"{path}/tensorboard")
