"""What is measured of images, and where it is kept."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

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


def _photograph(seed, width=320, height=240):
    """Return a picture whose neighbouring pixels are alike, as those of photographs are."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    shape = np.add.outer(np.fft.fftfreq(height) ** 2, np.fft.rfftfreq(width) ** 2) + 1e-4
    waves = np.fft.rfft2(noise, axes=(0, 1)) / np.sqrt(shape)[..., np.newaxis]
    pixels = np.fft.irfft2(waves, s=(height, width), axes=(0, 1))
    return np.clip(128 + 50 * pixels / pixels.std(), 0, 255).astype(np.uint8)


def _blurred(pixels, sigma):
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


@pytest.mark.parametrize("seed", range(3))
def test_blur_grows_with_a_blur_whatever_the_contrast_and_the_size(seed):
    sharp = _photograph(seed)
    blurs = [facts.measure(b"", _blurred(sharp, sigma))["blur"] for sigma in (0, 1, 2, 4)]
    assert blurs == sorted(blurs)
    assert blurs[0] < 0.25 < blurs[1] < 0.4 < blurs[2] < 0.6 < blurs[3]
    flat = facts.measure(b"", (sharp // 3 + 80).astype(np.uint8))["blur"]
    assert flat == pytest.approx(blurs[0], abs=0.05)
    large = np.kron(_blurred(sharp, 2), np.ones((5, 5, 1), np.uint8))
    assert facts.measure(b"", large)["blur"] == pytest.approx(blurs[2], abs=0.08)


def test_blur_is_what_the_papers_formula_gives():
    """Compared with means that are computed one by one."""
    grey = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(float)

    def left(values):
        mean = np.stack([values[row - 4 : row + 5].mean(axis=0) for row in range(4, len(values) - 4)])
        before, after = np.abs(np.diff(values[4:-4], axis=0)), np.abs(np.diff(mean, axis=0))
        return 1 - np.maximum(0, before - after).sum() / before.sum()

    found = facts.measure(b"", np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2))
    assert found["blur"] == pytest.approx(max(left(grey), left(grey.T)))


def test_a_direction_without_differences_says_nothing_of_blur():
    stripes = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 90, 1), dtype=np.uint8), 60, axis=0)
    assert facts.measure(b"", np.repeat(stripes, 3, axis=2))["blur"] < 0.3


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (5000, 1), (3, 2)])
def test_pictures_of_any_shape_are_measured(shape):
    found = facts.measure(b"", np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert 0 <= found["blur"] <= 1
    assert all(np.isfinite(value) for value in found.values() if isinstance(value, float))


def test_one_colour_has_no_spread_though_a_few_pixels_differ():
    plain = np.full((100, 100, 3), (200, 30, 90), np.uint8)
    assert facts.measure(b"", plain)["spread"] == 0
    assert facts.measure(b"", plain)["blur"] == 1
    plain[:2, :20] = 0
    assert facts.measure(b"", plain)["spread"] == 0
    plain[:4, :50, 2] = 250
    assert facts.measure(b"", plain)["spread"] == 250 - 90


def test_low_and_high_are_what_few_pixels_fall_short_of_and_exceed():
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[:5], pixels[-2:] = 10, 240
    found = facts.measure(b"", pixels)
    assert (found["low"], found["high"]) == (10, 240)
    pixels[4], pixels[-2] = 90, 90
    found = facts.measure(b"", pixels)
    assert (found["low"], found["high"]) == (90, 90)


def test_the_format_is_that_of_the_content():
    pixels = np.zeros((2, 2, 3), np.uint8)
    found = [facts.measure(content, pixels)["format"] for content in (b"\xff\xd8\xff\xe0", b"GIF89a", b"text")]
    assert found == ["JPEG", "GIF", None]


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


def test_digests_are_those_of_some_splits(tmp_path):
    root, prepared = open_root(str(tmp_path)), _prepared()
    splits = {**prepared.splits, "test": (Shard(file="test-00000.parquet", rows=1),)}
    prepared = prepared.model_copy(update={"splits": splits})
    pixels = np.zeros((4, 3, 3), np.uint8)
    rows = [{"id": name, "sha256": name * 2, **facts.measure(b"1", pixels)} for name in "abc"]
    facts.write(root, prepared.path, pa.Table.from_pylist(rows, facts.SCHEMA))
    assert facts.digests(root, prepared, ["test"]) == {"cc"}
    assert facts.digests(root, prepared, ["train", "val"]) == {"aa", "bb"}


def test_facts_of_other_columns_are_not_there(tmp_path):
    root, prepared = open_root(str(tmp_path)), _prepared()
    facts.write(root, prepared.path, facts.SCHEMA.empty_table())
    assert facts.written(root, prepared.path)
    buffer = io.BytesIO()
    pq.write_table(facts.read(root, prepared).drop_columns(["blur"]), buffer)
    root.write_bytes(f"{prepared.path}/{facts.FILE}", buffer.getvalue())
    assert not facts.written(root, prepared.path)
    with pytest.raises(DataError, match="run `thaw prepare`"):
        facts.read(root, prepared)


def test_a_dataset_without_facts_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="run `thaw prepare`"):
        facts.read(open_root(str(tmp_path)), _prepared())
