"""Fine-tune, and register the best checkpoint."""

import argparse

from thaw import arguments
from thaw.metrics import summary
from thaw.verbs.contract import Result

STEP = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser, optional=True)
    arguments.add_run(parser, "run")
    parser.add_argument(
        "--compare-single",
        action="store_true",
        help="then train each task alone with the same plan, and tell which tasks lose by sharing the backbone",
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.registry import record as records
    from thaw.storage import open_root
    from thaw.training import run

    root, resume = open_root(arguments.root(options)), options.resume
    if options.run and records.exists(root, options.run):
        resume = options.run
    if resume:
        asked = arguments.experiment(options) if options.experiment else None
        experiment = run.resumed(root, resume, asked)
    else:
        experiment = arguments.experiment(options)
    from thaw.training import on_ray, transfer

    if options.compare_single:
        transfer.check(experiment)
    record = on_ray.train(experiment, resume=resume, run_id=options.run)
    compared = on_ray.compare_single(experiment, record) if options.compare_single else []
    best = "best on validation:" if "val" in record.metrics else "measured on no image yet: run `thaw evaluate`"
    lines = [
        f"run {record.id}: {record.epochs_run} epochs in {record.wall_s:.0f} s; {best}",
        *summary.lines(record.metrics.get("val", {})),
        f"bundle      {root.shown(str(record.bundle))}",
        f"report      {root.shown(f'runs/{record.id}/report.html')}",
        f"TensorBoard tensorboard --logdir {root.shown(f'runs/{record.id}')}",
    ]
    if compared:
        lines += ["each task alone, with the same plan on the same images:", *transfer.lines(compared, record.wall_s)]
    values = {**record.model_dump(mode="json"), "alone": [one.model_dump() for one in compared]}
    return Result(values, lines)
