"""Compare two models on the same images: differences with intervals, what got fixed and what broke."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("after", help="the model that is to be better")
    parser.add_argument("--split", choices=["test", "val"], default="test", help="of the second model's dataset")
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.evaluation import comparison
    from thaw.evaluation.comparing import on_ray
    from thaw.storage import open_root

    root = arguments.root(options)
    found, page = on_ray.compare(root, options.before, options.after, options.split)
    lines = [
        f"{found.before} -> {found.after} on the {found.split} images of {found.dataset}; * where the 95 % interval of",
        "the difference does not hold 0:",
        *comparison.lines(found.tasks),
        f"report: {open_root(root).shown(page)}",
    ]
    return Result({**found.model_dump(mode="json"), "report": page}, lines)
