"""Bring a model to another format, and register it if it answers as before."""

import argparse

from thaw import arguments
from thaw.verbs import _artifact
from thaw.verbs.contract import Result

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="onnx, openvino, program or executorch")
    parser.add_argument("--name", help="what to call the artifact; left out: after how it is made, such as onnx-int8")
    _smaller_arguments(parser.add_argument_group("smaller and faster"))
    gate = parser.add_argument_group("what it must hold to; exit code 1 where it does not")
    gate.add_argument(
        "--max-drop", type=float, default=0.005, help="largest fall of a task's metric; 0.005 when left out"
    )
    gate.add_argument(
        "--max-flips", type=float, default=0.02, help="largest share of decisions that differ; 0.02 when left out"
    )
    gate.add_argument(
        "--max-images", type=arguments.count, default=2000, metavar="N", help="judge by so many validation images"
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from pydantic import ValidationError

    from thaw.backends.artifact import Settings
    from thaw.errors import ConfigError
    from thaw.export import export
    from thaw.export.gate import Tolerance

    precision = "int8" if options.int8 else "fp16" if options.fp16 else "fp32"
    pruned = options.prune or options.sparse
    epochs = options.epochs if options.epochs is not None else 3 if pruned else 0
    try:
        settings = Settings(
            to=options.to, precision=precision, prune=options.prune, sparse=options.sparse, epochs=epochs
        )
        tolerance = Tolerance(drop=options.max_drop, flips=options.max_flips)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None
    request = export.Request(settings, tolerance, options.max_images, options.name)
    found = export.export(arguments.root(options), options.model, request)
    values = {"name": found.name, "path": found.path, "passed": found.verdict.passed, "artifact": found.told}
    state = "registered" if found.verdict.passed else "refused; the evidence is kept"
    lines = [
        *_artifact.lines(found.told),
        f"  {state}, judged by {found.verdict.images} validation images: {found.path}",
    ]
    return Result(values, lines, code=0 if found.verdict.passed else 1)


def _smaller_arguments(group: argparse._ArgumentGroup) -> None:
    precision = group.add_mutually_exclusive_group()
    precision.add_argument("--int8", action="store_true", help="compute in 8 bits, calibrated on validation images")
    precision.add_argument("--fp16", action="store_true", help="keep weights in 16 bits")
    group.add_argument("--prune", type=float, default=0.0, metavar="S", help="take away this share of the channels")
    group.add_argument(
        "--sparse", type=float, default=0.0, metavar="S", help="set this share of the weights to zero, and compress"
    )
    group.add_argument("--epochs", type=int, help="epochs of training after --prune or --sparse; 3 when left out")
