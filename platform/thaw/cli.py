"""The command line: one verb a stage, each the same function that its job under ``jobs/`` calls.

Progress goes to stderr, results to stdout; ``--json`` prints exactly one JSON object there. What a user can
mend ends with exit code 2 and one message, without a traceback.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import thaw
from thaw import catalog
from thaw.console import as_result
from thaw.errors import ThawError
from thaw.verbs.contract import Result, Verb

EXIT_MENDABLE = 2


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = parser().parse_args(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Ray tells of its errors on stdout, which is for results
            result: Result = options.verb(options)
    except ThawError as error:
        print(f"thaw: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_MENDABLE
    except KeyboardInterrupt:
        print("thaw: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    lines = [json.dumps(result.values, allow_nan=False)] if options.json else result.lines
    print("\n".join(map(as_result, lines)))  # noqa: T201
    return result.code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs, in the order of the seven steps."""
    whole = argparse.ArgumentParser(prog="thaw", description=str(thaw.__doc__).split("\n", 1)[0])
    whole.add_argument("--version", action="version", version=f"thaw {thaw.__version__}")
    verbs = whole.add_subparsers(metavar="VERB", required=True)
    for name, verb in sorted(_verbs(), key=lambda found: (found[1].STEP, found[0])):
        what = str(verb.__doc__).split("\n", 1)[0].rstrip(".")
        added = verbs.add_parser(name.replace("_", "-"), help=what[0].lower() + what[1:], description=what)
        added.set_defaults(verb=verb.run)
        added.add_argument("--json", action="store_true", help="print one JSON object")
        verb.add_arguments(added)
    return whole


def _verbs() -> Iterator[tuple[str, Verb]]:
    return ((name, cast(Verb, catalog.part("verbs", name))) for name in catalog.names("verbs"))
