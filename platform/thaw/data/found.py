"""Found: all that preparing knows of some images once they are examined and sifted, as columns.

It travels between processes, and the driver holds that of all images: a few hundred bytes each.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from thaw.config.experiment import AnnotationKind, Experiment
from thaw.data import facts
from thaw.data.check import Row
from thaw.data.labels import as_names
from thaw.data.listing import key
from thaw.data.sift import Aside, CheckedMask, Kept, Tallies, Tally, covered, said_of, shown_of, sift
from thaw.data.sources.contract import RawBoxes, RawLabel, Reference

SCHEMA = pa.schema(
    [
        *facts.SCHEMA,
        pa.field("key", pa.uint64()),
        pa.field("given", pa.string()),
        pa.field("group", pa.string()),
        pa.field("stratum", pa.string()),
        pa.field("labels", pa.string()),
    ]
)
"""`facts` of an image, without its split; ``given`` split and ``group`` as the source has them; ``stratum``, the class
whose share is kept in every part; ``labels`` of all tasks as JSON, which `labels_in` reads."""
_REST = b"rest"


@dataclass(frozen=True)
class Found:
    """What became of some images.

    Attributes:
        rows: the images that are kept, in the columns of `SCHEMA`.
        listed: how many images there were.
        names: task -> the class names that its labels say.
        rejected: the images that were set aside.
        set_aside: boxes and masks that were set aside, of images that may well be good.
        tallies: how many of them were set aside, and how many kept.
    """

    rows: pa.Table
    listed: int
    names: Mapping[str, frozenset[str]]
    rejected: Sequence[Aside]
    set_aside: Sequence[Aside]
    tallies: Tallies

    @classmethod
    def of(cls, experiment: Experiment, references: Sequence[Reference], checked: Iterable[Row]) -> Self:
        """Return what becomes of the images that a source names.

        Args:
            checked: what `check.examine` found, in any order.
        """
        sifted = sift(experiment, references, {fact["id"]: fact for fact in checked})
        kept, stratum = sifted.good.values(), experiment.stratified_task()
        names = {
            task: frozenset(name for one in kept for name in as_names(said_of(one.labels[task])))
            for task in experiment.tasks
        }
        rows = pa.Table.from_pylist([_row(experiment, one, stratum) for one in kept], SCHEMA)
        return cls(rows, len(references), names, sifted.rejected, sifted.set_aside, sifted.tallies)

    def packed(self) -> bytes:
        """Return it as a stream of Arrow's, to travel."""
        rest = {
            "listed": self.listed,
            "names": {task: sorted(names) for task, names in self.names.items()},
            "rejected": self.rejected,
            "set_aside": self.set_aside,
            "tallies": [[*of, tally.kept, tally.aside] for of, tally in self.tallies.items()],
        }
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, SCHEMA.with_metadata({_REST: json.dumps(rest)})) as stream:
            stream.write_table(self.rows)
        return bytes(buffer.getvalue())

    @classmethod
    def unpacked(cls, stream: bytes) -> Self:
        """Return what `packed` made the stream of."""
        rows = pa.ipc.open_stream(stream).read_all()
        rest = json.loads(rows.schema.metadata[_REST])
        tallies = {(task, things): Tally(kept, Counter(aside)) for task, things, kept, aside in rest.pop("tallies")}
        names = {task: frozenset(found) for task, found in rest.pop("names").items()}
        return cls(rows.replace_schema_metadata(None), names=names, tallies=tallies, **rest)


def joined(parts: Iterable[Found]) -> Found:
    """Return what became of the images of all parts, in the order of their keys; at least one part is needed."""
    first, *others = parts
    rejected, set_aside, tallies = list(first.rejected), list(first.set_aside), dict(first.tallies)
    names = {task: set(found) for task, found in first.names.items()}
    for part in others:
        rejected += part.rejected
        set_aside += part.set_aside
        _add(tallies, part.tallies)
        for task, found in part.names.items():
            names[task] |= found
    rows = pa.concat_tables([first.rows, *(part.rows for part in others)])
    order = pc.sort_indices(rows, [("key", "ascending"), ("id", "ascending")])
    listed = first.listed + sum(part.listed for part in others)
    every = {task: frozenset(found) for task, found in names.items()}
    return Found(rows.take(order).combine_chunks(), listed, every, rejected, set_aside, tallies)


def labels_in(text: str, kinds: Mapping[str, AnnotationKind]) -> dict[str, RawLabel | CheckedMask]:
    """Return the labels by task in a cell of ``labels``."""
    stored = json.loads(text)
    return {task: _label(stored[task], kind) for task, kind in kinds.items()}


def _label(value: Any, kind: AnnotationKind) -> RawLabel | CheckedMask:
    if value is None or isinstance(value, str):
        return value
    if kind == "boxes":
        return RawBoxes(tuple(map(tuple, value["boxes"])), tuple(value["names"]))
    if kind == "mask":
        names = {int(pixel): name for pixel, name in value["names"].items()}
        return CheckedMask(**value | {"names": names, "found": tuple(value["found"])})
    return tuple(value)


def _row(experiment: Experiment, one: Kept, stratum: str | None) -> Row:
    labels = {
        task: vars(label) if isinstance(label, RawBoxes | CheckedMask) else label for task, label in one.labels.items()
    }
    shown = ",".join(as_names(shown_of(one.labels[stratum]))) if stratum else ""
    return {
        **_fact(experiment, one),
        "key": key(one.reference.id),
        "given": one.reference.split,
        "group": one.reference.group,
        "stratum": shown or None,
        "labels": json.dumps(labels),
    }


def _fact(experiment: Experiment, one: Kept) -> Row:
    """Return one row of `facts`; which split it is of is decided later."""
    known = {name: one.fact[name] for name in ("sha256", "width", "height")}
    coverage = json.dumps(covered(experiment, one))
    return {"id": one.reference.id, "split": None, **known, **one.fact["measured"], "coverage": coverage}


def _add(tallies: Tallies, others: Mapping[tuple[str, str], Tally]) -> None:
    for of, tally in others.items():
        own = tallies.setdefault(of, Tally())
        own.kept += tally.kept
        own.aside.update(tally.aside)
