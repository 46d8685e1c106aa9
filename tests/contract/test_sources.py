"""Every source keeps the contract: stable unique references, bytes on demand, options that travel as JSON."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from thaw import catalog
from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.data.prepare import examine, open_source
from thaw.data.sources.contract import Reference
from thaw.errors import DataError

IMAGES = [(f"{label}/{index}.png", label) for label in ("cat", "dog") for index in range(3)]


def _write_images(folder):
    for place, (name, _) in enumerate(IMAGES):
        pixels = np.full((4, 5, 3), place, dtype=np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(encoded.getvalue())


def _folder(folder):
    _write_images(folder)
    return {"path": str(folder)}


def _table(folder):
    _write_images(folder)
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "label"), *IMAGES])
    return {"path": str(folder)}


def _boards(_folder):
    return {"images": 5, "size": 64}


MAKERS = {"folder": _folder, "table": _table, "boards": _boards}
"""How to make a little source of each kind; a new source needs one here."""
KINDS = catalog.names("data.sources")
ON_DISK = ("folder", "table")


def options(kind, folder):
    return catalog.part("data.sources", kind).Options(type=kind, **MAKERS[kind](folder))


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    return open_source(options(request.param, tmp_path))


def test_every_source_is_under_test():
    assert set(MAKERS) == set(KINDS)


def test_references_are_unique_and_come_in_a_stable_order(source):
    first, second = list(source.references()), list(source.references())
    assert first == second
    assert len(first) >= 5
    assert len({one.id for one in first}) == len(first)
    assert list(type(source)(source.options).references()) == first


def test_references_hold_plain_values(source):
    for one in source.references():
        assert isinstance(one, Reference)
        assert one.split in ("train", "val", "test", None)
        assert one.labels
        for column, label in one.labels.items():
            assert isinstance(column, str)
            assert label is None or isinstance(label, str | tuple)
        assert one.id == str(one.id)
        assert not one.id.startswith("/")


def test_every_reference_reads_as_the_bytes_of_an_image_and_always_the_same(source):
    for one in source.references():
        content = source.read(one.id)
        assert isinstance(content, bytes)
        assert source.read(one.id) == content
        assert quality.decode(content, Limits()).shape[2] == 3


def test_every_image_passes_the_check_of_preparing(source):
    facts = list(examine(source, [one.id for one in source.references()], Limits()))
    assert [fact["reason"] for fact in facts] == [None] * len(facts)


@pytest.mark.parametrize("kind", KINDS)
def test_options_travel_as_json_and_make_the_same_source(kind, tmp_path):
    made = options(kind, tmp_path)
    again = type(made).model_validate(json.loads(json.dumps(made.model_dump(mode="json"))))
    assert again == made
    here, there = open_source(made), open_source(again)
    assert list(here.references()) == list(there.references())
    first = next(here.references()).id
    assert here.read(first) == there.read(first)


@pytest.mark.parametrize("kind", KINDS)
def test_options_refuse_unknown_keys_and_the_name_of_another_source(kind, tmp_path):
    values = options(kind, tmp_path).model_dump(mode="json")
    for change in ({"unheard_of": 1}, {"type": "another"}):
        with pytest.raises(ValueError, match="unheard_of|another"):
            catalog.part("data.sources", kind).Options(**values | change)


def test_the_same_images_are_the_same_through_every_source_on_disk(tmp_path):
    found = {}
    for kind in ON_DISK:
        folder = tmp_path / kind
        folder.mkdir()
        made = open_source(options(kind, folder))
        found[kind] = {one.id: (made.read(one.id), dict(one.labels), one.split) for one in made.references()}
    assert found["folder"].keys() == {name for name, _ in IMAGES}
    assert found["folder"] == found["table"]


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_place_that_is_not_there_is_the_users_to_mend(kind, tmp_path):
    made = catalog.part("data.sources", kind).Options(type=kind, path=str(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"data\.source\.path"):
        list(open_source(made).references())


@pytest.mark.parametrize("kind", ON_DISK)
def test_listing_opens_no_image(kind, tmp_path):
    made = open_source(options(kind, tmp_path))
    before = list(made.references())
    for name, _ in IMAGES:
        (tmp_path / name).write_bytes(b"no image any more")
    assert list(made.references()) == before


@pytest.mark.parametrize("kind", ON_DISK)
def test_bytes_that_cannot_be_read_are_an_os_error(kind, tmp_path):
    made = open_source(options(kind, tmp_path))
    (tmp_path / IMAGES[0][0]).unlink()
    for image_id in (IMAGES[0][0], "never/was.png", "cat"):
        with pytest.raises(OSError):
            made.read(image_id)
    assert made.read(IMAGES[1][0])
