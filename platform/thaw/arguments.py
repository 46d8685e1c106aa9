"""Arguments that several verbs take, and what becomes of them."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thaw.config.experiment import Experiment


def add_experiment(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    parser.add_argument("experiment", nargs="?" if optional else None, help="experiment YAML")
    parser.add_argument("overrides", nargs="*", metavar="place=value", help="such as finetune.phases[1].depth=3")


def add_run(parser: argparse.ArgumentParser, what: str) -> None:
    """Say which run or sweep it is: one that was interrupted, or one that is begun under a name known beforehand."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--resume", metavar=what.upper(), help=f"continue an interrupted {what} from what it has come to"
    )
    which.add_argument(
        "--run",
        metavar="ID",
        help=f"continue the {what} of this name where there is one, else begin it under this name: the same command "
        "can be repeated until it has succeeded",
    )


def add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", help="storage root; THAW_STORAGE or ./store when left out")


def add_artifact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--artifact", help="what `thaw export` made of the model, such as onnx-int8, in its place")


def positive(text: str) -> float:
    """Return a number above zero, or refuse the argument."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def count(text: str) -> int:
    """Return a whole number above zero, or refuse the argument."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def share(text: str) -> float:
    """Return a number from 0 to 1, or refuse the argument."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def experiment(options: argparse.Namespace) -> "Experiment":
    from thaw.config import load
    from thaw.errors import ConfigError

    if not options.experiment:
        raise ConfigError("no experiment: give the path of its YAML, such as jobs/configs/boards.yaml")
    return load.load(options.experiment, [*options.overrides, *storage_override(options)])


def storage_override(options: argparse.Namespace) -> list[str]:
    """Return ``--storage``, where it is given, as the override that it stands for."""
    given = getattr(options, "storage", None)
    return [f"storage.root={json.dumps(given)}"] if given else []


def root(options: argparse.Namespace) -> str:
    from thaw.config.experiment import default_root

    if options.storage:
        return str(options.storage)
    return experiment(options).storage.root if getattr(options, "experiment", None) else default_root()
