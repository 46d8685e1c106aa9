"""Look whether what a model is asked, and what it answers, is still like on its validation images."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("--days", type=arguments.count, default=7, help="last days that count, with today; 7")
    parser.add_argument(
        "--auc", type=arguments.positive, metavar="BOUND", help="above 0.5: from which on images have drifted; 0.65"
    )
    parser.add_argument(
        "--index", type=arguments.positive, metavar="BOUND", help="stability index from which on answers have; 0.2"
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from pydantic import ValidationError

    from thaw.backends.load import load_bundle
    from thaw.errors import ConfigError
    from thaw.registry import store
    from thaw.serving.watch.drift import drift, report
    from thaw.storage import open_root

    given = {name: value for name in ("auc", "index") if (value := getattr(options, name)) is not None}
    try:
        bounds = drift.Bounds.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None
    root = open_root(arguments.root(options))
    version = store.resolve(root, options.model)
    found = drift.find(root, version, load_bundle(root, version), options.days, bounds)
    path = report.publish(root, found)
    values = {**found.drift.model_dump(mode="json"), "drifted": found.drift.drifted, "report": path}
    lines = [*report.lines(found.drift), f"report    {root.shown(path)}"]
    return Result(values, lines, code=1 if found.drift.drifted else 0)
