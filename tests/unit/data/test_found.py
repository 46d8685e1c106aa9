"""What was found travels as plain values, and parts make the same dataset as the whole."""

import json

import numpy as np
import pytest
from test_prepare import TASKS, change, experiment, pets, picture, write_table  # noqa: F401 - pets is a fixture

from thaw.data import check, prepare
from thaw.data.found import Found, joined, labels_in
from thaw.data.sources.contract import RawBoxes


def parts(made, count):
    """Return what is found of a source's images, in so many parts."""
    source = prepare.open_source(made.data.source)
    listed = list(prepare.checked(made, source.references()))
    for some in (listed[place::count] for place in range(count)):
        facts = list(check.examine(source, check.questions(made, some), made.data.limits))
        yield Found.of(made, some, json.loads(json.dumps(facts)))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_parts_make_the_same_dataset_as_the_whole_after_any_journey(count, pets):  # noqa: F811
    change(pets, 3, kind="emu")
    (pets / "4.png").write_bytes(b"no image")
    made = experiment(pets, TASKS)
    whole = prepare.decided(made, joined(parts(made, 1)))
    travelled = [Found.unpacked(one.packed()) for one in parts(made, count)]
    again = prepare.decided(made, joined(travelled))
    assert again.dataset == whole.dataset
    assert again.facts.equals(whole.facts)
    assert {**again.rows} == {**whole.rows}
    assert sorted(map(str, again.rejected)) == sorted(map(str, whole.rejected))
    assert len(again.rejected) == 2


def test_boxes_and_masks_and_what_became_of_them_travel_too(tmp_path):
    rows = []
    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(picture(index))
        boxes = {"bbox": [[1, 1, 3, 3], [0, 0, 0, 0]], "categories": ["a", "b"]}
        rows.append({"file_name": f"{index}.png", "things": boxes, "ground_file_name": f"{index}-mask.png"})
        _mask(tmp_path / f"{index}-mask.png", index % 2)
    write_table(tmp_path, rows)
    tasks = {"things": {"type": "detection"}, "ground": {"type": "segmentation"}}
    source = {"type": "table", "path": str(tmp_path), "mask_values": {0: "soil", 1: "rock"}}
    made = experiment(tmp_path, tasks, source=source)
    whole = joined(parts(made, 1))
    again = joined(Found.unpacked(one.packed()) for one in parts(made, 3))
    assert again.tallies == whole.tallies
    assert again.tallies["things", "boxes"].kept == 20
    assert again.tallies["things", "boxes"].aside["box_degenerate"] == 20
    assert (again.names, again.listed) == (whole.names, 20)
    kinds = {"things": "boxes", "ground": "mask"}
    found = labels_in(again.rows["labels"][0].as_py(), kinds)
    assert found["things"] == RawBoxes(((1.0, 1.0, 4.0, 4.0),), ("a",))
    assert found["ground"].names == {0: "soil", 1: "rock"}
    assert prepare.decided(made, again).dataset == prepare.decided(made, whole).dataset


def _mask(path, value):
    from PIL import Image

    Image.fromarray(np.full((7, 9), value, dtype=np.uint8)).save(path)
