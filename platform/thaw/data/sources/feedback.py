"""feedback: images that an endpoint was asked about, with what users said that they truly show.

An endpoint keeps them where ``serve.log.image`` is ``full``; a column is called as the task that was spoken of. Images
that nobody said anything of are left out, and so are those whose request id others have too: it may be said of any of
them; and pictures that were made small: a model would learn their blur.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property, lru_cache
from typing import Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from thaw.config.experiment import Name
from thaw.data import logged
from thaw.data.logged import Label, Span
from thaw.data.sources import contract
from thaw.data.sources.contract import RawBoxes, RawLabel, Reference, SourceOptions, Thing
from thaw.errors import DataError
from thaw.storage import MissingError, Root, open_root


class Options(SourceOptions):
    """What one model was asked, and was told afterwards."""

    type: Literal["feedback"]
    path: str
    """The storage root of the endpoint, that every node reaches."""
    model: Name
    """The model that answered."""
    since: date | None = None
    """First day that counts, such as 2026-11-01, in UTC; left out: as far back as anything is kept."""
    until: date | None = None
    """Last day that counts."""

    @model_validator(mode="after")
    def _begin_before_the_end(self) -> Self:
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"since {self.since} is after until {self.until}")
        return self


class Source(contract.Source):
    """Rows of the log; an id is a day, a file of that day and a row in it, which never change."""

    options: Options

    def references(self) -> Iterator[Reference]:
        said = logged.truths(self._root, self.options.model, self.options.since)
        for one in logged.shared(self._root, self.options.model, self._span, said):
            del said[one]
        tasks = sorted({task for one in said.values() for task in one})
        found, small = 0, 0
        for path, rows in logged.answers(self._root, self.options.model, self._span, ["request_id", "whole"]):
            for place, (request, whole) in enumerate(
                zip(*(column.to_pylist() for column in rows.columns), strict=True)
            ):
                if request in said and whole:
                    found += 1
                    yield Reference(f"{path.removeprefix(self._folder)}/{place}", _labels(said[request], tasks))
                small += request in said and not whole
        if not found:
            raise DataError(self._nothing(len(said), small))

    def read(self, image_id: str, most: int = -1) -> bytes:
        file, _, place = image_id.rpartition("/")
        images = _images(self._root, f"{self._folder}{file}") if file and place.isdecimal() else None
        if images is None or int(place) >= len(images):
            raise FileNotFoundError(2, "the log has no such image", image_id)
        content: bytes = images[int(place)].as_py() or b""
        return content if most < 0 else content[:most]

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - boxes come with the rows
        files = list(dict.fromkeys(one.rpartition("/")[0] for one in ids))
        found = dict(zip(files, self._root.stamps([f"{self._folder}{file}" for file in files]), strict=True))
        return [found[one.rpartition("/")[0]] for one in ids]

    @cached_property
    def _root(self) -> Root:
        return open_root(self.options.path)

    @property
    def _folder(self) -> str:
        return f"{logged.LOG}/{self.options.model}/"

    @property
    def _span(self) -> Span:
        return Span(self.options.since, self.options.until)

    def _nothing(self, said: int, small: int) -> str:
        where = f"data.source.path: {self._root.shown(self._folder)}"
        if small:
            return f"{where} holds small pictures alone of what was spoken of; set serve.log.image to full"
        if said:
            return f"{where} holds no image of the {said} answers that were spoken of; set serve.log.image to full"
        own = "of an answer with a request id of its own"
        return f"{where}: nobody has said {own} what would have been right; POST it to /feedback"


def _labels(said: Mapping[str, Label], tasks: Sequence[str]) -> dict[str, RawLabel]:
    return {task: _raw(said.get(task)) for task in tasks}


def _raw(label: Label | None) -> RawLabel:
    if isinstance(label, dict):
        return RawBoxes(tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in label["boxes"]), tuple(label["names"]))
    return label


@lru_cache(maxsize=4)
def _images(root: Root, path: str) -> pa.ChunkedArray:
    """Return the images of a file; those of one file are mostly asked for one after another.

    Raises:
        OSError: there is no such file, or it holds something else.
        StorageError: the store does not answer.
    """
    try:
        return pq.read_table(pa.BufferReader(root.read_bytes(path)), columns=["image"])["image"]
    except (MissingError, pa.ArrowInvalid, KeyError) as error:
        raise OSError(str(error)) from None
