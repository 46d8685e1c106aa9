"""Examined: what was found of images, kept in the storage root, so that none is looked at twice without need.

An interruption costs the pieces that were under way, and images that are added later cost themselves. What was found
counts as long as the source says that the files behind an image are the same, by their stamps; where it cannot say, and
where a file could not be read, the image is examined again. Pieces are Parquet files of JSON, named by the bits with
which the keys of their images begin. They hold what was found last, some hundred bytes an image, and may be removed
at any time.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from thaw.config.experiment import Experiment, Limits
from thaw.data import check, cut, facts
from thaw.data.check import Question, Row
from thaw.data.sources.contract import RawMask, Source, UnreadBoxes
from thaw.errors import StorageError
from thaw.storage import Root

_SCHEMA = pa.schema({"mark": pa.string(), "fact": pa.string()})
_ENDING = ".parquet"


@dataclass(frozen=True)
class Shelf:
    """What is kept of one source's images; plain data.

    Attributes:
        path: of the folder, below the root.
        kept: bits of the pieces that are there.
    """

    root: Root
    path: str
    kept: tuple[str, ...]

    @classmethod
    def of(cls, root: Root, experiment: Experiment) -> "Shelf":
        """Return the shelf of an experiment: of its source, and of all that decides what is found beside the files."""
        tasks = experiment.tasks.items()
        columns = sorted({experiment.column(name) for name, task in tasks if task.annotation in check.PICTURED})
        source, limits = experiment.data.source.model_dump(mode="json"), experiment.data.limits.model_dump()
        asked = json.dumps([facts.VERSION, str(facts.SCHEMA), source, columns, limits], sort_keys=True)
        path = f"examined/{experiment.data.source.type}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
        return cls(root, path, tuple(name.removesuffix(_ENDING).removeprefix("piece") for name in root.list(path)))

    def facts(self, bits: str, source: Source, asked: Sequence[Question], limits: Limits) -> list[Row]:
        """Return what is found of a piece's images, as `check.examine` has it, and keep it."""
        marks = _marks(source, asked)
        known = self._known(bits)
        new = [one for one, mark in zip(asked, marks, strict=True) if mark is None or mark not in known]
        found = {fact["id"]: fact for fact in check.examine(source, new, limits)}
        rows = [found.get(one.id) or known[mark] for one, mark in zip(asked, marks, strict=True)]  # type: ignore[index]
        if new or [kept for kept in self.kept if cut.overlap(kept, bits)] != [bits]:
            self._keep(bits, {mark: row for mark, row in zip(marks, rows, strict=True) if mark and _lasts(row)})
        return rows

    def forget(self, keys: Sequence[int]) -> None:
        """Remove the pieces that images with these keys are in."""
        every = {cut.bits_of(key) for key in keys}
        for bits in self.kept:
            if any(cut.overlap(bits, one) for one in every):
                self.root.remove(self._file(bits))

    def tidy(self, bits: Sequence[str]) -> None:
        """Remove all pieces but these."""
        for other in set(self.kept) - set(bits):
            self.root.remove(self._file(other))

    def _known(self, bits: str) -> dict[str, Row]:
        """Return what is kept of images that may be of a piece, by their marks."""
        known: dict[str, Row] = {}
        for kept in self.kept:
            if cut.overlap(kept, bits):
                known.update(self._read(kept))
        return known

    def _read(self, bits: str) -> Iterator[tuple[str, Row]]:
        try:
            table = pq.read_table(pa.BufferReader(self.root.read_bytes(self._file(bits))))
            pairs = zip(table["mark"].to_pylist(), table["fact"].to_pylist(), strict=True)
            yield from ((mark, json.loads(fact)) for mark, fact in pairs)
        except (StorageError, pa.ArrowException, KeyError, ValueError):
            return  # removed meanwhile, or no piece at all: it is only a memory

    def _keep(self, bits: str, rows: Mapping[str, Row]) -> None:
        buffer, texts = io.BytesIO(), [json.dumps(row) for row in rows.values()]
        pq.write_table(pa.table({"mark": list(rows), "fact": texts}, _SCHEMA), buffer, compression="zstd")
        self.root.write_bytes(self._file(bits), buffer.getvalue())

    def _file(self, bits: str) -> str:
        return f"{self.path}/piece{bits}{_ENDING}"


def _marks(source: Source, asked: Sequence[Question]) -> list[str | None]:
    """Return for each image a hash of what is asked and of the stamps of its files; None where one has no stamp."""
    boxes = [label.id for one in asked for label in one.labels.values() if isinstance(label, UnreadBoxes)]
    masks = [label.id for one in asked for label in one.labels.values() if isinstance(label, RawMask)]
    stamps = {
        "image": source.stamps([one.id for one in asked], "image"),
        "boxes": source.stamps(boxes, "boxes"),
        "mask": source.stamps(masks, "mask"),
    }
    taken = {kind: iter(found) for kind, found in stamps.items()}
    return [_mark(one, taken) for one in asked]


def _mark(one: Question, stamps: Mapping[str, Iterator[str | None]]) -> str | None:
    unread = [label for label in one.labels.values() if isinstance(label, UnreadBoxes | RawMask)]
    kinds = ["image", *("mask" if isinstance(label, RawMask) else "boxes" for label in unread)]
    mine = [next(stamps[kind]) for kind in kinds]
    if None in mine:
        return None
    return hashlib.sha256(json.dumps([one.model_dump(), mine], sort_keys=True).encode()).hexdigest()[:32]


def _lasts(row: Row) -> bool:
    """Return whether what was found will be found again: what could not be read may be there the next time."""
    reasons = [row["reason"], *(bad["reason"] for bad in row["set_aside"])]
    return not any(reason and reason.endswith("unreadable") for reason in reasons)
