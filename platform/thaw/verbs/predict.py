"""Answer for image files."""

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
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--overlay", metavar="FOLDER", help="also draw the answers on each image, as a PNG there")
    arguments.add_artifact(parser)
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
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
