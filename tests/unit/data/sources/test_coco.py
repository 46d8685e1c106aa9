"""coco: categories by name, boxes from x, y, width, height, masks from polygons and run lengths."""

import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as pycoco

from thaw.data import rle
from thaw.data.sources import coco
from thaw.data.sources.contract import BadLabel, RawBoxes, RawMask
from thaw.errors import DataError

CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]
IMAGE = {"id": 5, "file_name": "a.jpg", "width": 8, "height": 6}
MEANINGS = {0: "background", 1: "cat", 2: "dog"}


def said(*annotations, images=(IMAGE,), **changes):
    annotations = [{"id": number, "image_id": 5, "category_id": 1} | one for number, one in enumerate(annotations)]
    return {"images": list(images), "annotations": annotations, "categories": CATEGORIES} | changes


@pytest.fixture
def source(tmp_path):
    """Write JSON by name, and return a source of their folder or of one of them."""

    def _source(files, path="", **options):
        for name, content in files.items():
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return coco.Source(coco.Options(type="coco", path=str(tmp_path / path), **options))

    return _source


def only(source, column):
    [one] = source.references()
    return one.labels.get(column)


def square(*edges):
    x0, y0, x1, y1 = edges
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def test_boxes_are_named_by_category_and_reach_from_corner_to_corner(source):
    made = source({"x.json": said({"bbox": [1, 2, 3.5, 4]}, {"bbox": [0, 0, 1, 1], "category_id": 3})})
    assert only(made, "boxes") == RawBoxes(((1, 2, 4.5, 6), (0, 0, 1, 1)), ("cat", "dog"))
    assert only(made, "mask") is None


def test_an_image_without_annotations_has_no_boxes_and_one_with_half_of_them_no_label(source):
    images = (IMAGE, IMAGE | {"id": 6, "file_name": "b.jpg"}, IMAGE | {"id": 7, "file_name": "c.jpg"})
    half = {"segmentation": square(0, 0, 2, 2), "image_id": 7}
    whole = half | {"bbox": [0, 0, 2, 2], "image_id": 5}
    made = source({"x.json": said(whole, half, {"bbox": [1, 1, 2, 2], "image_id": 7}, images=images)})
    found = {one.id: one.labels for one in made.references()}
    assert found["b.jpg"] == {"boxes": RawBoxes((), ()), "mask": RawMask("x.json:6", MEANINGS)}
    assert found["c.jpg"] == {"boxes": None, "mask": None}
    assert not made.mask("x.json:6", 8, 6).any()


def test_a_crowd_is_no_box_but_covers_pixels(source):
    crowd = {"bbox": [0, 0, 8, 6], "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [6, 6, 36]}}
    made = source({"x.json": said(crowd)})
    assert only(made, "boxes") == RawBoxes((), ())
    assert made.mask("x.json:5", 8, 6).sum() == 6


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("instances_val2017", "val"), ("TEST", "test"), ("annotations", None), ("trainer", None)],
)
def test_a_word_in_the_name_of_the_file_gives_the_split(source, name, split):
    assert [one.split for one in source({f"{name}.json": said()}).references()] == [split]


def test_images_may_lie_elsewhere_and_one_file_be_named_alone(source, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"a")
    files = {"x.json": said(), "y.json": said(images=[IMAGE | {"file_name": "b.jpg"}])}
    made = source(files, "x.json", images="pictures")
    assert [one.id for one in made.references()] == ["a.jpg"]
    assert made.read("a.jpg") == b"a"


def test_files_may_be_named_with_the_folder_of_images_of_each_and_others_are_left_alone(source, tmp_path):
    for folder in ("annotations", "train2017", "valid"):
        (tmp_path / folder).mkdir()
    (tmp_path / "train2017" / "a.jpg").write_bytes(b"a")
    images = {"annotations/instances_train2017.json": "train2017", "valid/_annotations.coco.json": "valid"}
    whole = {"bbox": [0, 0, 8, 6], "segmentation": square(0, 0, 8, 6)}
    files = {**dict.fromkeys(images, said(whole)), "annotations/captions_train2017.json": "{}", "x.json": "[]"}
    made = source(files, images=images)
    assert [(one.id, one.split) for one in made.references()] == [("train2017/a.jpg", "train"), ("valid/a.jpg", "val")]
    assert made.read("train2017/a.jpg") == b"a"
    [mask, _] = (one.labels["mask"] for one in made.references())
    assert (made.mask(mask.id, 8, 6) == 1).all()


