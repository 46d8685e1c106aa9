"""Pieces of data on all nodes: work done on each by Ray Data, and what keeps Ray Data quiet."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray.data

from thaw import errors
from thaw.errors import ThawError


def done(work: Callable[[pa.Table], bytes], pieces: Sequence[pa.Table], **options: Any) -> Iterator[bytes]:
    """Yield what work makes of each piece, in order, on all nodes.

    Args:
        options: of Ray, such as how many GPUs work takes.

    Raises:
        ThawError: what a user can mend. It is handed over as a value: Ray Data would show it as a fault of its own.
    """

    def told(piece: pa.Table) -> pa.Table:
        result, kind, refusal = b"", "", ""
        try:
            result = work(piece)
        except ThawError as error:
            kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)
            refusal = str(error)
        return pa.table({"result": pa.array([result], pa.large_binary()), "kind": [kind], "refusal": [refusal]})

    quiet()
    blocks = ray.data.from_arrow(list(pieces)).map_batches(told, batch_size=None, batch_format="pyarrow", **options)
    for row in blocks.iter_rows():
        if row["kind"]:
            raise getattr(errors, row["kind"])(row["refusal"])
        yield row["result"]


def quiet() -> None:
    """Keep Ray Data's bars and plans out of the logs of this process and its datasets, and its batches in order."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # it warns that bars are off
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.target_max_block_size = None  # else a large batch would be cut up, and each piece taken for a batch
    context.execution_options.verbose_progress = False
