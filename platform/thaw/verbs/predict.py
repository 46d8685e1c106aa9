"""Answer for image files, or for all images of a folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.predictor import Answers

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("images", nargs="+", help="image files; with --out: one folder, s3:// or gs://")
    parser.add_argument("--overlay", metavar="FOLDER", help="also draw the answers on each image, as a PNG there")
    parser.add_argument(
        "--out",
        metavar="URI",
        help="answer all images of a folder on the cluster, and write Parquet files there; what an earlier call with "
        "the same model has written of the same images is left as it is",
    )
    parser.add_argument("--batch", type=arguments.count, default=32, help="with --out: images in a forward pass; 32")
    parser.add_argument(
        "--cpus", type=arguments.count, default=1, help="with --out: CPUs, and threads that decode, of each process; 1"
    )
    parser.add_argument(
        "--gpus", type=arguments.share, default=0.0, help="with --out: GPUs of each process, up to 1; 0 is on CPUs"
    )
    parser.add_argument(
        "--max-refused",
        type=arguments.share,
        default=1.0,
        metavar="SHARE",
        help="with --out: end with code 1 where more of the images are unusable; 1",
    )
    arguments.add_artifact(parser)
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    return _folder(options) if options.out else _files(options)


def _folder(options: argparse.Namespace) -> Result:
    from thaw.errors import ConfigError
    from thaw.evaluation.predicting import on_ray
    from thaw.evaluation.predicting.on_ray import Processes

    if len(options.images) > 1 or options.overlay:
        raise ConfigError("--out goes with one folder of images, and without --overlay")
    processes = Processes(options.cpus, options.gpus, options.batch)
    [folder] = options.images
    found = on_ray.predict(arguments.root(options), options.model, folder, options.out, processes, options.artifact)
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.refused.items())
    lines = [
        f"{found.model} answered {found.images - sum(found.refused.values())} of {found.images} images: {found.out}",
        f"refused {sum(found.refused.values())} ({reasons})" if found.refused else "refused none",
        f"{found.parts} parts, {found.parts_kept} of them from before; {found.passed_over} other files passed over",
    ]
    return Result(found.model_dump(mode="json"), lines, code=int(found.share_refused > options.max_refused))


def _files(options: argparse.Namespace) -> Result:
    from thaw.config.experiment import Limits
    from thaw.evaluation.predict import predict
    from thaw.predictor import as_json

    folder = Path(options.overlay) if options.overlay else None
    images = [Path(image) for image in options.images]
    found = predict(arguments.root(options), options.model, images, Limits(), folder, options.artifact)
    answers = {image: as_json(answer) for image, answer in found.answers.items()}
    lines = []
    for image, answer in found.answers.items():
        drawn = [f"  {found.overlays[image]}"] if folder else []
        lines += [f"{image}: {_brief(answer)}", *drawn]
    lines += [f"{image}: refused: {reason}" for image, reason in found.refused.items()]
    told = {"model": options.model, "artifact": options.artifact}
    values = {**told, "answers": answers, "refused": found.refused, "overlays": found.overlays}
    return Result(values, lines)


def _brief(answers: "Answers") -> str:
    """Return the answers to one image on one line."""
    return "  ".join(
        f"{task}: {', '.join(f'{name} {word}' for name, word in one.summary().items()) or '-'}"
        for task, one in answers.items()
    )
