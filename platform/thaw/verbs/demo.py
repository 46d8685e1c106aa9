"""The whole road at once, from images to an answer over HTTP."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw import demo

    values, lines = demo.run(arguments.experiment(options))
    return Result(values, lines)
