"""folder: images in one folder per class, with or without train, val and test folders above them.

``path/<class>/a.jpg`` or ``path/train/<class>/a.jpg``. The class is offered in the column ``label``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from thaw.data.sources import contract
from thaw.data.sources._files import stamps
from thaw.data.sources.contract import Reference, SourceOptions, Thing, as_text, given_split
from thaw.errors import DataError

COLUMN = "label"


class Options(SourceOptions):
    """A folder of class folders."""

    type: Literal["folder"]
    path: str
    """The folder, on a disk that every node reaches."""


class Source(contract.Source):
    """Every file below a class folder; what is no image is set aside when it is prepared."""

    def references(self) -> Iterator[Reference]:
        root = Path(self.options.path)
        if not root.is_dir():
            raise DataError(f"data.source.path: {root} is not a folder that this node can read")
        listed = self._listed(root)
        first = next(listed, None)
        if first is None:
            raise DataError(f"data.source.path: {root} holds no image; put images into one folder per class")
        yield first
        yield from listed

    def open(self, image_id: str) -> BinaryIO:
        return (Path(self.options.path) / image_id).open("rb")

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - images are all there is
        return stamps(Path(self.options.path), ids)

    def _listed(self, root: Path) -> Iterator[Reference]:
        tops = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        splits = {top: given_split(top.name) for top in tops}
        if tops and all(splits.values()):
            for top, split in splits.items():
                yield from self._classes(root, top, split)
        else:
            yield from self._classes(root, root, None)

    def _classes(self, root: Path, folder: Path, split: str | None) -> Iterator[Reference]:
        for label in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
            for file in sorted(file for file in label.rglob("*") if file.is_file()):
                if not any(part.startswith(".") for part in file.relative_to(label).parts):
                    yield Reference(as_text(file.relative_to(root).as_posix()), {COLUMN: as_text(label.name)}, split)
