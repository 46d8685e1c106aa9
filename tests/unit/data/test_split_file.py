"""A split file says of every image where it lies, or what is wrong with it."""

import pytest

from thaw.config.load import parse
from thaw.data import split_file
from thaw.data.sources.contract import Reference
from thaw.errors import ConfigError, DataError, StorageError

SIDES = {"a, b.jpg": "train", 'say "c".jpg': "val", "d/é.jpg": "test"}


def references(*names):
    return [Reference(name, {"kind": "a"}, "train", "one group") for name in names]


def test_what_is_written_is_read(root_uri):
    folder, mark, query = root_uri.partition("?")
    file = f"{folder}/splits/mine.csv{mark}{query}"
    split_file.write(file, SIDES)
    assert split_file.read(file) == SIDES


def test_a_name_alone_is_of_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split_file.write("mine.csv", SIDES)
    assert (tmp_path / "mine.csv").read_text().splitlines()[0] == "id,split"
    assert split_file.read("mine.csv") == SIDES


def test_words_for_splits_are_those_that_sources_may_use(tmp_path):
    (tmp_path / "mine.csv").write_text("id,split\r\na,Validation\r\nb,testing\r\n")
    assert split_file.read(str(tmp_path / "mine.csv")) == {"a": "val", "b": "test"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with a line id,split"),
        ("file,split\na,train\n", "does not begin with a line id,split"),
        ("id,split\na,train\nb,holdout\n", "line 3: 'b,holdout' is not an image and train, val or test"),
        ("id,split\na\n", "line 2: 'a' is not an image"),
        ("id,split\na,train,1\n", "line 2: 'a,train,1' is not an image"),
        ("id,split\na,train\na,test\n", "line 3: 'a' comes a second time"),
        ('id,split\n"a,train\n', "is not CSV in UTF-8"),
    ],
)
def test_what_is_no_split_is_refused_with_its_line(tmp_path, text, said):
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=f"data.split.file: {file}.*{said}"):
        split_file.read(str(file))


def test_bytes_that_are_no_text_and_a_file_that_is_not_there_are_refused(tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"id,split\n\xff,train\n")
    with pytest.raises(DataError, match="is not CSV in UTF-8"):
        split_file.read(str(tmp_path / "mine.csv"))
    with pytest.raises(StorageError, match="missing.csv: cannot read: no such file"):
        split_file.read(str(tmp_path / "missing.csv"))


def test_images_take_the_split_of_the_file_and_keep_all_else(tmp_path):
    file = str(tmp_path / "mine.csv")
    split_file.write(file, {"a": "test", "b": "val", "gone": "train"})
    assert list(split_file.put_on(references("b", "a"), file)) == [
        Reference("b", {"kind": "a"}, "val", "one group"),
        Reference("a", {"kind": "a"}, "test", "one group"),
    ]
    assert list(split_file.put_on(references("b", "a"), None)) == references("b", "a")


def test_images_that_the_file_does_not_name_are_refused_with_their_number_and_one_of_them(tmp_path):
    file = str(tmp_path / "mine.csv")
    split_file.write(file, {"a": "test"})
    with pytest.raises(DataError, match="no line for 2 of 3 images of the source, such as 'b'; add them, or leave"):
        list(split_file.put_on(references("a", "b", "c"), file))


def test_a_file_and_setting_aside_what_is_given_exclude_each_other():
    data = {"source": {"type": "boards"}, "split": {"file": "mine.csv", "given": False}}
    with pytest.raises(ConfigError, match="leave one of them out"):
        parse({"name": "a", "data": data, "tasks": {"verdict": {"type": "classification"}}}, "test")
