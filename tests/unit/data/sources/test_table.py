"""table: CSV and JSON lines name images and labels, and a broken table is refused with its place."""

import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from thaw.data.sources import table
from thaw.data.sources.contract import RawBoxes, RawMask
from thaw.errors import DataError


@pytest.fixture
def source(tmp_path):
    """Write tables, by name and text, and return a source of their folder or of one of them."""

    def _source(tables, path="", **options):
        for name, text in tables.items():
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return table.Source(table.Options(type="table", path=str(tmp_path / path), **options))

    return _source


def listed(source):
    return list(source.references())


def labels(source, column="label"):
    return {one.id: one.labels[column] for one in source.references()}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def refusal(source):
    with pytest.raises(DataError) as caught:
        list(source.references())
    return str(caught.value)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_is_read_with_or_without_byte_order_mark_and_in_either_line_ending(source, start, end):
    text = start + end.join(["file_name,label", "a.jpg,käse", '"b, c.jpg","x, ""y"""', ""]).encode()
    assert labels(source({"metadata.csv": text})) == {"a.jpg": "käse", "b, c.jpg": 'x, "y"'}


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_json_lines_are_read_with_or_without_byte_order_mark_and_blank_lines(source, start):
    text = start + b'{"file_name": "a.jpg", "label": "x"}\n\n{"file_name": "b.jpg", "label": "y"}'
    assert labels(source({"metadata.jsonl": text})) == {"a.jpg": "x", "b.jpg": "y"}


def test_one_table_can_be_named_alone(source):
    tables = {"one.csv": "file_name,label\na.jpg,x\n", "two.csv": "file_name,label\nb.jpg,y\n"}
    assert labels(source(tables, path="two.csv")) == {"b.jpg": "y"}
    assert labels(source(tables)) == {"a.jpg": "x", "b.jpg": "y"}


def test_several_columns_hold_the_labels_of_several_tasks(source):
    [one] = listed(source({"m.csv": "file_name,verdict,layout\na.jpg,ok,bus\n"}))
    assert one.labels == {"verdict": "ok", "layout": "bus"}


@pytest.mark.parametrize(
    ("tables", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "validation", "TEST"), ("train", "val", "test")),
        (("train", "metadata"), ("train", None)),
    ],
)
def test_the_names_of_tables_give_the_split(source, tables, splits):
    made = source({f"{name}.csv": f"file_name,label\n{name}.jpg,x\n" for name in tables})
    assert {one.id: one.split for one in listed(made)} == {
        f"{name}.jpg": split for name, split in zip(tables, splits, strict=True)
    }


def test_tables_in_folders_of_splits_name_images_beside_them(source, tmp_path):
    for name in ("train", "validation", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "train" / "a.jpg").write_bytes(b"bytes")
    tables = {f"{name}/metadata.jsonl": lines({"file_name": "a.jpg"}) for name in ("train", "validation", "images")}
    made = source(tables)
    assert [(one.id, one.split) for one in listed(made)] == [("train/a.jpg", "train"), ("validation/a.jpg", "val")]
    assert made.read("train/a.jpg") == b"bytes"
    assert [one.id for one in listed(source({"m.csv": "file_name\nb.jpg\n"}))] == ["b.jpg"]


def test_images_may_lie_in_a_folder_of_their_own(source, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"bytes")
    text = "file_name,mask_file_name\na.jpg,masks/a.png\n"
    made = source({"m.csv": text}, images="images", mask_values={0: "x"})
    [one] = listed(made)
    assert (one.id, one.labels) == ("images/a.jpg", {"mask": RawMask("masks/a.png", {0: "x"})})
    assert made.read(one.id) == b"bytes"
    for outside in ("../images", "/images"):
        assert "leaves the folder of the table" in refusal(source({"m.csv": text}, images=outside))


