"""voc: Pascal VOC, an XML file with boxes for every image.

``JPEGImages/a.jpg``, ``Annotations/a.xml`` and, for the split, ``ImageSets/Main/{train,val,test}.txt`` with one name
a line, or one name and VOC's -1, 0 or 1; an image in none of them has no stated split. The boxes are offered in the
column ``boxes``; an image without an XML file has no label, one whose file names no object has no boxes. Objects
marked difficult or truncated are boxes like others; parts of objects are not read.

``xmin, ymin, xmax, ymax`` are taken as the edges of the box, as written, in pixels from 0. VOC's own pixels count from
1 and include the last one, but most tools that write its XML do not, and conversions to COCO keep the numbers: so the
same data gives the same boxes here and there. A set that does count from 1 comes out at most one pixel small.
"""

import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from thaw.data.sources import contract
from thaw.data.sources._files import below, check_folder, stamps
from thaw.data.sources.contract import BadLabel, RawBoxes, Reference, SourceOptions, Thing, UnreadBoxes, as_text
from thaw.errors import DataError

COLUMN = "boxes"
_SPLITS = ("train", "val", "test")
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_FLAG = re.compile(r"\s+(-1|0|1)$")  # of one class: absent, hard to tell, there


class Options(SourceOptions):
    """A folder in the layout of Pascal VOC."""

    type: Literal["voc"]
    path: str
    """The folder that holds Annotations and JPEGImages, on a disk that every node reaches."""


class Source(contract.Source):
    """Every file in JPEGImages; what is no image is set aside when it is prepared. No XML is read to list them."""

    options: Options

    def references(self) -> Iterator[Reference]:
        images, annotations = (check_folder(self._root() / name) for name in ("JPEGImages", "Annotations"))
        described = {file.stem for file in annotations.glob("*.xml")}
        files = list(below(images))
        if not files:
            raise DataError(f"data.source.path: {images} holds no image")
        splits = dict(self._splits({file.stem for file in files}))
        for file in files:
            label = UnreadBoxes(as_text(f"Annotations/{file.stem}.xml")) if file.stem in described else None
            place = as_text(file.relative_to(self._root()).as_posix())
            yield Reference(place, {COLUMN: label}, splits.get(file.stem))

    def open(self, image_id: str) -> BinaryIO:
        return (self._root() / image_id).open("rb")

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return stamps(self._root(), ids)

    def boxes(self, boxes_id: str, width: int, height: int) -> RawBoxes:  # noqa: ARG002 - they are in pixels
        root = _parsed((self._root() / boxes_id).read_bytes(), boxes_id)
        found = [_object(one, boxes_id) for one in root.iterfind("object")]
        return RawBoxes(tuple(box for box, _ in found), tuple(name for _, name in found))

    def _root(self) -> Path:
        return Path(self.options.path)

    def _splits(self, names: Container[str]) -> Iterator[tuple[str, str]]:
        """Yield (name, split) of every listed image; of several splits of one image, the last is its."""
        for split in reversed(_SPLITS):
            listed = self._root() / "ImageSets" / "Main" / f"{split}.txt"
            if listed.is_file():
                lines = enumerate(
                    listed.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines(), start=1
                )
                yield from (
                    (_listed(line.strip(), names, f"{listed.name}:{at}"), split) for at, line in lines if line.strip()
                )


def _listed(line: str, names: Container[str], place: str) -> str:
    """Return the image that a line names: the whole line, which may hold spaces, or all but VOC's -1, 0 or 1."""
    found = [name for name in (line, _FLAG.sub("", line)) if name in names]
    if not found:
        raise DataError(
            f"ImageSets/Main/{place}: {line!r} names no image in JPEGImages; a line is a file's name without its "
            "ending; take the line out or add the image"
        )
    return found[0]


class _Tree(ElementTree.TreeBuilder):
    """Builds a tree, and refuses what could make a small file large: entities, which need a document type."""

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> NoReturn:
        raise BadLabel("boxes_unreadable", "the XML declares a document type; annotations need none")


def _parsed(content: bytes, place: str) -> Element:
    parser = ElementTree.XMLParser(target=_Tree())  # noqa: S314 - no document type, so no entities
    try:
        parser.feed(content)
        root: Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BadLabel("boxes_unreadable", f"{place} is not XML: {error}") from None
    return root


def _object(one: Element, place: str) -> tuple[tuple[float, float, float, float], str]:
    """Return the box and the name of an object."""
    name = (one.findtext("name") or "").strip()
    try:
        left, top, right, bottom = (float(one.findtext(f"bndbox/{edge}") or "") for edge in _EDGES)
    except ValueError:
        raise BadLabel("boxes_unreadable", f"{place}: an object {name!r} lacks a number in bndbox") from None
    if not name:
        raise BadLabel("boxes_unreadable", f"{place}: an object has no name")
    return (left, top, right, bottom), name
