"""voc: boxes come from XML as written, the split from lists, and XML that could do harm is set aside."""

import os

import pytest

from thaw.data.sources import voc
from thaw.data.sources.contract import BadLabel, RawBoxes, Reference, UnreadBoxes
from thaw.errors import DataError


def box(name, *edges):
    tags = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    return f"<object><name>{name}</name><difficult>1</difficult><bndbox>{tags}</bndbox></object>"


@pytest.fixture
def source(tmp_path):
    """Write a folder of images, annotations by stem and lists by split, and return a source of it."""

    def _source(images, annotations, **lists):
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in images:
            (tmp_path / "JPEGImages" / name).write_bytes(name.encode())
        for stem, text in annotations.items():
            content = text if isinstance(text, bytes) else f"<annotation>{text}</annotation>".encode()
            (tmp_path / "Annotations" / f"{stem}.xml").write_bytes(content)
        for split, names in lists.items():
            (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n\n")
        return voc.Source(voc.Options(type="voc", path=str(tmp_path)))

    return _source


def boxes(source, stem="a"):
    return source.boxes(f"Annotations/{stem}.xml", 10, 10)


def test_every_image_is_listed_with_its_split_and_where_its_boxes_are(source):
    made = source(
        ["a.jpg", "b.png", "c.jpg", ".hidden.jpg"], {"a": "", "b": ""}, train=["a"], val=["c  1"], trainval="b"
    )
    assert list(made.references()) == [
        Reference("JPEGImages/a.jpg", {"boxes": UnreadBoxes("Annotations/a.xml")}, "train"),
        Reference("JPEGImages/b.png", {"boxes": UnreadBoxes("Annotations/b.xml")}, None),
        Reference("JPEGImages/c.jpg", {"boxes": None}, "val"),
    ]
    assert made.read("JPEGImages/b.png") == b"b.png"


def test_folders_may_have_other_names(tmp_path):
    for place, text in {"images/a.jpg": "a", "annotations/a.xml": "<annotation/>"}.items():
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(text)
    made = voc.Source(voc.Options(type="voc", path=str(tmp_path), images="images", annotations="annotations"))
    assert list(made.references()) == [Reference("images/a.jpg", {"boxes": UnreadBoxes("annotations/a.xml")})]
    assert made.boxes("annotations/a.xml", 1, 1) == RawBoxes((), ())


def test_annotations_far_larger_than_any_are_not_read(source, tmp_path):
    made = source(["a.jpg"], {"a": ""})
    os.truncate(tmp_path / "Annotations" / "a.xml", 2**40)
    with pytest.raises(BadLabel, match="more than the 16,777,216 bytes"):
        boxes(made)


def test_an_image_in_several_lists_is_in_the_first_of_train_val_and_test(source):
    made = source(["a.jpg", "b.jpg"], {}, test=["a", "b"], val=["b"], train=["a"])
    assert [one.split for one in made.references()] == ["train", "val"]


def test_a_listed_name_may_hold_a_space_and_a_number(source):
    made = source(["IMG 1.jpg", "IMG 2.jpg", "IMG.jpg", "b.jpg"], {}, test=["IMG 2", "b -1"], val=[" IMG  0"])
    assert {one.id[11:]: one.split for one in made.references()} == {
        "IMG 1.jpg": None,
        "IMG 2.jpg": "test",
        "IMG.jpg": "val",
        "b.jpg": "test",
    }


def test_lists_may_open_with_a_byte_order_mark_and_hold_names_of_another_encoding(source, tmp_path):
    made = source(["a.jpg"], {})
    (tmp_path / "JPEGImages" / "\udce9.jpg").write_bytes(b"")  # the byte 233, as Python shows it
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xef\xbb\xbfa\n\xe9\n")
    assert [one.split for one in made.references()] == ["test", "test"]


@pytest.mark.parametrize("line", ["gone", "gone 1", "a.jpg", "a 2", "a b"])
def test_a_listed_name_without_an_image_is_refused_with_its_line(source, line):
    with pytest.raises(DataError, match=rf"ImageSets/Main/test\.txt:2: '{line}' names no image in JPEGImages"):
        list(source(["a.jpg"], {}, test=["a", line]).references())


def test_boxes_are_the_edges_as_written(source):
    made = source(["a.jpg"], {"a": box(" cat ", 1, 2, 30, 40) + box("dog", "0.5", "1e1", 7, 20)})
    assert boxes(made) == RawBoxes(((1, 2, 30, 40), (0.5, 10, 7, 20)), ("cat", "dog"))


def test_no_object_is_no_box_and_parts_are_not_read(source):
    part = box("person", 1, 2, 3, 4).replace("</object>", "<part><name>head</name><bndbox/></part></object>")
    made = source(["a.jpg"], {"a": "<size/>", "b": part})
    assert boxes(made) == RawBoxes((), ())
    assert boxes(made, "b").names == ("person",)


def test_numbers_that_are_none_are_for_preparing_to_judge(source):
    [found] = boxes(source(["a.jpg"], {"a": box("cat", "nan", "inf", 3, 4)})).boxes
    assert repr(found) == "(nan, inf, 3.0, 4.0)"


BOMB = b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><annotation><object><name>&d;</name></object></annotation>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is not XML"),
        (b"<annotation>", "is not XML"),
        (b"\x89PNG\r\n", "is not XML"),
        (b'<?xml version="1.0" encoding="martian"?><annotation/>', "is not XML"),
        (BOMB, "declares a document type"),
        (BOMB.decode().encode("utf-16"), "declares a document type"),
        (b'<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
        (box("cat", 1, 2, 3, ""), "an object 'cat' lacks a number in bndbox"),
        (box("cat", 1, 2, 3, "x"), "an object 'cat' lacks a number in bndbox"),
        ("<object><name>cat</name></object>", "an object 'cat' lacks a number in bndbox"),
        (box(" ", 1, 2, 3, 4), "an object has no name"),
    ],
)
def test_annotations_that_cannot_be_read_are_set_aside_alone(source, text, words):
    made = source(["a.jpg"], {"a": text})
    assert len(list(made.references())) == 1
    with pytest.raises(BadLabel, match=words) as caught:
        boxes(made)
    assert caught.value.reason == "boxes_unreadable"


def test_annotations_that_are_gone_are_an_os_error(source):
    with pytest.raises(OSError):
        boxes(source(["a.jpg"], {}))


@pytest.mark.parametrize("missing", ["JPEGImages", "Annotations"])
def test_a_folder_that_lacks_a_part_is_refused(missing, source, tmp_path):
    made = source([], {})
    (tmp_path / missing).rmdir()
    with pytest.raises(DataError, match=rf"data\.source\.path: .*{missing} is not a folder"):
        list(made.references())


def test_no_image_is_refused(source):
    with pytest.raises(DataError, match=r"data\.source\.path: .*JPEGImages holds no image"):
        list(source([], {"a": ""}).references())
