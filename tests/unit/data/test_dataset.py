"""Datasets: what is written comes back, and the fingerprint is of all that training sees."""

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import hostile
from thaw.config.experiment import Limits
from thaw.data import dataset, quality
from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import Boxes, LabelSchema
from thaw.errors import DataError, ThawError
from thaw.storage import open_root

LABELS = {
    "kind": LabelSchema(kind="class", names=("cat", "dog")),
    "tags": LabelSchema(kind="classes", names=("big", "old", "wet")),
    "heads": LabelSchema(kind="boxes", names=("cat", "dog")),
    "fur": LabelSchema(kind="mask", names=("none", "long", "short")),
}
SIZES = [(3, 2), (640, 480), (1, 1), (5, 9)]
LIMITS = Limits()


def boxes(*rows):
    """Return boxes of (x0, y0, x1, y1, label)."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64))


def mask(seed, width, height):
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], dtype=np.uint8), (height, width))


ANNOTATIONS = {
    "kind": [1, None, 0, 1],
    "tags": [(0, 2), (), None, (1,)],
    "heads": [boxes((0, 0.1, 1.5, 2, 1), (1, 0, 3, 1, 0)), boxes(), None, boxes((0, 0, 5, 9, 1))],
    "fur": [None, *(mask(seed, *size) for seed, size in enumerate(SIZES[1:]))],
}


def same(one, other):
    """Return whether two annotations are equal, in their types too."""
    if isinstance(one, Boxes):
        pairs = [(one.boxes, other.boxes), (one.labels, other.labels)]
        return all(same(first, second) for first, second in pairs)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return type(one) is type(other) and one == other


IDS = ["a/1.jpg", "a/ümlaut 猫.png", "b", "c" * 200]
IMAGES = [b"\xff\xd8", b"\0" * 1000, b"x", bytes(range(256))]


def described(**changes):
    report = Report(listed=4, rejected={"empty": 1}, classes={}, labelled={}, warnings=("few",))
    splits = {"train": (Shard(file="train-00000.parquet", rows=3), Shard(file="train-00001.parquet", rows=2))}
    values = {"name": "pets", "fingerprint": "0123456789ab", "labels": LABELS, "splits": splits, "report": report}
    return Dataset(**values | changes)


@pytest.mark.parametrize("kept_in", ["memory", "storage"])
def test_a_shard_gives_back_every_image_and_annotation(kept_in, tmp_path):
    shard = dataset.table(IDS, IMAGES, SIZES, ANNOTATIONS, LABELS)
    if kept_in == "storage":
        root = open_root(str(tmp_path))
        dataset.write_shard(root, "datasets/x/train-00000.parquet", shard)
        shard = dataset.read_shard(root, "datasets/x/train-00000.parquet")
    assert shard.num_rows == 4
    for row in range(4):
        expected = {task: values[row] for task, values in ANNOTATIONS.items()}
        image_id, image, found = dataset.encoded(shard, row)
        assert (image_id, image, found.keys()) == (IDS[row], IMAGES[row], expected.keys())
        assert all(same(found[task], expected[task]) for task in LABELS)
        assert (shard["width"][row].as_py(), shard["height"][row].as_py()) == SIZES[row]


def test_a_shard_names_a_column_for_every_task():
    shard = dataset.table(IDS, IMAGES, SIZES, ANNOTATIONS, LABELS)
    assert shard.column_names == ["id", "image", "width", "height", *(f"label.{task}" for task in LABELS)]


@pytest.mark.parametrize("task", LABELS)
def test_a_shard_without_any_label_for_a_task_keeps_its_column(task, tmp_path):
    root = open_root(str(tmp_path))
    shard = dataset.table(IDS, IMAGES, SIZES, ANNOTATIONS | {task: [None] * 4}, LABELS)
    dataset.write_shard(root, "s.parquet", shard)
    again = dataset.read_shard(root, "s.parquet")
    assert again.schema == shard.schema
    assert [dataset.encoded(again, row)[2][task] for row in range(4)] == [None] * 4


def test_a_task_may_be_called_like_a_column():
    labels = {"id": LABELS["kind"], "label": LABELS["kind"]}
    shard = dataset.table(["x"], [b"y"], [(1, 1)], {"id": [1], "label": [0]}, labels)
    assert dataset.encoded(shard, 0) == ("x", b"y", {"id": 1, "label": 0})


@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_are_read_without_the_images(split, tmp_path):
    root = open_root(str(tmp_path))
    shards = (Shard(file=f"{split}-00000.parquet", rows=4), Shard(file=f"{split}-00001.parquet", rows=4))
    prepared = described(splits={split: shards})
    for shard in shards:
        path = f"{prepared.path}/{shard.file}"
        dataset.write_shard(root, path, dataset.table(IDS, IMAGES, SIZES, ANNOTATIONS, LABELS))
    found = list(dataset.boxes_of(root, prepared, split, "heads"))
    assert [(width, height) for width, height, _ in found] == SIZES * 2
    assert all(same(one, other) for (*_, one), other in zip(found, ANNOTATIONS["heads"] * 2, strict=True))


@pytest.mark.parametrize("task", ["kind", "fur", "unheard"])
def test_boxes_of_a_task_without_boxes_are_refused(task, tmp_path):
    with pytest.raises(DataError, match=f"task {task} has no boxes; it holds kind, tags, heads, fur"):
        next(dataset.boxes_of(open_root(str(tmp_path)), described(), "train", task))


def test_a_description_is_saved_below_its_name_and_fingerprint_and_comes_back_equal(tmp_path):
    root = open_root(str(tmp_path))
    saved = described()
    saved.save(root)
    assert saved.path == "datasets/pets-0123456789ab"
    assert (tmp_path / saved.path / "dataset.json").is_file()
    assert Dataset.load(root, saved.path) == saved


def test_a_missing_description_is_the_users_to_mend(tmp_path):
    with pytest.raises(ThawError, match="nothing-000"):
        Dataset.load(open_root(str(tmp_path)), "datasets/nothing-000")


@pytest.mark.parametrize("change", [{"extra": 1}, {"fingerprint": None}, {"splits": {"train": [{"file": "x"}]}}])
def test_a_description_of_another_version_is_refused(change, tmp_path):
    root = open_root(str(tmp_path))
    root.write_json("d/dataset.json", described().model_dump(mode="json") | change)
    with pytest.raises(DataError, match="not a dataset of this version of Thaw"):
        Dataset.load(root, "d")


def test_rows_of_a_split_are_those_of_its_shards():
    assert described().rows("train") == 5
    assert described(splits={"train": ()}).rows("train") == 0


def test_folded_the_validation_images_are_among_those_of_training_and_nowhere_else():
    files = {split: (Shard(file=f"{split}.parquet", rows=rows),) for split, rows in (("train", 5), ("val", 2))}
    report = Report(
        listed=9,
        rejected={},
        classes={"train": {"kind": {"cat": 5}}, "val": {"kind": {"cat": 1, "dog": 1}}, "test": {"kind": {"cat": 2}}},
        labelled={"train": {"kind": 5}, "val": {"kind": 2}, "test": {"kind": 2}},
        warnings=(),
    )
    plain = described(splits={**files, "test": (Shard(file="test.parquet", rows=2),)}, report=report)
    folded = plain.folded()
    assert [shard.file for shard in folded.splits["train"]] == ["train.parquet", "val.parquet"]
    assert {split: folded.rows(split) for split in folded.splits} == {"train": 7, "val": 0, "test": 2}
    assert folded.report.classes["train"] == {"kind": {"cat": 6, "dog": 1}}
    assert folded.report.classes["val"] == {"kind": {"cat": 0, "dog": 0}}
    assert folded.report.labelled == {"train": {"kind": 7}, "val": {"kind": 0}, "test": {"kind": 2}}
    assert (folded.path, folded.fingerprint) == (plain.path, plain.fingerprint)
    assert folded.folded() == folded


def test_a_description_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        described().name = "x"


ROWS = [(f"{index}.jpg", f"{index:064x}", f'{{"kind": {index % 2}, "tags": null}}') for index in range(9)]


def shard_file(split="train", rows=ROWS, labels=LABELS, reencode=None):
    return dataset.shard_file(split, rows, labels, reencode)


@pytest.mark.parametrize("place", range(3))
def test_a_shard_is_named_by_its_split_and_by_all_that_is_in_it(place):
    changed = [*ROWS[:4], (*ROWS[4][:place], "another", *ROWS[4][place + 1 :]), *ROWS[5:]]
    other_kind = LABELS | {"kind": LabelSchema(kind="classes", names=("cat", "dog"))}
    others = [
        shard_file(rows=changed),
        shard_file(rows=ROWS[:-1]),
        shard_file(rows=ROWS[::-1]),
        shard_file(labels={"kind": LABELS["kind"]}),
        shard_file(labels=other_kind),
        shard_file(reencode=224),
        shard_file("val"),
    ]
    assert len({shard_file(), *others}) == 8
    assert [name.partition("-")[0] for name in (shard_file(), shard_file("val"))] == ["train", "val"]
    assert shard_file(labels=dict(reversed(LABELS.items()))) == shard_file()


def test_names_of_classes_are_no_part_of_a_shard_that_holds_their_indices():
    renamed = LABELS | {"kind": LabelSchema(kind="class", names=("cat", "emu"))}
    assert shard_file(labels=renamed) == shard_file()


def fingerprint(names=("a", "b"), labels=LABELS, split="train"):
    return dataset.fingerprint({split: [Shard(file=name, rows=1) for name in names], "val": ()}, labels)


def test_the_fingerprint_is_of_shards_and_of_the_classes_that_their_indices_mean():
    renamed = LABELS | {"kind": LabelSchema(kind="class", names=("cat", "emu"))}
    others = [fingerprint("a"), fingerprint("ba"), fingerprint(labels=renamed), fingerprint(split="test")]
    assert len({fingerprint(), *others}) == 5
    assert fingerprint(labels=dict(reversed(LABELS.items()))) == fingerprint()


def test_the_fingerprint_is_a_short_word_for_a_path():
    assert len(fingerprint()) == 12
    assert set(fingerprint()) <= set("0123456789abcdef")


def test_labels_are_read_without_images_shard_by_shard(tmp_path):
    root = open_root(str(tmp_path))
    shards = []
    for place, rows in enumerate(([0, 1, 2], [3])):
        shard = dataset.table(IDS, IMAGES, SIZES, ANNOTATIONS, LABELS).take(rows).drop_columns(["image"])
        shards.append(Shard(file=f"train-{place}.parquet", rows=len(rows)))
        dataset.write_shard(root, f"datasets/pets-0123456789ab/{shards[-1].file}", shard)
    prepared = described(splits={"train": tuple(shards)})
    assert dataset.classes_of(root, prepared, "train", "kind").tolist() == [1, -1, 0, 1]
    assert dataset.sets_of(root, prepared, "train", "tags").tolist() == [[1, 0, 1], [0, 0, 0], [-1] * 3, [0, 1, 0]]
    assert dataset.sizes_of(root, prepared, "train").tolist() == [list(size) for size in SIZES]
    for task, annotations in ANNOTATIONS.items():
        carried = dataset.labelled(root, prepared, "train", task)
        assert carried.tolist() == [one is not None for one in annotations]
        assert carried.dtype == bool


def test_a_split_without_images_has_no_labels(tmp_path):
    root, prepared = open_root(str(tmp_path)), described(splits={"val": ()})
    assert dataset.classes_of(root, prepared, "val", "kind").shape == (0,)
    assert dataset.sets_of(root, prepared, "val", "tags").shape == (0, 3)
    assert dataset.sizes_of(root, prepared, "val").shape == (0, 2)
    assert list(dataset.boxes_of(root, prepared, "val", "heads")) == []
    assert dataset.labelled(root, prepared, "val", "fur").shape == (0,)


def test_bitmaps_hold_the_same_pixels_whatever_the_images_were():
    good = {}
    for name, (content, _) in hostile.files().items():
        with suppress(quality.BadImage):
            good[name] = (content, quality.decode(content, LIMITS))
    assert len(good) > 20
    sizes = [pixels.shape[1::-1] for _, pixels in good.values()]
    labels = {"kind": LABELS["kind"]}
    shard = dataset.table(list(good), [one for one, _ in good.values()], sizes, {"kind": [1] * len(good)}, labels)
    drawn = dataset.as_bitmaps(shard, LIMITS)
    for row, (name, (_, pixels)) in enumerate(good.items()):
        image_id, content, annotations = dataset.encoded(drawn, row)
        assert (image_id, annotations) == (name, {"kind": 1})
        assert content.startswith(b"BM")
        np.testing.assert_array_equal(quality.decode(content, LIMITS), pixels)


def test_the_size_of_bitmaps_is_known_without_reading_images(tmp_path):
    root = open_root(str(tmp_path))
    images = [picture(*size) for size in SIZES]
    shard = dataset.table(IDS, images, SIZES, {"kind": [1] * 4}, {"kind": LABELS["kind"]})
    made = described(splits={"train": (Shard(file="train-00000.parquet", rows=4),), "val": ()})
    dataset.write_shard(root, f"{made.path}/train-00000.parquet", shard)
    drawn = dataset.as_bitmaps(shard, LIMITS)
    exact = [len(dataset.encoded(drawn, row)[1]) for row in range(4)]
    found = dataset.bitmap_sizes(root, made, "train")
    assert all(0 <= about - one <= 3 * high + 64 for about, one, (_, high) in zip(found, exact, SIZES, strict=True))
    assert len(dataset.bitmap_sizes(root, made, "val")) == 0


def picture(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()
