"""yolo: images beside text files with a line a box, as the YOLO family of tools reads them.

A ``data.yaml`` with ``names`` and folders or lists of images for ``train``, ``val`` and ``test``; or, without one,
``images``, whose folders have a split where a word of their name says one, as in ``images/val2017``. The boxes of
``images/train/a.jpg`` are in ``labels/train/a.txt``: class number, then centre x, centre y, width and height as
shares of the upright image. They are offered in the column ``boxes``. As those tools have it, an image without a text
file has no boxes; it is not an image without a label.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml

from thaw.data.files import Folder, is_picture, located, open_folder
from thaw.data.sources import contract
from thaw.data.sources._paths import check_inside, read_boxes
from thaw.data.sources.contract import (
    BadLabel,
    RawBoxes,
    Recognised,
    Reference,
    SourceOptions,
    Thing,
    UnreadBoxes,
    as_text,
    split_in,
)
from thaw.errors import DataError

COLUMN = "boxes"
_SPLITS = ("train", "val", "test")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Options(SourceOptions):
    """A folder in the layout of the YOLO family."""

    type: Literal["yolo"]
    path: str
    """The folder with data.yaml or images and labels, or a .yaml file, on a disk that every node reaches, or
    s3:// or gs://."""
    names: tuple[str, ...] | None = None
    """The class names by number, where no .yaml file says them; left out there too, the numbers are the names."""


class Source(contract.Source):
    """Every file of the folders or lists; what is no image is set aside when it is prepared."""

    options: Options

    def references(self) -> Iterator[Reference]:
        self._names()  # names that are none are said here, not once an image
        texts: dict[str, set[str]] = {}
        some_text, empty = False, True
        for file, split in self._images_listed():
            empty = False
            place = as_text(file)
            text = text_of(place)
            folder, _, name = text.rpartition("/")
            if folder not in texts:
                texts[folder] = set(self._base.names(folder))
            some_text = some_text or name in texts[folder]
            yield Reference(place, {COLUMN: UnreadBoxes(text) if name in texts[folder] else RawBoxes((), ())}, split)
        if empty or not some_text:
            what = "an image" if empty else "a text file with boxes for any image"
            raise DataError(f"data.source.path: {self.options.path} does not lead to {what}; see images/ and labels/")

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._base.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:
        found = self._base.stamps(ids)
        if of == "image":
            return found
        named = self._names()  # a line has the number of a class, and the .yaml file its name
        return [one and f"{one} {named}" for one in found]

    def boxes(self, boxes_id: str, width: int, height: int) -> RawBoxes:
        names = self._names()
        lines = read_boxes(self._base, boxes_id).decode("utf-8", "replace").splitlines()
        found = [
            _box(line.split(), names, f"{boxes_id}:{at}") for at, line in enumerate(lines, start=1) if line.strip()
        ]
        boxes = tuple((x0 * width, y0 * height, x1 * width, y1 * height) for (x0, y0, x1, y1), _ in found)
        return RawBoxes(boxes, tuple(name for _, name in found))

    @cached_property
    def _yaml(self) -> tuple[Folder, str]:
        """The folder of the .yaml file, and its name; an empty one where there is none."""
        folder, name = located(self.options.path)
        found = [one for one in ("data.yaml", "data.yml") if not name and folder.is_file(one)]
        return folder, name or (found[0] if found else "")

    @cached_property
    def said(self) -> Mapping[str, Any]:
        """What the .yaml file says; nothing where there is none."""
        folder, name = self._yaml
        if not name:
            return {}
        try:
            said = yaml.safe_load(folder.read(name).decode("utf-8"))
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise DataError(f"data.source.path: {name} cannot be read as YAML: {error}") from None
        if not isinstance(said, dict):
            raise DataError(f"data.source.path: {name} holds {type(said).__name__}, not names and folders")
        return said

    @cached_property
    def _base(self) -> Folder:
        """The folder that images are relative to: ``path`` in the .yaml file where it exists, else its own.

        Raises:
            DataError: ``path`` leads out of the folder of the .yaml file.
        """
        folder, name = self._yaml
        said = self.said.get("path")
        own = folder.root.path_of("")
        place = posixpath.normpath(posixpath.join(own, _word(said, "path") if said else ""))
        if place == own or place.startswith(f"{own}/"):
            inner = place.removeprefix(own).lstrip("/")
            return folder.at(inner) if inner and folder.is_folder(inner) else folder
        if folder.root.is_local and open_folder(place).is_folder(""):
            raise DataError(
                f"data.source.path: path in {name} is {said!r}, which leaves its folder; take path out, or put "
                "the file into the folder of the images"
            )
        return folder

    def _names(self) -> Mapping[int, str] | None:
        """Return the class names by number, or None where nobody says them."""
        said = self.said.get("names", self.options.names)
        if said is None:
            return None
        pairs = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list | tuple) else ()
        names = {_number(number): _word(name, "names") for number, name in pairs}
        if not names:
            raise DataError("data.source.path: names in the .yaml file is no list of class names, nor one by number")
        return names

    def _images_listed(self) -> Iterator[tuple[str, str | None]]:
        """Yield every image with its split."""
        base, said = self._base, self.said
        entries: list[tuple[str | None, str]] = [
            (split, one) for split in _SPLITS for one in _as_list(said.get(split), split)
        ]
        if not entries:
            yield from self._in_folders(base.check("images"))
        for split, entry in entries:
            place = check_inside(_trimmed(base, entry), "data.source.path")
            if base.is_file(place):
                lines = base.read(place).decode("utf-8").splitlines()
                listed = (check_inside(line.strip().removeprefix("./"), place) for line in lines if line.strip())
                yield from ((PurePosixPath(line).as_posix(), split) for line in listed)
            else:
                yield from ((file, split) for file in _pictures(base, base.check(place)))

    def _in_folders(self, images: str) -> Iterator[tuple[str, str | None]]:
        """Yield every image below a folder, with the split that the name of the folder right below it says, if so."""
        for name in self._base.folders(images):
            yield from ((file, split_in(name)) for file in _pictures(self._base, f"{images}/{name}"))
        yield from ((f"{images}/{name}", None) for name in self._base.names(images) if _is_picture(name))


