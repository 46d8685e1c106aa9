"""Which source reads a folder, in the many ways in which people lay theirs out, and what is said of what is odd."""

import layouts
import pytest
from layouts import coco, csv, lines, mask, pictures, png, voc, write

from thaw.data.prepare import open_source
from thaw.errors import ConfigError, DataError
from thaw.starting import recognition


@pytest.fixture
def found(tmp_path):
    """Write files by path, and return what is found in them."""
    return lambda files, kind=None: recognition.find(str(write(tmp_path, files)), kind)


def listed(found):
    """Return id -> split of every image, as the source that was found lists them."""
    return {one.id: one.split for one in open_source(found.options()).references()}


NAMES = [f"{place:03d}.png" for place in range(4)]


def test_class_folders_with_a_readme_and_hidden_files_are_class_folders(found):
    made = found({**pictures("cat", 2), **pictures("dog", 2), "README.md": "x", ".DS_Store": "x"})
    assert (made.type, made.recognised.options, made.recognised.unsure) == ("folder", {}, ())
    assert made.recognised.seen == "2 class folders with 4 images"


def test_class_folders_below_splits_are_counted_over_all_splits(found):
    made = found({**pictures("train/cat", 2), **pictures("train/dog", 2), **pictures("valid/cat", 1)})
    assert made.recognised.seen == "2 class folders with 5 images in train, valid"


def test_what_is_odd_about_class_folders_is_said(found):
    made = found({**pictures("cat", 2), **pictures("train", 2), "docs/a.txt": "x", **pictures("", 1), "x.csv": "a\n"})
    said = " | ".join(made.recognised.unsure)
    assert made.type == "folder"
    assert made.recognised.confidence < 0.5
    for words in ("docs would be classes", "left out: 1", "train are taken for classes", "x.csv beside"):
        assert words in said


def test_one_folder_or_folders_of_parts_are_no_classes(found):
    with pytest.raises(DataError, match="nothing that Thaw reads was recognised"):
        found({**pictures("images", 2), **pictures("masks_preview", 0), "notes/x.txt": ""})
    with pytest.raises(DataError, match="nothing that Thaw reads"):
        found({**pictures("JPEGImages", 2), **pictures("Photos", 2)})


def test_an_archive_in_a_folder_of_its_own_is_looked_into(found, tmp_path):
    made = found({**pictures("set/inner/cat", 2), **pictures("set/inner/dog", 2)})
    assert made.values() == {"type": "folder", "path": str(tmp_path / "set" / "inner")}


def test_a_table_whose_images_lie_in_a_folder_of_their_own(found):
    rows = csv("id,image,label", *(f"{at},{name},{'ab'[at % 2]}" for at, name in enumerate(NAMES)))
    made = found({"labels.csv": rows, **pictures("photos", 4)})
    assert (made.type, made.recognised.options) == ("table", {"file_column": "image", "images": "photos"})
    assert list(listed(made)) == [f"photos/{name}" for name in NAMES]


def test_tables_named_for_splits_or_in_their_folders_are_read_together(found, tmp_path):
    def row(name):
        return lines({"file_name": name, "label": "x"})

    made = found({"train.jsonl": row("000.png"), "test.jsonl": row("001.png"), **pictures("", 2)})
    assert (made.recognised.path, listed(made)) == ("", {"001.png": "test", "000.png": "train"})
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).unlink()
    inner = {f"{split}/metadata.jsonl": row("000.png") for split in ("train", "validation")}
    made = found({**inner, **pictures("train", 1), **pictures("validation", 1)})
    assert listed(made) == {"train/000.png": "train", "validation/000.png": "val"}


def test_a_table_of_something_else_is_left_alone(found):
    rows = csv("file_name,label", *(f"{name},x" for name in NAMES))
    made = found({"train.csv": rows, "classes.csv": csv("class,code", "x,1"), **pictures("", 4)})
    assert (made.type, made.recognised.path) == ("table", "train.csv")
    assert len(listed(made)) == 4
    assert "whether classes.csv matter" in made.recognised.unsure[0]


def test_columns_are_found_by_what_they_hold(found):
    cells = [("train", "p1", "x|y"), ("valid", "p2", "y"), ("train", "p3", "x|y|z"), ("test", "p4", "z")] * 5
    rows = [f"{place:03d}.png,{part},{who},{tags}" for place, (part, who, tags) in enumerate(cells)]
    made = found({"m.csv": csv("file_name,part,patient_id,tags", *rows), **pictures("", 20)})
    assert made.recognised.options == {"split_column": "part", "group_column": "patient_id", "separator": "|"}
    [reference, *_] = open_source(made.options()).references()
    assert (reference.split, reference.group, reference.labels["tags"]) == ("train", "p1", ("x", "y"))


