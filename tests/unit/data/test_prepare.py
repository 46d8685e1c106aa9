"""Preparing: every image is kept or set aside with its reason, and the same input is the same dataset."""

import io
import json
import os
import random

import numpy as np
import pytest
from PIL import Image

import hostile
from thaw.config.experiment import Limits
from thaw.config.load import parse
from thaw.data import check, prepare, quality, split
from thaw.data.check import Question
from thaw.data.dataset import encoded
from thaw.data.shards import shard_table
from thaw.data.sources.contract import Reference
from thaw.errors import DataError

LIMITS = Limits()


def experiment(folder, tasks=None, **data):
    values = {"source": {"type": "table", "path": str(folder)}, "max_rejected": 1} | data
    tasks = tasks or {"kind": {"type": "classification"}}
    return parse({"name": "pets", "data": values, "tasks": tasks}, "e.yaml")


def picture(seed, width=9, height=7):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_table(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def planned(made, references=None):
    """Return the plan of an experiment, and its source."""
    source = prepare.open_source(made.data.source)
    references = list(source.references()) if references is None else references
    facts = list(check.examine(source, check.questions(made, references), made.data.limits))
    return prepare.plan(made, references, facts), source


@pytest.fixture
def pets(tmp_path):
    """Write 60 images of two kinds, with tags; return their folder."""
    folder = tmp_path / "pets"
    rows = [
        {"file_name": f"{index}.png", "kind": "cat" if index % 3 else "dog", "tags": ["big"]} for index in range(60)
    ]
    write_table(folder, rows)
    for index in range(60):
        (folder / f"{index}.png").write_bytes(picture(index))
    return folder


def change(folder, row, **values):
    """Change what the table says of one image."""
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    lines[row] = json.dumps(json.loads(lines[row]) | values)
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def test_every_hostile_file_is_set_aside_for_its_reason_and_every_good_one_kept(tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    reasons = hostile.write(folder)
    write_table(folder, [{"file_name": name, "kind": "ab"[row % 2]} for row, name in enumerate(reasons)])
    plan, _ = planned(experiment(folder))
    kept = {row["id"] for rows in plan.rows.values() for row in rows}
    assert {one["id"]: one["reason"] for one in plan.rejected} == {
        name: reason for name, reason in reasons.items() if reason
    }
    assert kept == {name for name, reason in reasons.items() if reason is None}
    assert all(one["detail"] for one in plan.rejected)
    assert plan.dataset.report.listed == len(reasons)
    assert sum(plan.dataset.report.rejected.values()) == len(plan.rejected)


TASKS = {
    "kind": {"type": "classification", "classes": ["cat", "dog"]},
    "tags": {"type": "multilabel", "classes": ["big", "old"]},
}


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        ({"file_name": "missing.png"}, "unreadable", "No such file"),
        ({"file_name": "."}, "unreadable", "directory"),
        ({"kind": "emu"}, "unknown_class", "task kind: 'emu' is not in tasks.kind.classes"),
        ({"tags": ["big", "wet"]}, "unknown_class", "task tags: 'wet' is not in tasks.tags.classes"),
        ({"kind": ["cat", "dog"]}, "several_classes", "task kind takes one class; found cat, dog"),
        ({"kind": None, "tags": None}, "no_label", "none of the tasks"),
        ({"file_name": "5.png", "kind": "dog"}, "listed_twice", "the first row is kept"),
    ],
)
def test_an_image_that_cannot_be_used_is_set_aside_with_reason_and_detail(row, reason, words, pets):
    change(pets, 7, **row)
    plan, _ = planned(experiment(pets, TASKS))
    [one] = plan.rejected
    assert one == {"id": row.get("file_name", "7.png"), "reason": reason, "detail": one["detail"]}
    assert words in one["detail"]
    kept = {row["id"]: row["annotations"]["kind"] for rows in plan.rows.values() for row in rows}
    assert kept == {f"{index}.png": int(index % 3 == 0) for index in range(60) if index != 7}
    assert plan.dataset.report.listed == 60
    assert plan.dataset.report.rejected == {reason: 1}


@pytest.mark.parametrize("empty", [[], ";"])
def test_an_empty_set_is_no_class_at_all(empty, pets):
    change(pets, 7, kind=empty)
    plan, _ = planned(experiment(pets))
    assert plan.rejected == [{"id": "7.png", "reason": "no_label", "detail": plan.rejected[0]["detail"]}]


