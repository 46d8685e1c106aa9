"""Point an alias at a version."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME/version or NAME@alias")
    parser.add_argument("alias", nargs="?", default="champion")
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.registry import store
    from thaw.serving import audit
    from thaw.storage import open_root

    root = open_root(arguments.root(options))
    found = store.resolve(root, options.model)
    before = store.set_alias(root, found.name, options.alias, found.version)
    audit.note("promote", audit.user(), model=found.name, alias=options.alias, version=found.version, before=before)
    told = {"model": found.name, "alias": options.alias, "version": found.version, "before": before}
    was = f" (was {before})" if before else ""
    return Result(told, [f"{found.name}@{options.alias} is now version {found.version}{was}"])
