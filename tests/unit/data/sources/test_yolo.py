"""yolo: shares of the image become pixels, names and splits come from data.yaml, broken lines are set aside."""

import pytest

from thaw.data.sources import yolo
from thaw.data.sources.contract import BadLabel, RawBoxes, UnreadBoxes
from thaw.errors import DataError


@pytest.fixture
def source(tmp_path):
    """Write files by path and text, and return a source of their folder or of one of them."""

    def _source(files, path="", **options):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return yolo.Source(yolo.Options(type="yolo", path=str(tmp_path / path), **options))

    return _source


def listed(source):
    return {one.id: (one.labels["boxes"], one.split) for one in source.references()}


NONE = RawBoxes((), ())


def test_folders_below_images_are_splits_and_boxes_lie_beside_them(source):
    made = source({"images/train/a.jpg": "a", "images/valid/b.jpg": "", "labels/train/a.txt": "", "images/x/c.jpg": ""})
    assert listed(made) == {
        "images/train/a.jpg": (UnreadBoxes("labels/train/a.txt"), "train"),
        "images/valid/b.jpg": (NONE, "val"),
        "images/x/c.jpg": (NONE, None),
    }
    assert made.read("images/train/a.jpg") == b"a"


def test_a_word_in_the_name_of_a_folder_gives_the_split_and_others_are_listed_without(source):
    folders = ["extra", "train2017", "val2017", "trainer", ".hidden"]
    made = source({f"images/{name}/a.jpg": "" for name in folders} | {"images/b.jpg": "", "labels/b.txt": ""})
    assert {name: split for name, (_, split) in listed(made).items()} == {
        "images/b.jpg": None,
        "images/extra/a.jpg": None,
        "images/train2017/a.jpg": "train",
        "images/trainer/a.jpg": None,
        "images/val2017/a.jpg": "val",
    }


def test_of_several_folders_called_images_the_last_has_labels_beside_it(source):
    made = source({"images/images/a.jpg": "", "images/labels/a.txt": ""})
    assert listed(made) == {"images/images/a.jpg": (UnreadBoxes("images/labels/a.txt"), None)}


def test_images_without_splits_have_none(source):
    made = source({"images/a.jpg": "", "images/x/b.jpg": "", "labels/a.txt": "", "labels/x/b.txt": ""})
    assert listed(made) == {
        "images/a.jpg": (UnreadBoxes("labels/a.txt"), None),
        "images/x/b.jpg": (UnreadBoxes("labels/x/b.txt"), None),
    }


FILES = {"a/images/1.jpg": "", "a/labels/1.txt": "1 0.5 0.5 0.2 0.2", "b/images/2.jpg": "", "b/images/3.jpg": ""}


@pytest.mark.parametrize("path", ["", "data.yaml"])
@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}"])
def test_a_yaml_file_says_names_and_folders(source, path, names):
    text = f"names: {names}\ntrain: ../a/images\nval: b/images\ntest:\n"
    made = source(FILES | {"data.yaml": text}, path)
    assert listed(made) == {
        "a/images/1.jpg": (UnreadBoxes("a/labels/1.txt"), "train"),
        "b/images/2.jpg": (NONE, "val"),
        "b/images/3.jpg": (NONE, "val"),
    }
    assert made.boxes("a/labels/1.txt", 10, 100) == RawBoxes(((4, 40, 6, 60),), ("dog",))


def test_a_yaml_file_may_say_a_root_several_folders_and_lists(source):
    text = "path: sets\nnames: [x, y]\ntrain: [a/images, more.txt]\n"
    files = {f"sets/{name}": content for name, content in FILES.items()}
    made = source(files | {"data.yaml": text, "sets/more.txt": "./b/images/3.jpg\n\nb/images/gone.jpg\n"})
    assert {name: split for name, (_, split) in listed(made).items()} == {
        "a/images/1.jpg": "train",
        "b/images/3.jpg": "train",
        "b/images/gone.jpg": "train",
    }
    assert made.boxes("a/labels/1.txt", 10, 10).names == ("y",)


