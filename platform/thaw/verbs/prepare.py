"""Check the images and write them as Parquet shards."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.data import on_ray
    from thaw.storage import open_root

    experiment = arguments.experiment(options)
    prepared = on_ray.prepare(experiment)
    counts = ", ".join(f"{split} {prepared.rows(split)}" for split in prepared.splits)
    place = open_root(experiment.storage.root).shown(prepared.path)
    lines = [f"{place}: {counts}; {sum(prepared.report.rejected.values())} set aside"]
    for task, schema in prepared.labels.items():
        lines.append(f"  {task}: {len(schema.names)} classes, {prepared.report.labelled['train'][task]} labelled")
    return Result({"path": prepared.path, **prepared.model_dump(mode="json")}, lines)