def test_a_file_whose_name_is_no_text_stops_nothing_without_a_message(tmp_path):
    for index in range(40):
        (tmp_path / "ab"[index % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[index % 2] / f"{index}.png").write_bytes(picture(index))
    (tmp_path / "a" / "\udcff.png").write_bytes(picture(40))  # the byte 255, as Python shows it
    made = experiment(tmp_path, {"label": {"type": "classification"}}, source={"type": "folder", "path": str(tmp_path)})
    try:
        plan, _ = planned(made)
    except DataError:
        return  # a refusal that names the file is as good
    assert len(plan.rejected) == 1
    assert plan.dataset.report.listed == 41


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png"])
def test_a_name_that_no_file_can_have_stops_nothing_without_a_message(name, pets):
    change(pets, 7, file_name=name)
    try:
        plan, _ = planned(experiment(pets))
    except DataError:
        return  # a refusal that names the row is as good
    assert [one["reason"] for one in plan.rejected] == ["unreadable"]


def test_a_label_for_one_task_is_enough_and_the_other_stays_missing(pets):
    change(pets, 3, kind=None)
    change(pets, 4, tags=None)
    change(pets, 5, tags=[])
    plan, _ = planned(experiment(pets, TASKS))
    found = {row["id"]: row["annotations"] for rows in plan.rows.values() for row in rows}
    assert not plan.rejected
    assert found["3.png"] == {"kind": None, "tags": [0]}
    assert found["4.png"] == {"kind": 0, "tags": None}
    assert found["5.png"] == {"kind": 0, "tags": []}


def test_the_limits_of_the_experiment_are_those_that_count(pets):
    (pets / "7.png").write_bytes(picture(7, width=40, height=40))
    plan, _ = planned(experiment(pets, limits={"max_pixels": 1000}))
    assert [(one["id"], one["reason"]) for one in plan.rejected] == [("7.png", "too_many_pixels")]
    plan, _ = planned(experiment(pets, limits={"max_bytes": 1000}))
    assert [(one["id"], one["reason"]) for one in plan.rejected] == [("7.png", "too_large")]


def test_a_file_beyond_all_memory_is_set_aside_without_being_read(pets):
    os.truncate(pets / "7.png", 2**42)
    plan, _ = planned(experiment(pets))
    assert [(one["id"], one["reason"]) for one in plan.rejected] == [("7.png", "too_large")]


def test_nothing_usable_at_all_is_refused_with_an_example(pets):
    for index in range(60):
        (pets / f"{index}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"data\.source: none of 60 images can be used; the first: .*'empty'"):
        planned(experiment(pets))


@pytest.mark.parametrize(("allowed", "stops"), [(0.2, False), (0.19, True), (0, True), (1, False)])
def test_too_large_a_share_of_bad_images_stops_with_what_they_were(pets, allowed, stops):
    for index in range(12):
        (pets / f"{index}.png").write_bytes(b"" if index else b"text")
    made = experiment(pets, max_rejected=allowed)
    plan, _ = planned(made)
    if not stops:
        prepare.check_rejected(made, plan, "rejected.jsonl")
        return
    with pytest.raises(DataError) as caught:
        prepare.check_rejected(made, plan, "rejected.jsonl")
    assert str(caught.value).startswith(
        "data.max_rejected: 12 of 60 images had to be set aside (11 empty, 1 not_an_image), more than the share of "
        f"{allowed:g} allowed; see rejected.jsonl"
    )


def test_a_column_that_is_not_there_is_refused_with_the_nearest(pets):
    with pytest.raises(DataError) as caught:
        planned(experiment(pets, {"knd": {"type": "classification"}}))
    assert str(caught.value) == (
        "tasks.knd.column: the source has no column 'knd'; it has kind, tags; did you mean 'kind'?"
    )


def test_a_task_can_read_another_column(pets):
    plan, _ = planned(experiment(pets, {"animal": {"type": "classification", "column": "kind"}}))
    assert plan.dataset.labels["animal"].names == ("cat", "dog")


@pytest.mark.parametrize("seed", range(6))
def test_the_same_images_are_the_same_dataset_in_any_order_of_listing(seed, pets):
    made = experiment(pets, TASKS, shard_images=8)
    references = list(prepare.open_source(made.data.source).references())
    shuffled = random.Random(seed).sample(references, len(references))
    first, again = planned(made)[0], planned(made, shuffled)[0]
    assert again.dataset == first.dataset
    assert again.rows == first.rows


def test_the_fingerprint_changes_with_a_label_a_byte_a_split_or_how_images_are_stored(pets):
    found = [planned(experiment(pets))[0].dataset.fingerprint]
    settings = ({"reencode": 64}, {"shard_images": 16}, {"split": {"val": 0.3}})
    found += [planned(experiment(pets, **one))[0].dataset.fingerprint for one in settings]
    change(pets, 1, kind="dog")
    found.append(planned(experiment(pets))[0].dataset.fingerprint)
    (pets / "1.png").write_bytes(picture(1000))
    found.append(planned(experiment(pets))[0].dataset.fingerprint)
    (pets / "2.png").write_bytes(b"")
    found.append(planned(experiment(pets))[0].dataset.fingerprint)
    assert len(set(found)) == 7


def test_settings_that_do_not_touch_the_images_keep_the_fingerprint(pets):
    made = experiment(pets)
    other = experiment(pets, max_rejected=0.5, image={"size": 64}, augment={"hflip": 0})
    assert planned(other)[0].dataset == planned(made)[0].dataset


@pytest.mark.parametrize("size", [8, 9, 40, 1000])
def test_shards_hold_every_image_exactly_once(size, pets):
    made = experiment(pets, TASKS, shard_images=size)
    plan, source = planned(made)
    seen = {}
    for side, shards in plan.dataset.splits.items():
        assert all(shard.file.startswith(f"{side}-") for shard in shards)
        for shard in shards:
            rows = plan.rows[shard.file]
            table = shard_table(source, rows, plan.dataset.labels, None, LIMITS)
            assert table.num_rows == shard.rows == len(rows) <= size
            for place, row in enumerate(rows):
                image_id, content, annotations = encoded(table, place)
                planned_ones = {**row["annotations"], "tags": tuple(row["annotations"]["tags"])}
                assert (image_id, annotations, side) == (row["id"], planned_ones, row["split"])
                assert image_id not in seen
                seen[image_id] = content
    assert seen == {f"{index}.png": picture(index) for index in range(60)}
    assert plan.rows.keys() == {shard.file for shards in plan.dataset.splits.values() for shard in shards}


def add(folder, name, seed, kind="cat"):
    """Add an image to the table."""
    (folder / name).write_bytes(picture(seed))
    with (folder / "metadata.jsonl").open("a") as file:
        file.write(json.dumps({"file_name": name, "kind": kind, "tags": ["big"]}) + "\n")


@pytest.mark.parametrize("seed", range(4))
def test_images_that_are_added_change_few_shards(seed, tmp_path):
    folder = tmp_path / "many"
    write_table(folder, [])
    for index in range(300):
        add(folder, f"{index}.png", index, "ab"[index % 2])
    made = experiment(folder, shard_images=8)
    before = planned(made)[0]
    add(folder, f"new-{seed}.png", 1000, "a")
    after = planned(made)[0]
    assert len(before.rows) > 40
    assert before.dataset.fingerprint != after.dataset.fingerprint
    assert len(set(after.rows) - set(before.rows)) <= 5


def test_which_shard_an_image_is_in_has_nothing_to_do_with_how_large_shards_are(pets):
    orders = []
    for size in (8, 16, 1000):
        plan = planned(experiment(pets, TASKS, shard_images=size))[0]
        orders.append([row["id"] for rows in plan.rows.values() for row in rows])
    assert orders[0] == orders[1] == orders[2]


def test_a_shard_holds_no_more_bytes_than_it_may_unless_one_image_does(pets):
    for index in range(20):
        (pets / f"{index}.png").write_bytes(picture(index, 400, 300))
    plan = planned(experiment(pets, shard_mb=1))[0]
    for side, shards in plan.dataset.splits.items():
        for shard in shards:
            stored = sum((pets / row["id"]).stat().st_size for row in plan.rows[shard.file])
            assert stored == shard.bytes
            assert stored <= 2**20 or shard.rows == 1, side
    assert sum(len(shards) for shards in plan.dataset.splits.values()) > 3


def test_rows_are_plain_data_that_travels_as_json(pets):
    plan, source = planned(experiment(pets, TASKS))
    for rows in plan.rows.values():
        travelled = json.loads(json.dumps(rows))
        tables = [shard_table(source, some, plan.dataset.labels, None, LIMITS) for some in (rows, travelled)]
        assert tables[0].equals(tables[1])


@pytest.mark.parametrize("how", ["other bytes", "removed"])
def test_an_image_that_changed_since_it_was_checked_is_refused(how, pets):
    plan, source = planned(experiment(pets))
    for file, rows in plan.rows.items():
        path = pets / rows[0]["id"]
        path.write_bytes(picture(1000)) if how == "other bytes" else path.unlink()
        with pytest.raises(DataError, match=f"{rows[0]['id']}: changed while"):
            shard_table(source, plan.rows[file], plan.dataset.labels, None, LIMITS)


@pytest.mark.parametrize(
    ("width", "height", "stored"),
    [
        (96, 64, (48, 32)),
        (64, 96, (32, 48)),
        (64, 64, (32, 32)),
        (33, 33, (32, 32)),
        (37, 91, (32, 79)),
        (500, 40, (400, 32)),
    ],
)
def test_a_larger_image_is_stored_as_jpeg_of_the_shorter_side_asked_for(width, height, stored, pets):
    (pets / "7.png").write_bytes(picture(7, width, height))
    image = stored_image(pets, reencode=32)
    assert (image.format, image.size) == ("JPEG", stored)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (32, 900), (31, 33), (1, 1), (1, 3000)])
