"""folder: images in one folder per class, with or without train, val and test folders above them.

``path/<class>/a.jpg`` or ``path/train/<class>/a.jpg``. The class is offered in the column ``label``.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from thaw.data.files import Folder, open_folder
from thaw.data.sources import contract
from thaw.data.sources.contract import Reference, SourceOptions, Thing, as_text, given_split
from thaw.errors import DataError

COLUMN = "label"


class Options(SourceOptions):
    """A folder of class folders."""

    type: Literal["folder"]
    path: str
    """The folder, on a disk that every node reaches, or s3:// or gs://."""


class Source(contract.Source):
    """Every file below a class folder; what is no image is set aside when it is prepared."""

    options: Options

    def references(self) -> Iterator[Reference]:
        self._folder.check("")
        listed = self._listed()
        first = next(listed, None)
        if first is None:
            raise DataError(f"data.source.path: {self._folder} holds no image; put images into one folder per class")
        yield first
        yield from listed

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._folder.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - images are all there is
        return self._folder.stamps(ids)

    @cached_property
    def _folder(self) -> Folder:
        return open_folder(self.options.path)

    def _listed(self) -> Iterator[Reference]:
        splits = {top: given_split(top) for top in self._folder.folders()}
        if splits and all(splits.values()):
            for top, split in splits.items():
                yield from self._classes(top, split)
        else:
            yield from self._classes("", None)

    def _classes(self, folder: str, split: str | None) -> Iterator[Reference]:
        for label in self._folder.folders(folder):
            for file in self._folder.below(f"{folder}/{label}".lstrip("/")):
                yield Reference(as_text(file), {COLUMN: as_text(label)}, split)
