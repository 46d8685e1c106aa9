"""Inspection on Ray: preparing, vectors, checks and pictures on all nodes; what is read and written here.

What is looked for stands in the checks beside this module.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray
from numpy.typing import NDArray

from thaw import on_ray
from thaw.config.experiment import Experiment, Limits
from thaw.console import say
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.visiting.on_ray import visit
from thaw.errors import ModelError
from thaw.inspection import checking, pictures, regroup, report
from thaw.inspection.finding import Finding
from thaw.inspection.gather import gather
from thaw.inspection.inspection import Inspection
from thaw.inspection.material import Material
from thaw.inspection.pictures import View
from thaw.inspection.regroup import Fixed
from thaw.page.pictures import Picture
from thaw.probe.vectors import on_ray as vectors
from thaw.storage import Root, open_root

_SAID = "--no-vectors"


@dataclass(frozen=True)
class Inspected:
    """An inspection, where its report lies in the storage root, and the split that was asked for."""

    inspection: Inspection
    report: str
    fixed: Fixed | None = None


def inspect(
    experiment: Experiment, allowed: Sequence[str] = (), with_vectors: bool = True, fix: str | None = None
) -> Inspected:
    """Look for what is wrong with an experiment's images, and write a report of it beside the shards.

    Args:
        allowed: gates that are let through, beside those of ``data.allow``.
        with_vectors: whether to compute what the backbone makes of every image. Where its weights cannot be had, the
            inspection goes on without.
        fix: a path or URI to write a split to that keeps copies of an image on one side; see `regroup.fix`.

    Raises:
        ThawError: the data or the cluster do not fit what is asked, or there is no gate of a name that is let through.
    """
    checking.refuse_unknown(experiment.data.allow, "data.allow")
    checking.refuse_unknown(tuple(allowed), "--allow")
    on_ray.check_shared(experiment.storage.root)
    if fix:
        on_ray.check_shared(fix, "--fix")
    root = open_root(experiment.storage.root)
    with on_ray.cluster(wait_s=experiment.cluster.wait_s):
        prepared = data.prepare(experiment)
        seen, without = _vectors(root, experiment, prepared) if with_vectors else (None, _SAID)
        material = gather(root, experiment, prepared, seen)
        over = [name for name in checking.names() if seen is None and checking.needs_vectors(name)]
        found = _checked(material, [name for name in checking.names() if name not in over])
        done = Inspection.of(prepared, found, (*experiment.data.allow, *allowed), over, without)
        place = report.publish(root, done, pictured(root, material, done.findings), _with_places(prepared))
        fixed = regroup.fix(material, fix) if fix else None
    return Inspected(done, place, fixed)


def _vectors(root: Root, experiment: Experiment, prepared: Dataset) -> tuple[NDArray[np.float32] | None, str | None]:
    """Return the vectors of all images; or none, and why."""
    try:
        return vectors.of_all(root, experiment, prepared), None
    except ModelError as error:
        say(f"warning: going on without vectors, so without the checks that need them: {error}")
        return None, str(error)


def _checked(material: Material, names: Sequence[str]) -> list[Finding]:
    """Run checks on all nodes, and return what they find in the order of their names."""
    if not names:
        return []
    shared, check = ray.put(material), ray.remote(_check)
    names_of = {check.remote(name, shared): name for name in names}
    found, left = dict[str, tuple[Finding, ...]](), list(names_of)
    try:
        while left:
            [done], left = ray.wait(left)
            with on_ray.plainly():
                found[names_of[done]] = ray.get(done)
            say(f"[{len(found)}/{len(names)}] {_told(names_of[done], found[names_of[done]])}")
    finally:
        for rest in left:
            ray.cancel(rest)
    return [one for name in names for one in found[name]]


def _check(name: str, material: Material) -> tuple[Finding, ...]:
    return checking.run(name, material)


def _told(name: str, found: Sequence[Finding]) -> str:
    """Return a line of progress."""
    return f"{name}: {', '.join(f'{one.level} {one.name}' for one in found) or 'nothing'}"


def pictured(root: Root, material: Material, findings: Sequence[Finding]) -> dict[View, Picture]:
    """Return small pictures of the images that findings show; none of those that were set aside."""
    labels = _with_places(material.prepared)
    rows = {image: row for row, image in enumerate(material.ids)}
    by_row: dict[int, list[View]] = defaultdict(list)
    for view in pictures.wanted(findings, labels):
        if view.image in rows:
            by_row[rows[view.image]].append(view)
    sizes = list(zip(material.facts["width"].to_pylist(), material.facts["height"].to_pylist(), strict=True))
    asked = {row: (sizes[row], views) for row, views in by_row.items()}
    see = functools.partial(_drawn, labels=labels, limits=material.experiment.data.limits)
    seen = visit(root, material.prepared, list(material.prepared.splits), asked, see, "drawing")
    return {view: picture for found in seen.values() for view, picture in found.items()}


def _with_places(prepared: Dataset) -> dict[str, LabelSchema]:
    """Return the classes of tasks with boxes or masks, which are drawn."""
    return {name: schema for name, schema in prepared.labels.items() if schema.kind in ("boxes", "mask")}


def _drawn(
    content: bytes,
    annotations: Mapping[str, Annotation],
    asked: tuple[tuple[int, int], Sequence[View]],
    labels: dict[str, LabelSchema],
    limits: Limits,
) -> dict[View, Picture]:
    """Draw an image: its size as it came, and views of it."""
    size, views = asked
    return dict(zip(views, pictures.draw(content, size, annotations, labels, views, limits), strict=True))