def test_a_group_that_is_torn_apart_by_the_split_is_told_of_and_not_set(found):
    rows = [f"{place:03d}.png,{'train' if place < 10 else 'test'},s{place % 4}" for place in range(20)]
    made = found({"m.csv": csv("file_name,split,serial", *rows), **pictures("", 20)})
    assert "group_column" not in made.recognised.options
    assert "column serial looks like a group, and 's0' is in several splits" in made.recognised.unsure[0]


def test_words_with_a_comma_are_no_sets_of_classes(found):
    rows = [f'{place:03d}.png,"a photo, number {place}"' for place in range(20)]
    assert found({"m.csv": csv("file_name,caption", *rows), **pictures("", 20)}).recognised.options == {}


def test_a_table_whose_images_are_elsewhere_is_nearly_recognised(found):
    with pytest.raises(DataError, match=r"nearly table: m\.csv: column 'file_name' names images that are not in the"):
        found({"m.csv": csv("file_name,label", "gone/a.jpg,x", "gone/b.jpg,y")})


def test_the_values_of_masks_in_a_table_are_named_by_the_classes_they_occur_in(found):
    rows = [(f"{at:03d}.png", f"m/{at:03d}.png", ("crack", "stain")[at % 2]) for at in range(8)]
    files = {path: mask(1 + at % 2) for at, (_, path, _) in enumerate(rows)}
    table = csv("file_name,mask_file_name,kind", *(",".join(row) for row in rows))
    made = found({"m.csv": table, **files, **pictures("", 8)})
    assert made.type == "table"
    assert made.recognised.options == {"mask_values": {0: "background", 1: "crack", 2: "stain"}}
    assert not made.recognised.unsure


@pytest.mark.parametrize(
    ("values", "background", "names", "words"),
    [
        ((1,), 0, {0: "background", 1: "foreground"}, "foreground are made up"),
        ((255,), 0, {0: "background", 255: "foreground"}, "foreground are made up"),
        ((1, 2, 255), 0, {0: "background", 1: "value_1", 2: "value_2"}, "value_1, value_2 are made up"),
        ((1, 3), 2, {1: "value_1", 2: "background", 3: "value_3"}, "whether 2 in masks is the background"),
    ],
)
def test_the_values_of_other_masks_are_named_by_what_they_are(found, values, background, names, words):
    masks = {f"masks/{place:03d}.png": mask(*values, background=background) for place in range(4)}
    made = found({**pictures("images", 5), **masks})
    assert made.type == "masks"
    assert made.recognised.options == {"images": "images", "masks": "masks", "names": names}
    said = " | ".join(made.recognised.unsure)
    assert words in said
    assert "images without a mask carry no label: 1 of 5" in said
    assert any("255 in masks: pixels without a label" in one for one in made.recognised.assumed) == (len(values) == 3)


def test_masks_in_colours_or_of_too_many_values_are_nearly_recognised(found):
    colours = {f"masks/{place:03d}.png": png(place) for place in range(4)}
    with pytest.raises(DataError, match=r"nearly masks: .*cannot be read as masks: the mask is a picture in RGB"):
        found({**pictures("images", 4), **colours})
    many = layouts.encoded(layouts.np.arange(200, dtype=layouts.np.uint8).reshape(10, 20))
    with pytest.raises(DataError, match="nearly masks: .*hold 200 values; classes were expected"):
        found({**pictures("images", 4), **dict.fromkeys(colours, many)})


def test_the_layout_of_the_coco_data_set_itself(found):
    files = {
        "annotations/instances_train2017.json": coco(NAMES),
        "annotations/instances_val2017.json": coco(NAMES),
        "annotations/person_keypoints_val2017.json": coco(NAMES),
        "annotations/captions_val2017.json": '{"images": [], "annotations": []}',
    }
    made = found({**files, **pictures("train2017", 4), **pictures("val2017", 4)})
    assert made.type == "coco"
    assert made.recognised.options == {
        "images": {
            "annotations/instances_train2017.json": "train2017",
            "annotations/instances_val2017.json": "val2017",
        }
    }
    assert listed(made)["val2017/000.png"] == "val"
    assert made.recognised.unsure == (
        "whether annotations/person_keypoints_val2017.json is wanted too: it is not read",
    )


def test_coco_beside_its_images_in_folders_of_splits_or_in_one_folder(found, tmp_path):
    inner = {f"{split}/_annotations.coco.json": coco(NAMES) for split in ("train", "valid")}
    made = found({**inner, **pictures("train", 4), **pictures("valid", 4)})
    assert made.recognised.options["images"] == {path: path.split("/")[0] for path in inner}
    assert listed(made)["valid/003.png"] == "val"


