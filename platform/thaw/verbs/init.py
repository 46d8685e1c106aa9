"""Write an experiment for a folder of images that nobody has described."""

import argparse
from pathlib import Path

from thaw.verbs.contract import Result

STEP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder with images and labels, or s3://bucket/folder")
    parser.add_argument("--out", metavar="YAML", help="file to write; the experiment's name with .yaml when left out")
    parser.add_argument("--name", help="of the experiment; that of the folder when left out")
    parser.add_argument("--type", help="which source reads the folder, where several could")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def run(options: argparse.Namespace) -> Result:
    from thaw.starting import start

    if options.out:
        start.check_free(Path(options.out), options.force)
    started = start.start(options.folder, options.name, options.type)
    out = Path(options.out or f"{started.experiment.name}.yaml")
    start.write(started, out, options.force)
    values = {
        "experiment": str(out),
        "seen": started.seen,
        "assumed": list(started.assumed),
        "unsure": list(started.unsure),
        "settings": started.experiment.model_dump(mode="json"),
    }
    return Result(
        values, [f"{out}: {started.seen}", *start.lines(started), f"next: thaw preview {out}; thaw train {out}"]
    )
