"""Measure a model on the test split."""

import argparse
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.config.experiment import Experiment

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)
    parser.add_argument("--model", help="NAME, NAME@alias or NAME/version; the newest version when left out")
    arguments.add_artifact(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.evaluation import figures, on_ray
    from thaw.storage import open_root

    experiment = arguments.experiment(options)
    reference = options.model or f"{experiment.name}/{_newest(experiment)}"
    scores = on_ray.evaluate(experiment, reference, artifact=options.artifact)
    called = f"{scores.model} as {scores.artifact}" if scores.artifact else scores.model
    lines = [f"{called} on {scores.images} {scores.split} images of dataset {scores.dataset}:"]
    looked = [f"look {scores.looks} at these test images"] if scores.looks else []
    report = f"report: {open_root(experiment.storage.root).shown(scores.report)}"
    values = {**scores.model_dump(mode="json"), "report": scores.report}
    return Result(values, [*lines, *figures.lines(scores.figures), *looked, report])


def _newest(experiment: "Experiment") -> int:
    from thaw.errors import StorageError
    from thaw.registry import store
    from thaw.storage import open_root

    versions = store.versions(open_root(experiment.storage.root), experiment.name)
    if not versions:
        raise StorageError(
            f"{open_root(experiment.storage.root)}: no version of {experiment.name} yet; run `thaw train` first"
        )
    return versions[-1]
