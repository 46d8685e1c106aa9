"""Look for what is wrong with a cluster, before work is spent on it."""

import argparse
import os

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser, optional=True)
    parser.add_argument(
        "--address", help="HOST:PORT of the cluster's head, or auto; RAY_ADDRESS, or Ray on this machine, when left out"
    )
    parser.add_argument(
        "--no-training",
        action="store_true",
        help="do without the self-test, in which several workers must learn what one worker learns: quicker",
    )
    parser.add_argument(
        "--plant-bug",
        choices=("gradients", "shares"),
        help="break the self-test on purpose, to see it caught: gradients are not averaged over the workers, or all "
        "learn from the same share of each batch",
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.errors import ConfigError

    if options.address and "://" in options.address:
        raise ConfigError(
            f"--address {options.address}: that is a dashboard; give HOST:PORT of the head, or run it there as a job: "
            f"`thaw submit --address {options.address} doctor`"
        )
    if options.address:
        os.environ["RAY_ADDRESS"] = options.address
    from thaw.doctor import on_ray, report
    from thaw.doctor.on_ray import Question

    model = arguments.experiment(options).model if options.experiment else None
    question = Question(arguments.root(options), model, not options.no_training, options.plant_bug)
    found = report.findings(on_ray.examine(question))
    return Result(report.values(found), report.lines(found), code=1 if report.failed(found) else 0)