def test_coco_at_the_top_with_its_images_in_a_folder(found):
    made = found({"train.json": coco(NAMES[:2]), "val.json": coco(NAMES[2:]), **pictures("pics", 4)})
    assert (made.type, made.recognised.options) == ("coco", {"images": "pics"})
    assert listed(made) == {"000.png": "train", "001.png": "train", "002.png": "val", "003.png": "val"}


def test_coco_without_its_images_is_nearly_recognised(found):
    with pytest.raises(
        DataError, match=r"nearly coco: .*train\.json names images that are not in .*, such as 000\.png"
    ):
        found({"train.json": coco(NAMES)})


@pytest.mark.parametrize(("images", "xml"), [("JPEGImages", "Annotations"), ("images", "annotations")])
def test_xml_beside_images_is_voc_whatever_the_folders_are_called(found, images, xml):
    files = {f"{xml}/{place:03d}.xml": voc("cat", 2, 2, 9, 9) for place in range(3)}
    made = found({**files, **pictures(images, 4)})
    assert made.type == "voc"
    assert len(listed(made)) == 4
    assert "images without an XML file carry no label: 1" in made.recognised.unsure[0]


def test_other_xml_is_not_voc(found):
    with pytest.raises(DataError, match="nothing that Thaw reads"):
        found({"annotations/000.xml": "<svg/>", **pictures("images", 1)})


YOLO = {f"{split}/labels/{place:03d}.txt": "0 0.5 0.5 0.2 0.2\n" for split in ("train", "valid") for place in range(2)}


def test_yolo_with_a_yaml_file_of_any_name(found):
    said = "names: [nut, bolt]\ntrain: ../train/images\nval: ../valid/images\n"
    files = {**YOLO, **pictures("train/images", 2), **pictures("valid/images", 2)}
    made = found({**files, "parts.yaml": said, "other.yaml": "[1, 2]"})
    assert (made.type, made.recognised.path) == ("yolo", "parts.yaml")
    assert listed(made)["valid/images/000.png"] == "val"


def test_yolo_without_a_yaml_file_takes_names_from_the_lists_of_other_tools(found):
    files = {**pictures("images", 3), "labels/000.txt": "1 0.5 0.5 0.2 0.2\n", "labels/001.txt": ""}
    made = found({**files, "classes.txt": "nut\nbolt\n"})
    assert (made.type, made.recognised.options) == ("yolo", {"names": ["nut", "bolt"]})
    assert "images without a text file count as images in which nothing is: 1 of 3" in made.recognised.unsure


def test_yolo_without_names_says_so(found):
    made = found({**pictures("images", 1), "labels/000.txt": "1 0.5 0.5 0.2 0.2\n"})
    assert "what the classes are called" in made.recognised.unsure[0]


def test_yolo_with_outlines_or_a_yaml_file_that_leads_nowhere_is_nearly_recognised(found, tmp_path):
    outline = "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"
    with pytest.raises(DataError, match=r"nearly yolo: .*000\.txt and others hold outlines of things"):
        found({**pictures("images", 1), "labels/000.txt": outline})
    with pytest.raises(DataError, match=r"nearly yolo: .*'/home/me/train' leaves the folder"):
        found({"data.yaml": "names: [x]\ntrain: /home/me/train\n"})


def test_of_two_formats_the_surer_is_taken_and_the_other_can_be_chosen(found, tmp_path):
    files = {f"Annotations/{place:03d}.xml": voc("cat", 2, 2, 9, 9) for place in range(4)}
    both = {**files, **pictures("JPEGImages", 4), "train.json": coco(NAMES)}
    assert (found(both).type, found(both).others) == ("voc", ("coco",))
    made = found(both, "coco")
    assert (made.type, made.recognised.options) == ("coco", {"images": "JPEGImages"})
    with pytest.raises(DataError, match="nothing that Thaw reads"):
        found(both, "yolo")
    with pytest.raises(ConfigError, match="--type: 'cocoa' is not one of coco, .*did you mean 'coco'"):
        found(both, "cocoa")
    with pytest.raises(ConfigError, match="--type: 'boards' is not one of"):
        found(both, "boards")


def test_a_folder_that_is_nothing_is_refused_with_what_was_looked_for(found, tmp_path):
    with pytest.raises(DataError) as caught:
        found({"a.txt": "", "b/c.txt": ""})
    said = str(caught.value)
    assert "it holds b/, a.txt" in said
    for words in ("folder: images in one folder per class", "yolo: images beside text files", "voc: Pascal VOC"):
        assert words in said
    with pytest.raises(DataError, match="missing is no folder that can be read here"):
        recognition.find(str(tmp_path / "missing"))