@pytest.mark.parametrize("images", [{"x.json": "../elsewhere"}, {"../x.json": "."}, {"x.json": "/elsewhere"}])
def test_files_and_their_images_that_are_named_lie_in_the_folder(source, images):
    with pytest.raises(DataError, match=r"data\.source\.images: .* leaves the folder"):
        list(source({"x.json": said()}, images=images).references())


def test_later_annotations_cover_earlier_ones_and_the_rest_is_background(source):
    first = {"segmentation": square(0, 0, 5, 4), "category_id": 3}
    made = source({"x.json": said(first, {"segmentation": square(2, 1, 8, 3)})})
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[:4, :5] = 2
    expected[1:3, 2:] = 1
    assert made.mask("x.json:5", 8, 6).tolist() == expected.tolist()
    assert only(made, "mask") == RawMask("x.json:5", MEANINGS)


def test_without_a_background_the_rest_has_no_label(source):
    made = source({"x.json": said({"segmentation": square(0, 0, 5, 4)})}, background=None)
    assert only(made, "mask").names == {1: "cat", 2: "dog"}
    assert sorted(np.unique(made.mask("x.json:5", 8, 6)).tolist()) == [1, 255]


def test_values_are_those_of_all_files_together(source):
    files = {
        "a.json": said({"segmentation": square(0, 0, 8, 6)}),
        "b.json": said(categories=[{"id": 1, "name": "ant"}], images=[IMAGE | {"file_name": "b.jpg"}]),
    }
    made = source(files)
    assert {one.labels["mask"].names[2] for one in made.references()} == {"cat"}
    assert set(made.mask("a.json:5", 8, 6).ravel().tolist()) == {2}


@pytest.mark.parametrize("seed", range(12))
def test_polygons_cover_what_cocos_own_code_covers_but_for_pixels_at_the_rim(seed):
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 3 + seed))
    reach = random.uniform(15, 40, len(angles))
    corners = np.stack([50 + reach * np.cos(angles), 45 + reach * np.sin(angles)], axis=1)
    ours = coco._filled([corners.ravel().tolist()], 100, 90)
    runs = pycoco.merge(pycoco.frPyObjects([corners.ravel().tolist()], 90, 100))
    differing = ours ^ rle.decode(rle.Rle(size=(90, 100), counts=runs["counts"].decode()))
    ends = np.roll(corners, -1, axis=0)
    rows, columns = np.nonzero(differing)
    for x, y in zip(columns + 0.5, rows + 0.5, strict=True):
        assert _distance(np.array([x, y]), corners, ends) < 1


def _distance(point, starts, ends):
    along = ends - starts
    share = np.clip(((point - starts) * along).sum(1) / np.maximum((along**2).sum(1), 1e-9), 0, 1)
    return np.hypot(*(starts + share[:, None] * along - point).T).min()


@pytest.mark.parametrize("seed", range(6))
def test_polygons_fill_whole_pixels_exactly_and_may_leave_the_image(seed):
    x0, y0 = np.random.default_rng(seed).integers(-4, 6, 2).tolist()
    x1, y1 = x0 + 4, y0 + 3
    expected = np.zeros((6, 8), dtype=bool)
    expected[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    assert np.array_equal(coco._filled(square(x0, y0, x1, y1), 8, 6), expected)


@pytest.mark.parametrize("seed", range(12))
def test_a_polygon_covers_the_same_pixels_wherever_the_image_ends(seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(-40, 80, (3 + seed, 2)).round(seed % 3)
    whole = coco._inside(corners + 40, 140, 140)
    assert np.array_equal(coco._filled([corners.ravel().tolist()], 60, 50), whole[40:90, 40:100])


@pytest.mark.parametrize("edges", [(-1e8, -1e8, 1e8, 1e8), (-9, -9, -2, -2), (50, 2, 60, 4), (2, 50, 4, 60)])
def test_a_polygon_may_lie_outside_or_all_around(edges):
    assert coco._filled(square(*edges), 8, 6).sum() == (48 if edges[0] == -1e8 else 0)


def test_a_small_polygon_of_a_large_image_takes_little_memory():
    tracemalloc.start()
    covered = coco._filled(square(5000, 4000, 5050, 4050), 8000, 6000)
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()
    assert covered.sum() == 2500


def test_a_pixel_is_covered_where_its_middle_is():
    covered = coco._filled(square(0.4, 0.6, 4.4, 3.6), 8, 6)
    assert np.argwhere(covered).min(0).tolist() == [1, 0]
    assert np.argwhere(covered).max(0).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 1, 2]], "mask_unreadable"),
        ([[1, 1, 2, 2]], "mask_unreadable"),
        ([[1, 1, 2, 2, 3, float("nan")]], "mask_unreadable"),
        ([["a"] * 6], "mask_unreadable"),
        ({"counts": [48]}, "mask_unreadable"),
        ({"size": [6, 8], "counts": [47]}, "mask_unreadable"),
        ({"size": [6, 8], "counts": [10**12]}, "mask_unreadable"),
        ({"size": [6, 8], "counts": [2**62] * 4 + [48]}, "mask_unreadable"),
        ({"size": [6, 8], "counts": [2**64]}, "mask_unreadable"),
        ({"size": [2**70, 8], "counts": [48]}, "mask_size"),
        ({"size": [6, 8], "counts": [40.5, 7.9]}, "mask_unreadable"),
        ([[-1.7e308, -1.7e308, 1.7e308, 1.7e308, 1.7e308, -1.7e308]], "mask_unreadable"),
        ([[10**400, 1, 2, 2, 3, 3]], "mask_unreadable"),
        ({"size": [6, 8], "counts": "oo"}, "mask_unreadable"),
        ({"size": [6, 8], "counts": rle.encode(np.ones((9, 9), dtype=bool)).counts}, "mask_unreadable"),
        ({"size": [8, 6], "counts": [48]}, "mask_size"),
        ("text", "mask_unreadable"),
    ],
)
def test_a_segmentation_that_cannot_be_drawn_is_set_aside_alone(source, segmentation, reason):
    made = source({"x.json": said({"segmentation": segmentation})})
    assert only(made, "mask") == RawMask("x.json:5", MEANINGS)
    with pytest.raises(BadLabel, match="annotation 0") as caught:
        made.mask("x.json:5", 8, 6)
    assert caught.value.reason == reason