def test_an_image_that_is_no_larger_keeps_its_bytes(width, height, pets):
    (pets / "7.png").write_bytes(picture(7, width, height))
    assert stored_bytes(pets, reencode=32) == picture(7, width, height)


def test_bytes_are_kept_where_no_size_is_asked_for(pets):
    (pets / "7.png").write_bytes(picture(7, 300, 200))
    assert stored_bytes(pets, reencode=None) == picture(7, 300, 200)


def test_a_smaller_image_shows_the_same_upright(pets):
    (pets / "7.png").write_bytes(hostile.files()["turned_6.jpg"][0])
    pixels = np.asarray(stored_image(pets, reencode=32))
    assert pixels.shape == (32, 48, 3)
    for spot, (row, column) in hostile.SPOTS.items():
        expected = hostile.shows("turned_6.jpg")[spot]
        assert np.abs(pixels[row // 2, column // 2].astype(int) - expected).max() < 30


def stored_bytes(folder, reencode):
    plan, source = planned(experiment(folder, reencode=reencode))
    [row] = [row for rows in plan.rows.values() for row in rows if row["id"] == "7.png"]
    return encoded(shard_table(source, [row], plan.dataset.labels, reencode, LIMITS), 0)[1]


def stored_image(folder, reencode):
    content = stored_bytes(folder, reencode)
    quality.decode(content, LIMITS)
    return Image.open(io.BytesIO(content))


def test_the_report_counts_classes_and_labels_of_every_split(pets):
    change(pets, 3, kind=None)
    for index in range(60):
        change(pets, index, split=("train", "val", "test")[index // 20])
    report = planned(experiment(pets, TASKS))[0].dataset.report
    assert report.classes["train"] == {"kind": {"cat": 13, "dog": 6}, "tags": {"big": 20, "old": 0}}
    assert report.classes["test"]["kind"] == {"cat": 14, "dog": 6}
    assert report.labelled == {
        "train": {"kind": 19, "tags": 20},
        "val": {"kind": 20, "tags": 20},
        "test": {"kind": 20, "tags": 20},
    }
    assert report.warnings == (
        "task kind: fewer than 10 training images of dog",
        "task tags: no training image of old; the model cannot learn them",
    )


def test_given_splits_and_groups_of_the_source_are_heeded(pets):
    for index in range(60):
        change(pets, index, owner=str(index // 4))
    made = experiment(pets, source={"type": "table", "path": str(pets), "group_column": "owner"})
    plan, _ = planned(made)
    owners = {(int(row["id"][:-4]) // 4, row["split"]) for rows in plan.rows.values() for row in rows}
    assert len(owners) == 15


def test_checking_yields_facts_in_order_and_hashes_what_it_read(pets):
    (pets / "1.png").write_bytes(b"")
    source = prepare.open_source(experiment(pets).data.source)
    good, empty, missing = check.examine(source, [Question(id=name) for name in ("0.png", "1.png", "gone.png")], LIMITS)
    assert good == {
        "id": "0.png",
        "sha256": good["sha256"],
        "reason": None,
        "detail": None,
        "width": 9,
        "height": 7,
        "measured": good["measured"],
        "labels": {},
        "set_aside": [],
    }
    assert good["measured"]["bytes"] == (pets / "0.png").stat().st_size
    assert len(good["sha256"]) == 64
    assert (empty["reason"], missing["reason"]) == ("empty", "unreadable")
    assert missing["sha256"] is None
    assert "gone.png" not in missing["detail"]  # the id says it; a path of one machine does not belong there


def test_a_row_of_another_source_can_be_planned_without_any_file(pets):
    made = experiment(pets)
    references = [Reference(str(index), {"kind": "ab"[index % 2]}) for index in range(20)]
    known = {"reason": None, "detail": None, "width": 9, "height": 7, "measured": {}}
    facts = [{"id": one.id, "sha256": one.id, **known} for one in references]
    plan = prepare.plan(made, references, facts)
    assert sum(map(len, plan.rows.values())) == 20


def test_facts_are_in_the_order_of_the_shards(pets):
    plan, _ = planned(experiment(pets))
    rows = [row for side in split.SPLITS for shard in plan.dataset.splits[side] for row in plan.rows[shard.file]]
    assert [(one["id"], one["split"]) for one in plan.facts.to_pylist()] == [(row["id"], row["split"]) for row in rows]


def test_a_warning_names_a_few_classes_and_counts_the_others(pets):
    for index in range(60):
        change(pets, index, split=("train", "val", "test")[index // 20], kind=f"breed-{index % 20:02d}")
    made = experiment(pets, {"kind": {"type": "classification"}})
    [warning] = planned(made)[0].dataset.report.warnings
    few = "breed-00, breed-01, breed-02, breed-03, breed-04 and 15 more"
    assert warning == f"task kind: fewer than 10 training images of {few}"