def _pictures(base: Folder, folder: str) -> Iterator[str]:
    return (file for file in base.below(folder) if _is_picture(file))


def _is_picture(name: str) -> bool:
    return not name.endswith((".txt", ".cache"))


def _as_list(entry: Any, place: str) -> list[str]:
    return [] if entry is None else [_word(one, place) for one in (entry if isinstance(entry, list) else [entry])]


def _word(value: Any, place: str) -> str:
    """Return text or a number as text. Nothing else: a few aliases can make a value whose text fills the memory."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        said = "a yes or no" if isinstance(value, bool) else f"a value of type {type(value).__name__}"
        raise DataError(
            f"data.source.path: {place} in the .yaml file holds {said}; text or whole numbers are allowed, put others "
            "in quotes"
        )
    return str(value)


def _number(value: Any) -> int:
    """Return the number of a class, which may be in quotes."""
    word = _word(value, "names")
    if not _NUMBER.fullmatch(word):
        raise DataError(
            f"data.source.path: names in the .yaml file gives a class the number {word[:20]!r}; count from 0"
        )
    return int(word)


def _trimmed(base: Folder, entry: str) -> str:
    """Return a folder without the ``../`` that some tools write for one that lies beside the .yaml file."""
    rest = entry.removeprefix("../")
    return rest if rest != entry and (base.is_folder(rest) or base.is_file(rest)) else entry


def text_of(image: str) -> str:
    """Return where the boxes of an image are: the last folder ``images`` on its way becomes ``labels``."""
    path = PurePosixPath(image)
    parts = list(path.with_suffix(".txt").parts)
    places = [at for at, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return PurePosixPath(*parts).as_posix()


def _box(cells: list[str], names: Mapping[int, str] | None, place: str) -> tuple[tuple[float, ...], str]:
    """Return the edges of a box, as shares of the image, and its class name."""
    try:
        number, (x, y, width, height) = int(cells[0]), map(float, cells[1:])
    except ValueError:
        detail = f"{place}: {len(cells)} cells are no class number with centre x, centre y, width and height"
        raise BadLabel("boxes_unreadable", detail) from None
    if names is not None and number not in names:
        raise BadLabel("boxes_unreadable", f"{place}: class {number} is not among the {len(names)} names")
    edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return edges, str(number) if names is None else names[number]


_LISTS = ("classes.txt", "labels/classes.txt", "obj.names", "names.txt")
"""Where some tools write the class names, one a line."""
_TRIED = 20
"""Text files that are opened to see whether they hold boxes."""


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for a .yaml file with names and folders, or for images and labels beside each other.

    Raises:
        DataError: a .yaml file leads nowhere, or the text files hold outlines and not boxes.
    """
    for name in [one for one in folder.names() if one.endswith((".yaml", ".yml"))]:
        source = Source(Options(type="yolo", path=folder.root.uri_of(name)))
        if _is_described(source):
            listed = list(source.references())
            labels = [one.labels[COLUMN] for one in listed]
            _check_boxes(folder, [label.id for label in labels if isinstance(label, UnreadBoxes)])
            alone = name in ("data.yaml", "data.yml")
            return Recognised(
                0.95, f"{name} with the names and folders of {len(listed)} images", {}, "" if alone else name
            )
    if not {"images", "labels"} <= set(folder.folders()):
        return None
    images = [file for file in folder.below("images") if is_picture(file)]
    texts = set(folder.below("labels"))
    boxes = [text_of(file) for file in images if text_of(file) in texts]
    return _of_folders(folder, images, boxes) if boxes else None


def _is_described(source: Source) -> bool:
    """Return whether a .yaml file says class names and where images are; many others may lie beside images."""
    try:
        return "names" in source.said and any(split in source.said for split in _SPLITS)
    except DataError:
        return False


def _of_folders(folder: Folder, images: list[str], boxes: list[str]) -> Recognised:
    _check_boxes(folder, boxes)
    found = next((name for name in _LISTS if folder.is_file(name)), None)
    names = [line.strip() for line in folder.read(found).decode("utf-8", "replace").splitlines()] if found else []
    kept = [name for name in names if name]
    without = len(images) - len(boxes)
    unsure = (
        [f"images without a text file count as images in which nothing is: {without} of {len(images)}"]
        if without
        else []
    )
    if not kept:
        unsure.append(f"what the classes are called: neither data.yaml nor {' nor '.join(_LISTS)} says it; set names")
    return Recognised(
        confidence=0.85,
        seen=f"{len(images)} images in images/ and boxes of {len(boxes)} of them in labels/",
        options={"names": kept} if kept else {},
        assumed=(f"{found} holds the class names by number",) if kept else (),
        unsure=tuple(unsure),
    )


def _check_boxes(folder: Folder, texts: list[str]) -> None:
    """Refuse text files of which the first ones hold outlines."""
    for text in texts[:_TRIED]:
        lines = folder.read(text, 4096).decode("utf-8", "replace").splitlines()
        if any(len(line.split()) > 6 for line in lines[:-1] or lines):
            raise DataError(f"{folder.shown(text)} and others hold outlines of things; only boxes are read")
