"""List the runs."""

import argparse
from typing import Any

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.console import say
    from thaw.registry import record
    from thaw.storage import open_root

    found = record.runs(open_root(arguments.root(options)))
    for broken in found.unreadable:
        say(f"warning: {broken}")
    lines = [
        f"{one.id}  {one.stage:<9}  {one.epochs_run:>3} epochs {one.wall_s:>6.0f} s  {one.bundle or '-'}  {_best(one)}"
        for one in found.records
    ]
    return Result({"runs": [one.model_dump(mode="json") for one in found.records]}, lines or ["no runs yet"])


def _best(record: Any) -> str:
    split = "test" if "test" in record.metrics else "val"
    found = record.metrics.get(split, {})
    return "  ".join(f"{split} {task} {next(iter(values.values())):.3f}" for task, values in found.items() if values)