def test_a_column_gives_the_split_and_goes_before_the_name_of_the_table(source):
    text = "file_name,split\na,training\nb,dev\nc,test\nd,holdout\ne,\n"
    assert [one.split for one in listed(source({"m.csv": text}))] == ["train", "val", "test", "holdout", None]
    assert [one.split for one in listed(source({"val.csv": text}, path="val.csv"))][-2:] == ["holdout", "val"]
    other = source({"m.csv": "file_name,part\na,test\n"}, path="m.csv", split_column="part")
    assert [one.split for one in listed(other)] == ["test"]


def test_a_column_gives_the_group(source):
    made = source(
        {
            "m.jsonl": lines(
                *({"file_name": str(index), "patient": who} for index, who in enumerate(["x", 7, "", None]))
            )
        },
        group_column="patient",
    )
    assert [one.group for one in listed(made)] == ["x", "7", None, None]
    assert {one.group for one in listed(source({}, path="m.jsonl"))} == {None}


def test_another_column_can_hold_the_path(source):
    [one] = listed(source({"m.csv": "image,label\nsub/a.jpg,x\n"}, file_column="image"))
    assert (one.id, one.labels) == ("sub/a.jpg", {"label": "x"})


def test_cells_become_names_sets_of_names_or_nothing(source):
    cells = {
        "x": "x",
        " x ": "x",
        "": None,
        "  ": None,
        "a;b": ("a", "b"),
        " a ; b;": ("a", "b"),
        "a,b": "a,b",
        "007": "007",
    }
    text = "file_name,label\n" + "".join(f'{index},"{cell}"\n' for index, cell in enumerate(cells))
    assert list(labels(source({"m.csv": text})).values()) == list(cells.values())


def test_values_of_json_become_names_sets_of_names_or_nothing(source):
    values = ["x", None, "", ["a", "b"], [], ["only"], 3, True, {"bbox": [1]}, "a;b"]
    expected = ["x", None, None, ("a", "b"), (), ("only",), "3", "true", None, ("a", "b")]
    rows = [{"file_name": str(index), "label": value} for index, value in enumerate(values)]
    assert list(labels(source({"m.jsonl": lines(*rows)})).values()) == expected


def test_the_separator_of_sets_can_be_chosen(source):
    made = source({"m.csv": "file_name,label\na,x|y\nb,x;y\n"}, separator="|")
    assert labels(made) == {"a": ("x", "y"), "b": "x;y"}
    with pytest.raises(ValidationError, match="separator"):
        table.Options(type="table", path="x", separator="||")


def test_an_image_is_read_from_beside_the_table(source, tmp_path):
    made = source({"m.csv": "file_name,label\nsub/./a.jpg,x\n"}, path="m.csv")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"bytes")
    [one] = listed(made)
    assert one.id == "sub/a.jpg"
    assert made.read(one.id) == b"bytes"
    assert source({}).read(one.id) == b"bytes"


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "sub/../../a.jpg", "sub/.."])
@pytest.mark.parametrize("form", ["m.csv", "m.jsonl"])
def test_a_path_that_leaves_the_folder_is_refused_with_its_line(source, name, form):
    text = f"file_name\na.jpg\n{name}\n" if form == "m.csv" else lines({"file_name": "a"}, {}, {"file_name": name})
    text = text.replace("{}\n", "\n")
    assert refusal(source({form: text})).startswith(f"{form}:3: {name!r} leaves the folder of the table")


@pytest.mark.parametrize("name", ["a\0.jpg", "\ud800.jpg"])
def test_a_path_that_no_file_can_have_is_refused_or_unreadable(source, name):
    made = source({"m.jsonl": lines({"file_name": "a.jpg"}, {"file_name": name})})
    with pytest.raises((DataError, OSError)):
        made.read(listed(made)[1].id)


def test_a_table_without_the_column_of_paths_names_those_it_has(source):
    assert refusal(source({"m.csv": "image,label\na.jpg,x\n"})) == (
        "m.csv:2: no image in column 'file_name'; the columns are image, label (set data.source.file_column)"
    )


