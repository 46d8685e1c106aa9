"""Search depths, rates and other settings, and register the best as candidate."""

import argparse

from thaw import arguments
from thaw.metrics import summary
from thaw.verbs.contract import Result

STEP = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser, optional=True)
    parser.add_argument("--space", metavar="YAML", help="what to search, such as jobs/spaces/unfreeze.yaml")
    parser.add_argument(
        "--trials", type=arguments.count, metavar="N", help="trials in all, in place of the space's own number"
    )
    parser.add_argument(
        "--refit",
        action="store_const",
        const="train",
        help="train the best anew on the training images, to the end of its plan, and register that",
    )
    parser.add_argument(
        "--refit-on",
        dest="refit",
        choices=("train", "train+val"),
        help="the same; train+val: on the validation images too, for as many epochs as took the best trial to its best "
        "score, and then nothing but the test images says how good it is",
    )
    arguments.add_run(parser, "sweep")
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.errors import ConfigError
    from thaw.storage import open_root
    from thaw.tuning import on_ray, study, sweep, winner
    from thaw.tuning.report import table

    experiment = arguments.experiment(options) if options.experiment else None
    chosen = study.load(options.space) if options.space else None
    if options.trials:
        if chosen is None:
            raise ConfigError("--trials goes with --space: a sweep is continued with as many as it began with")
        chosen = chosen.model_copy(update={"search": chosen.search.model_copy(update={"trials": options.trials})})
    root, resume = open_root(arguments.root(options)), options.resume
    if options.run and sweep.exists(root, options.run):
        resume = options.run
    found = on_ray.search(experiment, chosen, arguments.root(options), resume, options.refit, options.run)
    number = str(found.record.bundle).removeprefix("models/")
    lines = [
        *table.lines(found.trials, list(found.sweep.study["dimensions"])),
        f"best        trial {found.best.number}; as an experiment: {root.shown(found.experiment)}",
        *([f"refit       {found.anew}"] if found.anew else []),
        f"test        {number}, now @{winner.CANDIDATE}, on {found.scores.images} {found.scores.split} images:",
        *summary.lines(found.scores.metrics),
        f"report      {root.shown(found.report)}",
        f"TensorBoard tensorboard --logdir {root.shown(found.sweep.path + '/tensorboard')}",
    ]
    values = {
        "sweep": found.sweep.model_dump(mode="json"),
        "trials": [one.model_dump(mode="json") for one in found.trials],
        "best": found.best.number,
        "run": found.record.id,
        "bundle": found.record.bundle,
        "scores": found.scores.model_dump(mode="json"),
        "experiment": found.experiment,
        "report": found.report,
        "anew": found.anew,
    }
    return Result(values, lines)
