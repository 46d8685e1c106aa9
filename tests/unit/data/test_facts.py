"""What is measured of images, and where it is kept."""

import numpy as np
import pyarrow as pa
import pytest

from thaw.data import facts
from thaw.data.dataset import Dataset, Report, Shard
from thaw.errors import DataError
from thaw.storage import open_root


def _prepared() -> Dataset:
    report = Report(listed=2, rejected={}, classes={}, labelled={}, warnings=())
    splits = {"train": (Shard(file="train-00000.parquet", rows=2),), "val": (), "test": ()}
    return Dataset(name="one", fingerprint="f", labels={}, splits=splits, report=report)


def test_brightness_and_contrast_are_those_of_the_grey_image():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = 200
    found = facts.measure(b"12345", pixels)
    assert found["bytes"] == 5
    assert found["brightness"] == pytest.approx(100, abs=0.01)
    assert found["contrast"] == pytest.approx(100, abs=0.01)


def test_a_large_image_is_measured_as_a_small_one_is():
    half = np.zeros((3000, 2000, 3), np.uint8)
    half[:1500] = (0, 255, 0)
    found = facts.measure(b"", half)
    assert found["brightness"] == pytest.approx(0.587 * 255 / 2, rel=0.01)


def test_facts_come_back_in_the_order_they_were_written(tmp_path):
    root, prepared = open_root(str(tmp_path)), _prepared()
    rows = [
        {"id": name, "split": "train", "sha256": name * 2, "width": 3, "height": 4, **facts.measure(b"1", one)}
        for name, one in (("b", np.zeros((4, 3, 3), np.uint8)), ("a", np.full((4, 3, 3), 255, np.uint8)))
    ]
    facts.write(root, prepared.path, pa.Table.from_pylist(rows, facts.SCHEMA))
    found = facts.read(root, prepared)
    assert found["id"].to_pylist() == ["b", "a"]
    assert found["brightness"].to_pylist() == pytest.approx([0, 255])


def test_a_dataset_without_facts_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="run `thaw prepare`"):
        facts.read(open_root(str(tmp_path)), _prepared())
