"""What was found of images is kept: none is looked at twice, and one that changed is looked at again."""

import json
import os
from pathlib import Path

import pytest
from test_prepare import experiment, picture, write_table

from thaw.config.experiment import Limits
from thaw.data import check, facts, prepare
from thaw.data.examined import Shelf
from thaw.data.listing import key
from thaw.data.sources import table
from thaw.storage import open_root

LIMITS = Limits()


class Source(table.Source):
    """A table of images that counts what is read of them."""

    def __init__(self, options):
        super().__init__(options)
        self.read_ids = []

    def read(self, image_id, most=-1):
        self.read_ids.append(image_id)
        return super().read(image_id, most)


class Silent(Source):
    """One that cannot tell whether a file changed."""

    def stamps(self, ids, of):
        return [None] * len(ids)


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "pets"
    write_table(folder, [{"file_name": f"{index}.png", "kind": "ab"[index % 2]} for index in range(6)])
    for index in range(6):
        (folder / f"{index}.png").write_bytes(picture(index))
    return experiment(folder)


def look(made, tmp_path, bits="", kind=Source, limits=LIMITS):
    """Return what is found of all images, and which of them were read for it."""
    source = kind(made.data.source)
    asked = check.questions(made, source.references())
    shelf = Shelf.of(open_root(str(tmp_path / "store")), made)
    rows = shelf.facts(bits, source, asked, limits)
    assert rows == list(check.examine(prepare.open_source(made.data.source), asked, limits))
    return rows, source.read_ids


def folder(made):
    return Path(made.data.source.path)


def test_what_was_found_is_not_looked_for_again(made, tmp_path):
    first, read = look(made, tmp_path)
    assert read == [f"{index}.png" for index in range(6)]
    assert look(made, tmp_path) == (first, [])


def test_a_file_that_changed_is_looked_at_again_and_no_other(made, tmp_path):
    look(made, tmp_path)
    (folder(made) / "3.png").write_bytes(picture(99, 11, 5))
    assert look(made, tmp_path)[1] == ["3.png"]


def test_a_change_that_keeps_size_and_time_is_seen_too(made, tmp_path):
    place = folder(made) / "3.png"
    place.write_bytes(b"x" * 100)
    os.utime(place, ns=(10**18, 10**18))
    look(made, tmp_path)
    place.write_bytes(b"y" * 100)
    os.utime(place, ns=(10**18, 10**18))
    assert look(made, tmp_path)[1] == ["3.png"]


def test_in_an_object_store_too_an_image_is_looked_at_until_it_is_another(made, tmp_path, s3_uri):
    root = open_root(s3_uri)
    root.upload(folder(made), "examined")
    stored = made.data.source.model_copy(update={"path": root.uri_of("examined")})
    there = made.model_copy(update={"data": made.data.model_copy(update={"source": stored})})
    assert len(look(there, tmp_path)[1]) == 6
    assert look(there, tmp_path)[1] == []
    root.write_bytes("examined/3.png", picture(99, 11, 5))
    assert look(there, tmp_path)[1] == ["3.png"]


def test_images_that_are_added_cost_themselves_alone(made, tmp_path):
    look(made, tmp_path)
    (folder(made) / "new.png").write_bytes(picture(7))
    with (folder(made) / "metadata.jsonl").open("a") as file:
        file.write(json.dumps({"file_name": "new.png", "kind": "a"}) + "\n")
    assert look(made, tmp_path)[1] == ["new.png"]


def test_a_bad_image_is_remembered_but_not_one_that_could_not_be_read(made, tmp_path):
    (folder(made) / "2.png").write_bytes(b"no image")
    (folder(made) / "3.png").unlink()
    (folder(made) / "3.png").mkdir()  # has a stamp, and cannot be read
    rows, _ = look(made, tmp_path)
    assert [rows[2]["reason"], rows[3]["reason"]] == ["not_an_image", "unreadable"]
    assert look(made, tmp_path)[1] == ["3.png"]


def test_a_source_that_cannot_tell_has_every_image_looked_at_every_time(made, tmp_path):
    assert len(look(made, tmp_path, kind=Silent)[1]) == 6
    assert len(look(made, tmp_path, kind=Silent)[1]) == 6


@pytest.mark.parametrize(("before", "after"), [("", "0"), ("01", "0"), ("0", "01")])
def test_a_piece_is_found_in_those_that_it_was_cut_from_or_is_made_of(before, after, made, tmp_path):
    look(made, tmp_path, before)
    assert look(made, tmp_path, after)[1] == []
    assert look(made, tmp_path, after)[1] == []


def test_a_piece_of_other_images_is_not_asked(made, tmp_path):
    look(made, tmp_path, "00")
    assert len(look(made, tmp_path, "01")[1]) == 6


def shelf_of(made, tmp_path, **changes):
    return Shelf.of(open_root(str(tmp_path / "store")), experiment(folder(made), **changes))


def test_all_that_decides_what_is_found_has_a_folder_of_its_own(made, tmp_path, monkeypatch):
    boxes = {"kind": {"type": "classification"}, "things": {"type": "detection"}}
    found = [
        shelf_of(made, tmp_path),
        shelf_of(made, tmp_path, limits={"max_pixels": 1000}),
        shelf_of(made, tmp_path, tasks=boxes),
        shelf_of(made, tmp_path, source={"type": "table", "path": str(folder(made)), "separator": ","}),
    ]
    monkeypatch.setattr(facts, "VERSION", facts.VERSION + 1)
    found.append(shelf_of(made, tmp_path))
    assert len({one.path for one in found}) == 5


def test_settings_that_decide_nothing_of_it_share_one(made, tmp_path):
    assert shelf_of(made, tmp_path, split={"val": 0.3}, reencode=64) == shelf_of(made, tmp_path)


def test_pieces_that_are_no_longer_cut_so_are_removed(made, tmp_path):
    look(made, tmp_path, "0")
    look(made, tmp_path, "01")
    shelf = shelf_of(made, tmp_path)
    assert set(shelf.kept) == {"0", "01"}
    shelf.tidy(["01", "00"])
    assert shelf_of(made, tmp_path).kept == ("01",)


def test_what_is_kept_of_an_image_can_be_forgotten(made, tmp_path):
    bits = f"{key('0.png'):064b}"[:3]
    look(made, tmp_path, bits)
    shelf_of(made, tmp_path).forget([key("0.png")])
    assert shelf_of(made, tmp_path).kept == ()
    other = f"{key('0.png') ^ 1 << 63:064b}"[:3]
    look(made, tmp_path, other)
    shelf_of(made, tmp_path).forget([key("0.png")])
    assert shelf_of(made, tmp_path).kept == (other,)


def test_a_piece_that_cannot_be_read_is_as_if_it_was_not_there(made, tmp_path):
    look(made, tmp_path)
    [file] = (tmp_path / "store" / "examined").rglob("*.parquet")
    file.write_bytes(b"no Parquet")
    assert len(look(made, tmp_path)[1]) == 6
    assert look(made, tmp_path)[1] == []
