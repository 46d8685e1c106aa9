"""Draw training images as the model is shown them, with their labels."""

import argparse
from pathlib import Path

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)
    parser.add_argument("--out", metavar="PNG", default="preview.png", help="file to write (preview.png)")
    parser.add_argument("--images", type=arguments.count, metavar="N", default=8, help="training images (8)")
    parser.add_argument("--views", type=arguments.count, metavar="N", default=5, help="changed views of each (5)")


def run(options: argparse.Namespace) -> Result:
    from thaw import overlay, preview
    from thaw.data import on_ray
    from thaw.storage import open_root

    experiment = arguments.experiment(options)
    prepared = on_ray.prepare(experiment)
    root = open_root(experiment.storage.root)
    shown = list(preview.shown(root, experiment, prepared, options.images, options.views))
    out = Path(options.out)
    preview.write(preview.sheet(shown, overlay.palette(prepared.labels)), out)
    values = {
        "picture": str(out),
        "images": [{"id": one.id, "views": [view.when for view in one.views]} for one in shown],
    }
    return Result(values, [f"{out}: {len(shown)} training images, unchanged and in their first {options.views} views"])