def test_names_can_be_options_and_are_numbers_where_nobody_says_them(source):
    files = {"images/a.jpg": "", "labels/a.txt": "1 0.5 0.5 1 1\n\n0 0.25 0.5 0.5 1\n"}
    assert source(files, names=["x", "y"]).boxes("labels/a.txt", 8, 4) == RawBoxes(
        ((0, 0, 8, 4), (0, 0, 4, 4)), ("y", "x")
    )
    assert source(files).boxes("labels/a.txt", 8, 4).names == ("1", "0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0.5 0.5 1", "labels/a.txt:1: 4 cells"),
        ("0 0.5 0.5 1 1\n0 0.1 0.1 0.2 0.1 0.2 0.2", "labels/a.txt:2: 7 cells"),
        ("cat 0.5 0.5 1 1", "labels/a.txt:1: 5 cells"),
        ("0 0.5 0.5 1 wide", "labels/a.txt:1: 5 cells"),
        ("2 0.5 0.5 1 1", "labels/a.txt:1: class 2 is not among the 2 names"),
        ("-1 0.5 0.5 1 1", "class -1 is not among"),
    ],
)
def test_lines_that_are_no_boxes_are_set_aside_with_their_number(source, text, words):
    made = source({"images/a.jpg": "", "labels/a.txt": text}, names=["x", "y"])
    with pytest.raises(BadLabel, match=words) as caught:
        made.boxes("labels/a.txt", 8, 8)
    assert caught.value.reason == "boxes_unreadable"


BOMB = "".join(f"x{at}: &x{at} [{', '.join([f'*x{at - 1}' if at else 'lol'] * 10)}]\n" for at in range(30))
BOMB += "train: a/images\nnames: [*x29]\n"


def test_a_path_in_the_yaml_file_that_is_not_there_or_is_its_own_folder_changes_nothing(source, tmp_path):
    for path in ("../datasets/elsewhere", "/datasets/elsewhere", str(tmp_path), ".", "a/.."):
        made = source(FILES | {"data.yaml": f"path: {path}\ntrain: a/images\n"})
        assert list(listed(made)) == ["a/images/1.jpg"]
        assert made.read("a/images/1.jpg") == b""


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"images/a.jpg": ""}, "does not lead to a text file with boxes for any image"),
        ({"labels/a.txt": ""}, "images is not a folder"),
        (FILES | {"data.yaml": "train: [a/images, gone]"}, "gone is not a folder"),
        (FILES | {"data.yaml": "train: ../../etc"}, "'../../etc' leaves the folder"),
        (FILES | {"data.yaml": "train: /etc"}, "'/etc' leaves the folder"),
        (FILES | {"data.yaml": "train: l.txt", "l.txt": "../x.jpg"}, "'../x.jpg' leaves the folder"),
        (FILES | {"data.yaml": "path: ..\ntrain: a/images"}, "path in data.yaml is '..', which leaves its folder"),
        (FILES | {"data.yaml": "path: a/../../\ntrain: a/images"}, "which leaves its folder"),
        (FILES | {"data.yaml": "path: /\ntrain: a/images"}, "path in data.yaml is '/', which leaves its folder"),
        (FILES | {"data.yaml": "path: [a]\ntrain: a/images"}, "path in the .yaml file holds a value of type list"),
        (FILES | {"data.yaml": "train: [[a/images]]"}, "train in the .yaml file holds a value of type list"),
        (FILES | {"data.yaml": "names: [[x]]\ntrain: a/images"}, "names in the .yaml file holds a value of type list"),
        (FILES | {"data.yaml": "names: {0: x, 1: null}\ntrain: a/images"}, "names in the .yaml file holds a value of"),
        (
            FILES | {"data.yaml": "names: [yes, no]\ntrain: a/images"},
            "holds a yes or no; text or whole numbers are all",
        ),
        (FILES | {"data.yaml": "names: {x: 0}\ntrain: a/images"}, "gives a class the number 'x'; count from 0"),
        (FILES | {"data.yaml": "names: {²: x}\ntrain: a/images"}, "gives a class the number '²'; count from 0"),
        (FILES | {"data.yaml": BOMB}, "names in the .yaml file holds a value of type list"),
        (FILES | {"data.yaml": "names: [2024-13-45]"}, "data.yaml cannot be read as YAML"),
        (FILES | {"data.yaml": "names: " + "[" * 5000}, "data.yaml cannot be read as YAML"),
        (FILES | {"data.yaml": "train: ["}, "data.yaml cannot be read as YAML"),
        (FILES | {"data.yaml": "text"}, "data.yaml holds str, not names and folders"),
        (FILES | {"data.yaml": "train: !!python/object/apply:os.getcwd []"}, "cannot be read as YAML"),
    ],
)
def test_a_layout_that_cannot_be_read_is_refused(source, files, words):
    with pytest.raises(DataError) as caught:
        list(source(files).references())
    assert words in str(caught.value)


def test_names_that_are_no_names_are_refused(source):
    made = source(FILES | {"data.yaml": "names: 3\ntrain: a/images"})
    with pytest.raises(DataError, match="no list of class names"):
        made.boxes("a/labels/1.txt", 8, 8)