@pytest.mark.parametrize("value", ["", None, 3, ["a.jpg"]])
def test_a_row_without_a_path_is_refused_with_its_line(source, value):
    made = source({"m.jsonl": lines({"file_name": "a.jpg"}, {"file_name": value})})
    assert refusal(made).startswith("m.jsonl:2: no image in column 'file_name'")


def test_broken_json_names_the_file_and_the_line(source):
    message = refusal(source({"m.jsonl": lines({"file_name": "a"}, {"file_name": "b"}) + "{broken\n"}))
    assert message.startswith("m.jsonl")
    assert "3" in message
    assert "line 1" not in message


@pytest.mark.parametrize("text", ["[1]", '"a.jpg"', "3", "null"])
def test_a_line_of_json_that_is_no_object_is_refused(source, text):
    message = refusal(source({"m.jsonl": f"{text}\n"}))
    assert message.startswith("m.jsonl")
    assert "not an object" in message


def test_broken_csv_names_the_file_and_the_line(source):
    message = refusal(source({"m.csv": 'file_name,label\na,x\nb,"y"z\n'}))
    assert message.startswith("m.csv")
    assert "3" in message


def test_lines_are_counted_as_an_editor_counts_them(source):
    text = 'file_name,label\n"a",\n\n"b","two\nlines"\n,x\n'
    assert refusal(source({"m.csv": text})).startswith("m.csv:6: no image in column")


@pytest.mark.parametrize(
    "content", [b"file_name,label\na,\xff\n", "file_name\na".encode("utf-16"), b"\x89PNG\r\n\0\xff"]
)
def test_a_table_that_is_no_text_is_refused_by_name(source, content):
    for name in ("m.csv", "m.jsonl"):
        assert refusal(source({name: content}, path=name)).startswith(name)


def test_a_row_with_more_cells_than_columns_is_refused_with_its_line(source):
    message = refusal(source({"m.csv": "file_name,label\na,x\nb,y,surplus\n"}))
    assert message.startswith("m.csv:3")


def test_a_row_with_fewer_cells_than_columns_has_no_label(source):
    assert labels(source({"m.csv": "file_name,label\na\n"})) == {"a": None}


def test_a_place_without_a_table_is_refused(source, tmp_path):
    assert "is neither a .csv or .jsonl file nor a folder with one" in refusal(source({}))
    assert "is neither" in refusal(source({}, path="missing.csv"))
    (tmp_path / "notes.txt").write_text("x")
    assert "is neither" in refusal(source({}, path="notes.txt"))


@pytest.mark.parametrize("text", ["", "file_name,label\n", "\n\n"])
def test_a_table_without_an_image_is_refused(source, text):
    assert refusal(source({"m.csv": text})).startswith(("m.csv", "data.source"))


def test_hidden_tables_are_left_out(source):
    made = source({"m.csv": "file_name,label\na,x\n", "._m.csv": b"\0\5\x16\7\xff"})
    assert labels(made) == {"a": "x"}


BOXES = {"bbox": [[1, 2, 3.5, 4], [0, 0, 1, 1]], "categories": ["cat", 7]}


def test_an_object_of_boxes_and_categories_holds_boxes_and_null_is_no_label(source):
    rows = [{"file_name": str(index), "heads": one} for index, one in enumerate([BOXES, NOTHING, None])]
    assert list(labels(source({"m.jsonl": lines(*rows)}), "heads").values()) == [
        RawBoxes(((1, 2, 4.5, 6), (0, 0, 1, 1)), ("cat", "7")),
        RawBoxes((), ()),
        None,
    ]


