"""folder: images in one folder per class, with or without train, val and test folders above them.

``path/<class>/a.jpg`` or ``path/train/<class>/a.jpg``. The class is offered in the column ``label``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

from thaw.data.files import Folder, is_picture, open_folder
from thaw.data.sources import contract
from thaw.data.sources.contract import Recognised, Reference, SourceOptions, Thing, as_text, given_split
from thaw.errors import DataError

COLUMN = "label"
_TABLES = (".csv", ".jsonl", ".json", ".yaml", ".yml")
_PARTS = re.compile(
    r"(jpeg)?images?|imgs?|photos|pictures|masks?|labels?|annotations?|imagesets|trimaps?|segmentation\w*", re.I
)
"""Names of folders that hold a part of each image, or all images, and not a class."""


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
        others = [top for top, split in splits.items() if not split]
        if others and len(set(splits.values()) - {None}) > 1 and self._hold_classes(splits):
            named = ", ".join(sorted(set(splits) - {*others}))
            raise DataError(
                f"data.source.path: {self._folder} has folders of splits ({named}) and others beside them "
                f"({', '.join(others[:8])}): classes cannot be told from splits; move the others away"
            )
        if splits and not others:
            for top, split in splits.items():
                yield from self._classes(top, split)
        else:
            yield from self._classes("", None)

    def _hold_classes(self, splits: Mapping[str, str | None]) -> bool:
        """Return whether folders that are named like splits hold folders, as those of classes do."""
        return all(self._folder.folders(top) for top, split in splits.items() if split)

    def _classes(self, folder: str, split: str | None) -> Iterator[Reference]:
        for label in self._folder.folders(folder):
            for file in self._folder.below(f"{folder}/{label}".lstrip("/")):
                yield Reference(as_text(file), {COLUMN: as_text(label)}, split)


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for class folders: at least two, which hold images and are not named like parts of images."""
    tops = folder.folders()
    splits = [name for name in tops if given_split(name)]
    whole = bool(tops) and len(splits) == len(tops)
    classes = sorted({label for part in (splits if whole else [""]) for label in folder.folders(part)})
    counts = {label: _pictures(folder, label, splits if whole else [""]) for label in classes}
    held = [label for label in classes if counts[label]]
    if len(held) < 2 or any(_PARTS.fullmatch(label) for label in held):
        return None
    tables = [name for name in folder.names() if name.lower().endswith(_TABLES)]
    odd = splits and not whole
    return Recognised(
        confidence=0.3 if tables or odd else 0.7,
        seen=f"{len(held)} class folders with {sum(counts.values())} images"
        + (f" in {', '.join(splits)}" if whole else ""),
        unsure=tuple(_unsure(folder, counts, [] if whole else splits, tables)),
    )


def _pictures(folder: Folder, label: str, parts: list[str]) -> int:
    return sum(is_picture(file) for part in parts for file in folder.below(f"{part}/{label}".lstrip("/")))


def _unsure(folder: Folder, counts: dict[str, int], splits: list[str], tables: list[str]) -> Iterator[str]:
    empty = [label for label, count in counts.items() if not count]
    loose = sum(is_picture(name) for name in folder.names())
    if empty:
        yield f"{_few(empty)} would be classes, and hold no image: their files will be set aside"
    if loose:
        yield f"images at the top lie in no class folder and are left out: {loose}"
    if splits:
        yield f"{_few(splits)} are taken for classes, because not all folders beside them are splits: move the others"
    if tables:
        yield f"{_few(tables)} beside the folders are not read"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
