"""Print the JSON Schema of an experiment."""

import argparse
import json

from thaw.verbs.contract import Result

STEP = 4


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    pass


def run(_options: argparse.Namespace) -> Result:
    from thaw.config import load

    schema = load.schema()
    return Result(schema, [json.dumps(schema, indent=2)])
