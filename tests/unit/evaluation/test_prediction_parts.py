"""Parts of a folder's answers: each image is answered or refused once, and only what changed is answered again."""

import io
import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import stored as storing
from thaw.config.limits import Limits
from thaw.errors import ConfigError, StorageError
from thaw.evaluation.predict import predict
from thaw.evaluation.predicting import part
from thaw.evaluation.predicting.answerer import Answerer, Asked
from thaw.predictor import as_json
from thaw.registry import store
from thaw.storage import open_root


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return storing.stored(tmp_path_factory.mktemp("store"))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "images"
    (made / "deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "deep/c.png", "d.png", "e.png"):
        Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(made / name)
    (made / "broken.png").write_text("no image")
    return made


IMAGES = ["a.png", "b.png", "broken.png", "d.png", "deep/c.png", "e.png", "gone.png"]


def asked(found, folder, tmp_path, **changed):
    given = {
        "artifact": None,
        "identity": "one",
        "limits": Limits(),
        "batch": 2,
        "device": "cpu",
        "threads": 2,
        **changed,
    }
    version = store.resolve(found.root, found.reference)
    return Asked(root=found.root, found=version, folder=str(folder), out=open_root(str(tmp_path / "out")), **given)


def rows(tmp_path, bits=""):
    return pq.read_table(tmp_path / "out" / part.file_of(bits)).to_pylist()


def test_every_image_is_answered_as_anywhere_else_or_refused(found, folder, tmp_path):
    counted = Answerer(asked(found, folder, tmp_path)).part("", IMAGES)
    assert (counted.images, counted.was_there) == (7, False)
    assert counted.refused == {"not_an_image": 1, "unreadable": 1}
    written = rows(tmp_path)
    assert [row["image"] for row in written] == IMAGES
    wanted = predict(found.root.uri, found.reference, [folder / name for name in IMAGES[:2]], Limits())
    assert [json.loads(row["answers"]) for row in written[:2]] == [as_json(one) for one in wanted.answers.values()]
    assert [(row["answers"] is None, row["refused"] is None) for row in written] == [
        (name in ("broken.png", "gone.png"), name not in ("broken.png", "gone.png")) for name in IMAGES
    ]


def test_a_part_that_is_there_is_left_alone_until_an_image_or_the_model_is_another(found, folder, tmp_path):
    images = [name for name in IMAGES if name != "gone.png"]
    answerer = Answerer(asked(found, folder, tmp_path))
    first = answerer.part("", images)
    file = tmp_path / "out" / part.file_of("")
    before = file.stat().st_ino
    again = answerer.part("", images)
    assert (again.images, again.refused, again.was_there) == (first.images, first.refused, True)
    assert file.stat().st_ino == before
    assert not answerer.part("", images[:-1]).was_there
    assert not answerer.part("", images).was_there
    os.utime(folder / "a.png", ns=(1, 1))
    assert not answerer.part("", images).was_there
    assert answerer.part("", images).was_there
    assert not Answerer(asked(found, folder, tmp_path, limits=Limits(max_pixels=100))).part("", images).was_there
    assert {row["refused"] is None for row in rows(tmp_path)} == {False}


def test_a_part_of_another_model_of_the_same_name_is_made_anew(found, folder, tmp_path):
    Answerer(asked(found, folder, tmp_path)).part("", ["a.png"])
    assert not Answerer(asked(found, folder, tmp_path, identity="two")).part("", ["a.png"]).was_there


def test_a_part_with_an_image_that_could_not_be_read_is_made_anew(tmp_path):
    root = open_root(str(tmp_path))
    part.write(root, "0", "mark", {}, {"a.png": ("not_an_image", "no image")})
    part.write(root, "1", "mark", {}, {"a.png": (part.UNREADABLE, "unreadable: Stale file handle")})
    assert part.kept(root, "0", "mark") is not None
    assert part.kept(root, "1", "mark") is None


def test_a_node_that_does_not_see_the_images_says_so(found, tmp_path):
    with pytest.raises(StorageError, match="give a path or URI that every node reaches"):
        Answerer(asked(found, tmp_path / "nowhere", tmp_path))


def test_parts_of_others_are_neither_deleted_nor_mixed_with(tmp_path):
    root, own = open_root(str(tmp_path)), {"model": "boards/1", "images": "/data", "identity": "one"}
    part.claim(root, own)
    part.claim(root, own)
    for other in ({"model": "boards/2"}, {"images": "/more"}, {"identity": "two"}):
        with pytest.raises(ConfigError, match="holds answers of boards/1 to /data"):
            part.claim(root, own | other)
    root.write_bytes("part0.parquet", b"")
    root.remove(part.BEGUN)
    with pytest.raises(ConfigError, match="nothing says whose"):
        part.claim(root, own)


def test_parts_that_are_not_there_are_told(tmp_path):
    root = open_root(str(tmp_path))
    root.write_bytes("part0.parquet", b"")
    assert part.lacking(root, ["0", "10", "11"]) == ["part10.parquet", "part11.parquet"]


def test_parts_may_lie_in_an_object_store(found, folder, tmp_path, root):
    answerer = Answerer(replace(asked(found, folder, tmp_path), out=root))
    assert [answerer.part("", ["a.png"]).was_there for _ in range(2)] == [False, True]


def test_a_part_with_a_file_that_is_gone_is_looked_at_again(found, folder, tmp_path):
    answerer = Answerer(asked(found, folder, tmp_path))
    answerer.part("", IMAGES)
    assert not answerer.part("", IMAGES).was_there


@pytest.mark.parametrize("content", [b"", b"no Parquet", None])
def test_a_file_that_is_none_of_ours_is_written_anew(content, found, folder, tmp_path):
    file = tmp_path / "out" / part.file_of("01")
    file.parent.mkdir()
    if content is None:
        buffer = io.BytesIO()
        pq.write_table(pq.read_table(_other(tmp_path)), buffer)
        content = buffer.getvalue()
    file.write_bytes(content)
    assert not Answerer(asked(found, folder, tmp_path)).part("01", ["a.png"]).was_there
    assert len(rows(tmp_path, "01")) == 1


def _other(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    return tmp_path / "other.parquet"


def test_parts_of_images_that_are_gone_are_told_and_other_files_are_not(tmp_path):
    root = open_root(str(tmp_path))
    for name in ("part.parquet", "part0.parquet", "part01.parquet", "part2.parquet", "parts.parquet", "notes.txt"):
        root.write_bytes(name, b"")
    assert part.others(root, ["0"]) == ["part.parquet", "part01.parquet"]


@pytest.mark.parametrize(("images", "most"), [(1, 16), (2000, 31), (100_000, 1024), (10_000_000, 1024)])
def test_there_are_parts_for_many_nodes_and_none_is_too_large_to_lose(images, most):
    assert part.most_images(images) == most
