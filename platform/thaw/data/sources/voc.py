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
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal, NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from thaw.data.files import Folder, is_picture, open_folder
from thaw.data.sources import contract
from thaw.data.sources._paths import read_boxes
from thaw.data.sources.contract import (
    BadLabel,
    RawBoxes,
    Recognised,
    Reference,
    SourceOptions,
    Thing,
    UnreadBoxes,
    as_text,
)
from thaw.errors import DataError

COLUMN = "boxes"
_SPLITS = ("train", "val", "test")
_LISTS = "ImageSets/Main"
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_FLAG = re.compile(r"\s+(-1|0|1)$")  # of one class: absent, hard to tell, there


class Options(SourceOptions):
    """A folder in the layout of Pascal VOC."""

    type: Literal["voc"]
    path: str
    """The folder that holds annotations and images, on a disk that every node reaches, or s3:// or gs://."""
    images: str = "JPEGImages"
    """Folder of the images, relative to the path."""
    annotations: str = "Annotations"
    """Folder of the XML files, relative to the path."""


class Source(contract.Source):
    """Every file of the images; what is no image is set aside when it is prepared. No XML is read to list them."""

    options: Options

    def references(self) -> Iterator[Reference]:
        images, annotations = (self._folder.check(name) for name in (self.options.images, self.options.annotations))
        described = {_stem(name) for name in self._folder.names(annotations) if name.endswith(".xml")}
        files = list(self._folder.below(images))
        if not files:
            raise DataError(f"data.source.path: {self._folder.shown(images)} holds no image")
        splits = dict(self._splits({_stem(file) for file in files}))
        for file in files:
            stem = _stem(file)
            label = UnreadBoxes(as_text(f"{annotations}/{stem}.xml")) if stem in described else None
            yield Reference(as_text(file), {COLUMN: label}, splits.get(stem))

    def read(self, image_id: str, most: int = -1) -> bytes:
        return self._folder.read(image_id, most)

    def stamps(self, ids: Sequence[str], of: Thing) -> list[str | None]:  # noqa: ARG002 - all lie below one folder
        return self._folder.stamps(ids)

    def boxes(self, boxes_id: str, width: int, height: int) -> RawBoxes:  # noqa: ARG002 - they are in pixels
        root = _parsed(read_boxes(self._folder, boxes_id), boxes_id)
        found = [_object(one, boxes_id) for one in root.iterfind("object")]
        return RawBoxes(tuple(box for box, _ in found), tuple(name for _, name in found))

    @cached_property
    def _folder(self) -> Folder:
        return open_folder(self.options.path)

    def _splits(self, names: Container[str]) -> Iterator[tuple[str, str]]:
        """Yield (name, split) of every listed image; of several splits of one image, the last is its."""
        for split in reversed(_SPLITS):
            name = f"{split}.txt"
            if name in self._folder.names(_LISTS):
                text = self._folder.read(f"{_LISTS}/{name}").decode("utf-8-sig", "surrogateescape")
                lines = enumerate(text.splitlines(), start=1)
                yield from (
                    (self._listed(line.strip(), names, f"{name}:{at}"), split) for at, line in lines if line.strip()
                )

    def _listed(self, line: str, names: Container[str], place: str) -> str:
        """Return the image that a line names: the whole line, which may hold spaces, or all but VOC's -1, 0 or 1."""
        found = [name for name in (line, _FLAG.sub("", line)) if name in names]
        if not found:
            raise DataError(
                f"{_LISTS}/{place}: {line!r} names no image in {self.options.images}; a line is a file's name without "
                "its ending; take the line out or add the image"
            )
        return found[0]


def _stem(file: str) -> str:
    return PurePosixPath(file).stem


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


_IMAGES, _ANNOTATIONS = ("JPEGImages", "images", "Images"), ("Annotations", "annotations")
_TRIED = 5
"""XML files that are opened to see whether they are VOC's."""


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for a folder of images and one of VOC's XML files with the same names."""
    tops = folder.folders()
    pairs = [(images, xmls) for images in _IMAGES for xmls in _ANNOTATIONS if images in tops and xmls in tops]
    for images, annotations in pairs:
        pictures = {_stem(file) for file in folder.below(images) if is_picture(file)}
        described = {_stem(name) for name in folder.names(annotations) if name.endswith(".xml")}
        both = sorted(pictures & described)
        if both and all(_is_voc(folder, f"{annotations}/{stem}.xml") for stem in both[:_TRIED]):
            given = {"images": images, "annotations": annotations}
            return Recognised(
                confidence=0.95,
                seen=f"{len(pictures)} images in {images}/ and {len(described)} XML files in {annotations}/",
                options={key: name for key, name in given.items() if name != Options.model_fields[key].default},
                unsure=tuple(_unsure(folder, len(pictures - described))),
            )
    return None


def _is_voc(folder: Folder, path: str) -> bool:
    try:
        root = _parsed(read_boxes(folder, path), path)
    except (OSError, BadLabel):
        return False
    return root.tag == "annotation"


def _unsure(folder: Folder, bare: int) -> Iterator[str]:
    if bare:
        yield f"images without an XML file carry no label: {bare}; an image in which nothing is needs one too"
    if folder.is_folder("SegmentationClass"):
        yield "SegmentationClass holds masks, which are not read beside boxes"
