"""A split is mended so that copies lie on one side, with as little moved as can be."""

import random
from collections import Counter

import numpy as np
import pytest

import scenes
from material import material
from thaw.config.load import parse
from thaw.data import check, prepare, split_file
from thaw.data.sources.contract import Reference
from thaw.data.split import SPLITS
from thaw.inspection import regroup
from thaw.inspection.checks import copies
from thaw.inspection.regroup import regrouped, together


def sides(groups, carries=None):
    """Return where images go that lie like ``{"one group": "train train test"}``."""
    splits = np.array([side for one in groups for side in one.split()])
    joined = np.repeat(np.cumsum([0, *(len(one.split()) for one in groups[:-1])]), [len(one.split()) for one in groups])
    found = regrouped(joined, splits, carries or [[] for _ in splits]).tolist()
    return [" ".join(found.pop(0) for _ in one.split()) for one in groups]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("train test", "test test"),
        ("train val", "val val"),
        ("val test", "test test"),
        ("train train test", "test test test"),
        ("train train train test", "train train train train"),
        ("train train val test", "train train train train"),
        ("train val val test", "val val val val"),
        ("train train", "train train"),
        ("test test", "test test"),
    ],
)
def test_a_group_goes_to_what_is_held_out_unless_most_of_it_trains(before, after):
    assert sides(["train", before, "test", "val"]) == ["train", after, "test", "val"]


def test_a_class_keeps_a_training_image():
    carries = [[("kind", 0)], [("kind", 0)], [("kind", 1)], [("kind", 1)], [("kind", 1)]]
    assert sides(["train test", "train test", "train"], carries) == ["train train", "test test", "train"]


def test_of_a_class_with_two_groups_one_stays_in_train():
    carries = [[("kind", 0)]] * 4
    assert sides(["train test", "train test"], carries) == ["test test", "train train"]


@pytest.mark.parametrize("seed", range(6))
def test_every_group_lies_on_one_side_and_what_has_no_copy_stays(seed):
    draw = random.Random(seed)
    groups = [
        " ".join(draw.choices(["train", "val", "test"], [6, 1, 2], k=draw.choice([1, 1, 1, 2, 5]))) for _ in range(90)
    ]
    found = sides(groups)
    assert all(len(set(after.split())) == 1 for after in found)
    assert all(after == before for before, after in zip(groups, found, strict=True) if len(set(before.split())) == 1)
    assert sides(found) == found


def test_groups_of_the_source_and_copies_join():
    stated = [Reference("a", {}, group="x"), Reference("b", {}, group="y"), Reference("c", {}, group="y")]
    others = [Reference("d", {}), Reference("gone", {}, group="y")]
    joined = together(["a", "b", "c", "d"], np.array([0, 0, 2, 3]), [*stated, *others])
    assert joined.tolist() == [0, 0, 0, 3]


@pytest.fixture
def folder(tmp_path):
    """Write scenes with copies in other splits, one that nobody can read, and a table of them."""
    rows = []
    for number in range(24):
        scenes.scene(number).save(tmp_path / f"{number}.png")
        rows.append((f"{number}.png", SPLITS[number % 3], "ab"[number % 2]))
    for number, change in enumerate(scenes.CHANGES.values()):
        change(scenes.scene(number)).save(tmp_path / f"copy-{number}.jpg", quality=80)
        rows.append((f"copy-{number}.jpg", SPLITS[(number + 1) % 3], "ab"[number % 2]))
    (tmp_path / "same.png").write_bytes((tmp_path / "20.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    rows += [("same.png", "train", "a"), ("broken.png", "test", "a")]
    lines = [",".join(row) for row in [("file_name", "split", "kind"), *rows]]
    (tmp_path / "images.csv").write_text("\n".join(lines))
    return tmp_path


def inspected(folder, **split):
    """Return the material of a folder's images, prepared in this process."""
    data = {"source": {"type": "table", "path": str(folder)}, "max_rejected": 1, "split": split}
    made = parse({"name": "one", "data": data, "tasks": {"kind": {"type": "classification"}}}, "test")
    source = prepare.open_source(made.data.source)
    references = list(split_file.put_on(source.references(), made.data.split.file))
    found = check.examine(source, check.questions(made, references), made.data.limits)
    of = {one.id: one for one in references}
    rows = [
        {
            **{key: one[key] for key in ("id", "sha256", "width", "height")},
            "split": of[one["id"]].split,
            **one["measured"],
        }
        for one in found
        if one["reason"] is None
    ]
    words = {"source": {"type": "table", "path": str(folder)}}
    order = sorted(rows, key=lambda row: SPLITS.index(row["split"]))
    labels = {"kind": ["ab".index(of[row["id"]].labels["kind"]) for row in order]}
    return material(order, labels=labels, data=words)


def gates(found):
    return [one for one in copies.check(found) if one.level == "gate"]


def test_with_the_split_that_was_written_no_copies_lie_across_splits(folder):
    before = inspected(folder)
    [gate] = gates(before)
    assert gate.count == len(scenes.CHANGES) + 1
    file = str(folder / "mended" / "split.csv")
    fixed = regroup.fix(before, file)
    assert fixed.lines[-1] == f"use it with data.split.file={file}"
    after = inspected(folder, file=file)
    assert gates(after) == []
    assert sorted(after.ids) == sorted(before.ids)
    moved = {one for one, left, to in joined(before, after) if left != to}
    assert sum(fixed.moved.values()) == len(moved) > 0
    assert Counter(f"{left} to {to}" for _, left, to in joined(before, after) if left != to) == fixed.moved


def joined(before, after):
    lies = dict(zip(after.ids, after.splits.tolist(), strict=True))
    return [(one, left, lies[one]) for one, left in zip(before.ids, before.splits.tolist(), strict=True)]


def test_what_was_set_aside_lies_where_its_group_does():
    stated = [Reference(id=name, labels={}, group=group) for name, group in (("a", "g"), ("b", "g"), ("c", None))]
    assert regroup.with_others({"a": "test"}, stated) == {"a": "test", "b": "test", "c": "train"}


def test_what_was_set_aside_is_written_too(folder):
    fixed = regroup.fix(inspected(folder), str(folder / "mended" / "split.csv"))
    assert split_file.read(fixed.file)["broken.png"] == "train"


def test_where_nothing_is_to_be_mended_the_split_is_written_as_it_is(folder):
    file = str(folder / "mended" / "split.csv")
    regroup.fix(inspected(folder), file)
    again = regroup.fix(inspected(folder, file=file), str(folder / "mended" / "again.csv"))
    assert again.moved == {}
    assert split_file.read(again.file) == split_file.read(file)
    assert again.lines[0].startswith("no copies lie in several splits")
