"""Golden images travel with a model and tell, wherever it is loaded, whether it still answers as it did."""

import copy
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import stored as made
from stored import Stored
from thaw import golden
from thaw.bundle import Bundle
from thaw.errors import ModelError


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return made.stored(tmp_path_factory.mktemp("stored"))


def _changed(stored: Stored, by: float) -> Bundle:
    """Return the model with the margins of its first class moved."""
    changed = replace(stored.bundle, model=copy.deepcopy(stored.bundle.model))
    with torch.no_grad():
        changed.model.heads["colour"][1].bias[0] += by
    return changed


def test_eight_validation_images_are_drawn_the_same_ones_for_the_same_seed(stored: Stored) -> None:
    drawn = golden.draw(stored.root, stored.prepared, 3)
    assert len(drawn) == golden.IMAGES
    assert all(name.startswith("val") for name in drawn)
    assert drawn == golden.draw(stored.root, stored.prepared, 3)
    assert drawn.keys() != golden.draw(stored.root, stored.prepared, 4).keys()
    seeds = {int(name.removeprefix("val")) for name in drawn}
    assert all(drawn[f"val{seed}"] == made.png(made.image(seed)) for seed in seeds)


def test_all_images_together_are_bounded_in_size(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 3 * len(made.png(made.image(made.IMAGES))) + 100
    monkeypatch.setattr(golden, "MAX_BYTES", most)
    drawn = golden.draw(stored.root, stored.prepared, 3)
    assert 0 < len(drawn) < golden.IMAGES
    assert sum(map(len, drawn.values())) <= most


def test_a_large_image_is_kept_smaller(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    large = buffer.getvalue()
    assert len(large) > golden.MAX_BYTES
    monkeypatch.setattr(golden.dataset, "images_at", lambda *_: [(place, (f"val{place}", large)) for place in range(3)])
    monkeypatch.setattr(golden.excerpt, "choose", lambda *_: [0, 1, 2])
    drawn = golden.draw(stored.root, stored.prepared, 3)
    assert len(drawn) == 3
    assert sum(map(len, drawn.values())) <= golden.MAX_BYTES
    assert Image.open(io.BytesIO(drawn["val0"])).size == (1024, 768)


def test_a_model_that_is_the_same_answers_them_the_same(stored: Stored) -> None:
    assert golden.check(stored.bundle, stored.folder) == 0
    assert len(golden.read(stored.bundle, stored.folder)) == golden.IMAGES


def test_a_model_that_answers_otherwise_is_refused_with_the_difference_and_what_is_allowed(stored: Stored) -> None:
    assert golden.check(_changed(stored, 1e-4), stored.folder) > 0
    with pytest.raises(ModelError, match=r"golden image val\d+ task colour is 0\.\d{4} off; 0\.005 is allowed"):
        golden.check(_changed(stored, 8.0), stored.folder)
    assert golden.check(_changed(stored, 8.0), stored.folder, tolerance=1.0) > golden.TOLERANCE


def test_an_answer_that_is_no_number_is_refused(stored: Stored) -> None:
    with pytest.raises(ModelError, match="task colour is nan off"):
        golden.check(_changed(stored, float("nan")), stored.folder)


def test_a_model_without_golden_images_is_not_checked(stored: Stored, tmp_path: Path) -> None:
    assert golden.check(stored.bundle, tmp_path) is None
    golden.write(stored.bundle, {"broken": b"no image"}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "other columns", "other tasks"])
def test_a_damaged_file_is_refused(stored: Stored, tmp_path: Path, damage: str) -> None:
    file = tmp_path / golden.FILE
    shutil.copy(stored.folder / golden.FILE, file)
    table = pq.read_table(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "other columns":
        pq.write_table(table.drop_columns(["answer"]), file)
    else:
        answers = ['{"colour": {}}'] * len(table)
        pq.write_table(table.set_column(2, "answer", [answers]), file)
    with pytest.raises(ModelError, match="not the golden images of this model"):
        golden.check(stored.bundle, tmp_path)
