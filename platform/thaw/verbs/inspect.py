"""Look for what is wrong with the images: copies, wrong labels, faulty files, drift."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.inspection.inspection import Inspection
    from thaw.inspection.on_ray import Inspected

STEP = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_experiment(parser)
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="GATE",
        help="let a gate through by its name, such as copies_across_splits; may be given several times",
    )
    parser.add_argument(
        "--no-vectors",
        action="store_true",
        help="do without what the backbone makes of the images, and without the checks that need it: quicker",
    )
    parser.add_argument(
        "--fix",
        metavar="FILE",
        help="write a split that keeps copies of an image on one side, for data.split.file",
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.inspection import on_ray
    from thaw.storage import open_root

    experiment = arguments.experiment(options)
    found = on_ray.inspect(experiment, options.allow, not options.no_vectors, options.fix)
    return result(found, open_root(experiment.storage.root).shown(found.report))


def result(found: "Inspected", report: str) -> Result:
    """Return what an inspection comes to: code 1 where a gate fails that was not let through.

    Args:
        report: where it lies, as a person may open it.
    """
    values = {**found.inspection.model_dump(mode="json"), "report": found.report}
    lines = [*_lines(found.inspection), f"report    {report}"]
    if found.fixed:
        values["fixed"] = {"file": found.fixed.file, "moved": dict(found.fixed.moved)}
        lines += [f"split     {line}" for line in found.fixed.lines]
    return Result(values, lines, code=1 if found.inspection.failed else 0)


def _lines(inspection: "Inspection") -> Iterator[str]:
    """Yield what was found for a person: gates and warnings in full, notes by name."""
    yield inspection.sentence
    for one in inspection.of_level("gate"):
        through = " (let through)" if one.name in inspection.let_through else ""
        yield f"gate      {one.name}{through}: {one.told}"
        yield f"          {one.advice}"
    for one in inspection.of_level("warning"):
        yield f"warning   {one.name}: {one.told}"
    notes = dict.fromkeys(one.name for one in inspection.of_level("note"))
    if notes:
        yield f"notes     {len(inspection.of_level('note'))}: {', '.join(notes)}"
    if inspection.passed_over:
        yield f"passed over for want of vectors: {', '.join(inspection.passed_over)}"
