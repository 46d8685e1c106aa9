"""Suggest learning rates, from short trainings at rising ones."""

import argparse
from pathlib import Path

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)
    parser.add_argument("--steps", type=int, default=100, help="steps of each of the two sweeps (100)")
    parser.add_argument("--from", dest="low", metavar="RATE", type=float, default=1e-6, help="lowest rate (1e-6)")
    parser.add_argument("--to", dest="high", metavar="RATE", type=float, default=1.0, help="highest rate (1)")
    parser.add_argument("--out", metavar="PNG", help="also write the picture there")


def run(options: argparse.Namespace) -> Result:
    from thaw.storage import open_root
    from thaw.training.lr_find import on_ray
    from thaw.training.lr_find.finding import Range

    chosen = Range.checked(options.low, options.high, options.steps)
    experiment = arguments.experiment(options)
    found = on_ray.find(experiment, chosen, Path(options.out) if options.out else None)
    overrides = found.finding.overrides(found.depths)
    values = {
        "overrides": overrides,
        "warnings": found.finding.warnings(),
        "picture": found.picture,
        **found.finding.model_dump(mode="json"),
    }
    place = options.out or open_root(experiment.storage.root).shown(found.picture)
    return Result(values, [*found.finding.lines(), f"picture   {place}", "to train with these:", *overrides])
