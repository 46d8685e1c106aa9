"""folder: the class is the folder, the split the folder above it, and nothing hidden is taken for an image."""

import pytest

from thaw.data.sources import folder
from thaw.data.sources.contract import Reference
from thaw.errors import DataError


@pytest.fixture
def tree(tmp_path):
    """Write files, named by their paths, and return a source of their folder."""

    def _tree(*files, empty=()):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())
        for name in empty:
            (tmp_path / name).mkdir(parents=True)
        return folder.Source(folder.Options(type="folder", path=str(tmp_path)))

    return _tree


def listed(source):
    return {one.id: (one.labels["label"], one.split) for one in source.references()}


def test_the_folder_of_an_image_is_its_class(tree):
    source = tree("dog/a.jpg", "cat/b.png", "cat/a.jpg")
    assert list(source.references()) == [
        Reference("cat/a.jpg", {"label": "cat"}),
        Reference("cat/b.png", {"label": "cat"}),
        Reference("dog/a.jpg", {"label": "dog"}),
    ]
    assert source.read("cat/b.png") == b"cat/b.png"


def test_folders_above_the_classes_are_splits(tree):
    source = tree("train/cat/a.jpg", "Validation/cat/a.jpg", "test/dog/a.jpg")
    assert listed(source) == {
        "Validation/cat/a.jpg": ("cat", "val"),
        "test/dog/a.jpg": ("dog", "test"),
        "train/cat/a.jpg": ("cat", "train"),
    }
    assert source.read("test/dog/a.jpg") == b"test/dog/a.jpg"


def test_two_words_for_one_split_are_one_split(tree):
    assert set(listed(tree("train/cat/a.jpg", "val/cat/a.jpg", "dev/cat/b.jpg")).values()) == {
        ("cat", "train"),
        ("cat", "val"),
    }


def test_a_class_that_is_named_like_a_split_among_others_is_a_class(tree):
    assert listed(tree("train/a.jpg", "bus/b.jpg")) == {"train/a.jpg": ("train", None), "bus/b.jpg": ("bus", None)}


def test_a_folder_beside_those_of_splits_is_refused_by_name(tree):
    with pytest.raises(DataError, match=r"folders of splits \(train, val\) and others beside them \(__MACOSX\)"):
        listed(tree("train/cat/a.jpg", "val/cat/b.jpg", "__MACOSX/c/._a.jpg"))


def test_images_below_a_class_at_any_depth_belong_to_it(tree):
    assert listed(tree("cat/2024/may/a.jpg", "cat/a.jpg", "dog/x/a.jpg")) == {
        "cat/2024/may/a.jpg": ("cat", None),
        "cat/a.jpg": ("cat", None),
        "dog/x/a.jpg": ("dog", None),
    }


def test_hidden_files_and_folders_are_left_out(tree):
    source = tree("cat/a.jpg", "cat/.DS_Store", "cat/._a.jpg", ".git/objects/a", ".hidden.jpg")
    assert list(listed(source)) == ["cat/a.jpg"]


def test_hidden_folders_below_a_class_are_left_out(tree):
    assert list(listed(tree("cat/a.jpg", "cat/.ipynb_checkpoints/a-checkpoint.jpg"))) == ["cat/a.jpg"]


def test_hidden_folders_do_not_hide_that_the_others_are_splits(tree):
    source = tree("train/cat/a.jpg", "test/cat/b.jpg", ".cache/c.jpg")
    assert set(listed(source).values()) == {("cat", "train"), ("cat", "test")}


def test_every_kind_of_file_is_listed_for_preparing_to_judge(tree):
    assert set(listed(tree("cat/notes.txt", "cat/no_ending", "cat/ümlaut 猫.jpg"))) == {
        "cat/notes.txt",
        "cat/no_ending",
        "cat/ümlaut 猫.jpg",
    }


def test_a_folder_that_is_not_there_or_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(DataError, match=r"data\.source\.path: .* is not a folder"):
            list(folder.Source(folder.Options(type="folder", path=str(path))).references())


@pytest.mark.parametrize("empty", [(), ("cat", "dog"), ("train/cat", "test/cat")])
def test_a_folder_without_an_image_is_refused(tree, empty):
    with pytest.raises(DataError, match=r"data\.source\.path"):
        list(tree(empty=empty).references())
