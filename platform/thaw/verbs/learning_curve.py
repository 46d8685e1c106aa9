"""Say how many more images a target takes, from linear heads on growing parts of those there are."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        type=target,
        metavar="TASK=VALUE",
        help="what a task's best metric is to come to, such as breed=0.95; may be given for several tasks",
    )
    parser.add_argument(
        "--max-images",
        type=arguments.count,
        metavar="N",
        help="learn from at most so many training images, as if there were no others",
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.probe.curve import on_ray, wording
    from thaw.probe.curve.result import PAGE
    from thaw.storage import open_root

    experiment = arguments.experiment(options)
    found = on_ray.measure(experiment, dict(options.target), options.max_images)
    picture = f"{found.dataset}/{PAGE}"
    place = open_root(experiment.storage.root).shown(picture)
    return Result({**found.model_dump(mode="json"), "picture": picture}, [*wording.lines(found), f"picture   {place}"])


def target(text: str) -> tuple[str, float]:
    """Return a task and a value between 0 and 1, or refuse the argument."""
    task, _, value = text.partition("=")
    if not task or not 0 < float(value) < 1:
        raise ValueError(text)
    return task, float(value)
