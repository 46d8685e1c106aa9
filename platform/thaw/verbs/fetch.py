"""Download a well-known data set by its name, ready for `thaw init`."""

import argparse
from pathlib import Path

from thaw.verbs.contract import Result

STEP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="such as oxford-pets or flowers; left out: all names are listed")
    parser.add_argument("--out", metavar="FOLDER", help="where it is unpacked; a folder of its name when left out")


def run(options: argparse.Namespace) -> Result:
    from thaw.starting import public

    if options.name is None:
        return _listed()
    found = public.fetch(options.name, Path(options.out or options.name))
    chosen = public.known(options.name)
    values = {
        "folder": str(found.folder),
        "images": found.images,
        "seen": chosen.seen,
        "page": chosen.page,
        "note": chosen.note,
    }
    lines = [
        f"{found.folder}: {chosen.seen}",
        f"how it may be used: {chosen.page}",
        *([f"note: {chosen.note}"] if chosen.note else []),
        f"next: thaw init {found.folder}",
    ]
    return Result(values, lines)


def _listed() -> Result:
    from thaw.starting.public import SETS

    values = {name: {"seen": one.seen, "page": one.page, "gb": one.needs} for name, one in SETS.items()}
    width = max(map(len, SETS))
    return Result(
        {"sets": values}, [f"{name:{width}}  {one.seen}; about {one.needs:g} GB" for name, one in SETS.items()]
    )