def test_an_image_of_another_size_than_the_file_says_has_no_mask(source):
    made = source({"x.json": said({"segmentation": square(0, 0, 5, 4)})})
    with pytest.raises(BadLabel, match="says 8 x 6 pixels of a.jpg; it has 6 x 8") as caught:
        made.mask("x.json:5", 6, 8)
    assert caught.value.reason == "mask_size"


@pytest.mark.parametrize("mask_id", ["x.json:9", "y.json:5"])
def test_a_mask_that_is_gone_is_an_os_error(source, mask_id):
    with pytest.raises(OSError):
        source({"x.json": said()}).mask(mask_id, 8, 6)


def test_a_file_that_changed_is_read_again(source, tmp_path):
    assert only(source({"x.json": said({"bbox": [1, 2, 3, 4]})}), "boxes").names == ("cat",)
    made = source({"x.json": said({"bbox": [1, 2, 3, 4], "category_id": 3})})
    assert only(made, "boxes").names == ("dog",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{broken", "x.json: cannot be read as JSON"),
        ("[1]", "x.json: is not laid out as COCO is"),
        ({"images": []}, "x.json: is not laid out as COCO is: KeyError 'categories'"),
        (said(images=[{"id": 1}]), "KeyError 'file_name'"),
        (said(images=[{"id": 1, "file_name": None}]), "image 1 has no file_name"),
        (said(images=[IMAGE, IMAGE]), "two images have the same id"),
        (said({"category_id": 2}), "annotation 0 is of category 2, which is not listed"),
        (
            said({"image_id": "05"}),
            "x.json: is not laid out as COCO is: ValueError annotation 0 is of image '05', which is",
        ),
        (said({"bbox": [1, 2, 3]}), "x.json: annotation 0: bbox is [1, 2, 3], not four numbers"),
        (said({"bbox": [1, 2, 3, None]}), "bbox is [1, 2, 3, None], not four numbers"),
        (said(images=[IMAGE | {"file_name": "../a.jpg"}]), "'../a.jpg' leaves the folder"),
        (said(images=[IMAGE | {"file_name": "/a.jpg"}]), "'/a.jpg' leaves the folder"),
        (said(images=[]), "names no image"),
    ],
)
def test_a_file_that_is_not_laid_out_so_is_refused_by_name(source, content, words):
    with pytest.raises(DataError) as caught:
        list(source({"x.json": content}).references())
    assert words in str(caught.value)


def test_more_categories_than_a_mask_has_values_are_refused(source):
    many = [{"id": number, "name": f"n{number:03d}"} for number in range(255)]
    made = source({"x.json": said({"segmentation": square(0, 0, 1, 1)}, categories=many)})
    with pytest.raises(DataError, match="255 categories; masks can hold 254"):
        list(made.references())
