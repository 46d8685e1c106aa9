"""Slices: which images share a property, by a table beside them."""

import pytest
from pydantic import ValidationError

from thaw.config.experiment import Slices
from thaw.errors import DataError
from thaw.evaluation import slices
from thaw.storage import open_root

IDS = [f"{place}.png" for place in range(40)]


def _written(path, text: str, **more: object) -> Slices:
    path.write_text(text, encoding="utf-8")
    return Slices(path=str(path), **{"columns": ("camera",), **more})


def test_a_table_names_images_as_answers_do(tmp_path):
    options = _written(tmp_path / "meta.csv", "\ufefffile_name,camera,site\na.png, left ,x\nb.png,,y\n")
    assert slices.read(options, ["a.png", "b.png", "c.png"]) == {"camera": {"a.png": "left", "b.png": slices.UNKNOWN}}


def test_a_table_in_an_object_store_is_read_as_one_on_a_disk(s3_uri):
    open_root(s3_uri).write_bytes("meta.csv", b"file_name,camera\na.png,left\n")
    folder, mark, query = s3_uri.partition("?")
    options = Slices(path=f"{folder}/meta.csv{mark}{query}", columns=("camera",))
    assert slices.read(options, ["a.png"]) == {"camera": {"a.png": "left"}}


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("file_name,site\na.png,x\n", {}, "no column 'camera'; it has file_name, site"),
        ("file_name,camera\na.png,x\n", {"image": "name"}, "no column 'name'"),
        ("", {}, "no column 'file_name'"),
    ],
)
def test_a_missing_column_is_named_with_those_that_there_are(tmp_path, text, more, said):
    with pytest.raises(DataError, match=said):
        slices.read(_written(tmp_path / "meta.csv", text, **more), IDS)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        slices.read(Slices(path=str(tmp_path / "none.csv"), columns=("camera",)), IDS)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="is not CSV in UTF-8"):
        slices.read(Slices(path=str(tmp_path / "binary.csv"), columns=("camera",)), IDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file_name,camera\nother.png,left\n", "names none of the 40 images, such as '0.png', in column file_name"),
        ("file_name,camera\n0.png,left\n0.png,right\n", "'0.png' comes a second time"),
        (f"file_name,camera\n0.png,{'x' * 140_000}\n", "is not CSV in UTF-8: field larger than"),
    ],
)
def test_a_table_that_would_mislead_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        slices.read(_written(tmp_path / "meta.csv", text), IDS)


def test_a_path_that_holds_a_password_is_refused():
    with pytest.raises(ValidationError, match="holds a password"):
        Slices(path="s3://KEY:SECRET@bucket/meta.csv", columns=("camera",))


def test_every_value_is_a_slice_and_images_without_a_row_are_one():
    values = {image: "left" if place % 2 else "right" for place, image in enumerate(IDS) if place < 30}
    found = slices.cut(values, IDS)
    assert list(found) == ["left", "right", slices.UNKNOWN]
    assert found["left"] == list(range(1, 30, 2))
    assert found[slices.UNKNOWN] == list(range(30, 40))


def test_many_different_numbers_are_cut_into_quarters_of_the_images():
    values = {image: str(place * 10) for place, image in enumerate(IDS)}
    found = slices.cut(values, IDS)
    assert [len(rows) for rows in found.values()] == [10, 10, 10, 10]
    assert next(iter(found)) == "0 to 97.5"
    assert sorted(row for rows in found.values() for row in rows) == list(range(40))


def test_few_different_numbers_are_slices_each_in_their_order():
    values = {image: str([9, 10, 2][place % 3]) for place, image in enumerate(IDS)}
    assert list(slices.cut(values, IDS)) == ["2", "9", "10"]


def test_rare_values_are_one_slice():
    values = {image: f"site {place % 30}" for place, image in enumerate(IDS)}
    found = slices.cut(values, IDS)
    assert len(found) == 21
    assert list(found)[-1] == "(others)"


@pytest.mark.parametrize(
    ("first", "name"), [(20260100, "20260100 to 20260110"), (0.5, "0.5 to 10.25"), (-3e-5, "-0.00003 to 9.75")]
)
def test_quarters_of_numbers_that_begin_alike_are_told_apart(first, name):
    found = slices.cut({image: str(first + place) for place, image in enumerate(IDS)}, IDS)
    assert [len(rows) for rows in found.values()] == [10, 10, 10, 10]
    assert next(iter(found)) == name


def test_quarters_have_as_many_digits_as_they_need():
    found = slices.cut({image: str(1_700_000_000.5 + place) for place, image in enumerate(IDS)}, IDS)
    assert len(found) == 4