NOTHING = {"bbox": [], "categories": []}


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (BOXES | {"categories": ["cat"]}, "bbox and categories must be lists of the same length"),
        (BOXES | {"bbox": 3}, "bbox and categories must be lists of the same length"),
        ({"bbox": [[1, 2, 3]], "categories": ["cat"]}, "a box is [1, 2, 3], not four numbers x, y, width, height"),
        ({"bbox": [[1, 2, 3, None]], "categories": ["cat"]}, "a box is [1, 2, 3, None], not four numbers"),
        ({"bbox": [[1, 2, 3, "4"]], "categories": ["cat"]}, "not four numbers"),
        ({"bbox": [[1, 2, 3, True]], "categories": ["cat"]}, "not four numbers"),
        ({"bbox": [5], "categories": ["cat"]}, "a box is 5, not four numbers"),
    ],
)
def test_boxes_that_are_not_laid_out_so_are_refused_with_their_line_and_column(source, cell, words):
    message = refusal(source({"m.jsonl": lines({"file_name": "a"}, {"file_name": "b", "heads": cell})}))
    assert message.startswith("m.jsonl:2: column 'heads': ")
    assert words in message


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_column_of_file_names_is_offered_as_masks(source, form):
    rows = {"csv": "file_name,trimap_file_name\na,m/a.png\nb,\n", "jsonl": lines(*TRIMAPS)}
    made = source({f"m.{form}": rows[form]}, mask_values={1: "pet", 2: "background"})
    assert [one.labels for one in listed(made)] == [
        {"trimap": RawMask("m/a.png", {1: "pet", 2: "background"})},
        {"trimap": None},
    ]


@pytest.mark.parametrize("cell", ["/mnt/cam/x.jpg", "../x.jpg", "x.jpg"])
def test_without_the_values_of_masks_a_column_of_file_names_is_one_like_others(source, cell):
    made = source({"m.csv": f"file_name,original_file_name,mask,mask_file_name\na,{cell},b,c\n"})
    assert [one.labels for one in listed(made)] == [{"original_file_name": cell, "mask": "b", "mask_file_name": "c"}]


@pytest.mark.parametrize("columns", ["mask,mask_file_name", "mask_file_name,mask"])
def test_two_columns_that_would_be_offered_as_one_are_refused(source, columns):
    made = source({"m.csv": f"file_name,{columns}\na,b,c\n"}, mask_values={0: "x"})
    assert refusal(made) == (
        "m.csv:2: columns 'mask' and 'mask_file_name' would both be offered as 'mask'; rename one of them"
    )


TRIMAPS = [{"file_name": "a", "trimap_file_name": "m/a.png"}, {"file_name": "b", "trimap_file_name": None}]


def test_masks_are_read_beside_the_table(source, tmp_path):
    made = source({"m.csv": "file_name,mask_file_name\na,m.png\n"}, path="m.csv", mask_values={0: "x"})
    Image.fromarray(np.eye(3, 4, dtype=np.uint8)).save(tmp_path / "m.png")
    assert made.mask("m.png", 4, 3).tolist() == np.eye(3, 4).tolist()


@pytest.mark.parametrize("name", ["../m.png", "/m.png", "x/../../m.png"])
def test_a_mask_that_leaves_the_folder_is_refused_with_its_line(source, name):
    message = refusal(source({"m.csv": f"file_name,mask_file_name\na,{name}\n"}, mask_values={0: "x"}))
    assert message.startswith(f"m.csv:2: {name!r} leaves the folder of the table")


@pytest.mark.parametrize("option", ["group_column", "split_column"])
def test_a_column_that_was_asked_for_and_is_not_there_is_refused(source, option):
    table_ = {"all.csv": "file_name,label,serial\na.jpg,cat,1\n"}
    with pytest.raises(DataError, match=f"{option}: .* has no column 'serail'; .*did you mean 'serial'"):
        listed(source(table_, **{option: "serail"}))
    assert len(listed(source(table_, **{option: "serial"}))) == 1


def test_several_tables_that_all_name_a_split_give_it(source):
    text = "file_name,label\n{}.jpg,cat\n"
    both = source({"train_labels.csv": text.format("a"), "test_labels.csv": text.format("b")})
    assert {one.id: one.split for one in listed(both)} == {"a.jpg": "train", "b.jpg": "test"}
    assert listed(source({"only_train_labels.csv": text.format("c")}, "only_train_labels.csv"))[0].split is None
