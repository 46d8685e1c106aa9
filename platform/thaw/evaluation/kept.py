"""What evaluations leave with a run: where it is kept, and reading it back."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.evaluation.evaluate import Scores
from thaw.registry import record as records
from thaw.storage import Root


def place(root: Root, run_id: str, prepared: Dataset | None, artifact: str | None = None) -> str:
    """Return where an evaluation of a run is kept.

    On another dataset than the run's own, and of an artifact, it is in a folder of that name.
    """
    folder = f"runs/{run_id}/evaluation"
    if prepared is not None and records.load(root, run_id).dataset != prepared.path:
        folder = f"{folder}/{prepared.name}-{prepared.fingerprint}"
    return f"{folder}/artifacts/{artifact}" if artifact else folder


def stored(root: Root, run_id: str, split: str, prepared: Dataset | None = None) -> Scores | None:
    """Return the scores that an evaluation of a run's bundle left; None where there was none.

    Args:
        prepared: what it was measured on; the run's own dataset when left out.
    """
    path = f"{place(root, run_id, prepared)}/{split}.json"
    return Scores.model_validate(root.read_json(path)) if root.exists(path) else None


def trained_on(root: Root, run_id: str) -> Dataset:
    """Return the dataset of a run.

    Raises:
        DataError: it is gone.
    """
    path = records.load(root, run_id).dataset
    if not root.exists(f"{path}/dataset.json"):
        raise DataError(
            f"{root.shown(path)}: the dataset of run {run_id} is gone; run `thaw prepare` with its experiment"
        )
    return Dataset.load(root, path)


def keep_answers(root: Root, path: str, rows: list[dict[str, Any]]) -> None:
    """Keep answers, before anything is made of them."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    root.write_bytes(path, buffer.getvalue().to_pybytes())
