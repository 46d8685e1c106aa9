"""Checking: each box and each mask is judged alone, for a stated reason, and takes nothing else with it."""

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import hostile
from thaw.config.experiment import Limits
from thaw.config.load import parse
from thaw.data import check, prepare
from thaw.data.check import Question
from thaw.data.coverage import Coverage
from thaw.data.dataset import encoded
from thaw.data.shards import shard_table
from thaw.data.sources import contract
from thaw.data.sources.contract import BadLabel, RawBoxes, RawMask, Reference, UnreadBoxes
from thaw.errors import DataError

LIMITS = Limits()
WIDTH, HEIGHT = 40, 30
NAMES = {0: "floor", 1: "wall", 7: "door"}
NAN, INFINITE = float("nan"), float("inf")


@dataclass
class Rooms(contract.Source):
    """Images, masks and boxes that a test has put into mappings."""

    images: dict
    masks: dict
    files: dict

    def references(self):
        raise NotImplementedError

    def read(self, image_id, most=-1):
        return self.images[image_id][: None if most < 0 else most]

    def boxes(self, boxes_id, width, height):
        found = self.files[boxes_id]
        if isinstance(found, Exception):
            raise found
        assert (width, height) == (WIDTH, HEIGHT)
        return found

    def mask(self, mask_id, width, height):
        found = self.masks[mask_id]
        if isinstance(found, Exception):
            raise found
        assert (width, height) == (WIDTH, HEIGHT)
        return found


def picture(seed=0, width=WIDTH, height=HEIGHT):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask(seed=0, values=tuple(NAMES)):
    return np.random.default_rng(seed).choice(np.array(values, dtype=np.uint8), (HEIGHT, WIDTH))


def rooms(images=None, masks=None, files=None):
    return Rooms(images or {"a": picture()}, masks or {}, files or {})


def fact(source, **labels):
    [found] = check.examine(source, [Question(id="a", labels=labels)], LIMITS)
    return found


def boxed(*boxes):
    return RawBoxes(tuple(boxes), tuple(f"n{place}" for place in range(len(boxes))))


GOOD = (1.0, 2.0, 3.5, 4.0)


@pytest.mark.parametrize("how", ["known", "unread"])
@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((NAN, 2, 3, 4), "box_not_finite"),
        ((1, 2, INFINITE, 4), "box_not_finite"),
        ((1, -INFINITE, 3, 4), "box_not_finite"),
        ((1, 2, 1, 4), "box_degenerate"),
        ((1, 2, 3, 2), "box_degenerate"),
        ((3, 2, 1, 4), "box_degenerate"),
        ((1, 4, 3, 2), "box_degenerate"),
        ((1, 2, 1.9, 4), "box_degenerate"),
        ((1, 2, 3, 2.9), "box_degenerate"),
        ((-5, 2, 0.9, 4), "box_degenerate"),  # after it was cut
        ((WIDTH - 0.9, 2, WIDTH + 5, 4), "box_degenerate"),
        ((1, HEIGHT - 0.9, 3, HEIGHT + 5), "box_degenerate"),
        ((-9, 2, 0, 4), "box_outside"),
        ((WIDTH, 2, WIDTH + 9, 4), "box_outside"),
        ((1, -9, 3, -1), "box_outside"),
        ((1, HEIGHT, 3, HEIGHT + 9), "box_outside"),
    ],
)
def test_a_box_that_cannot_be_used_is_set_aside_alone(box, reason, how):
    given = boxed(GOOD, box, GOOD)
    source = rooms(files={"f": given})
    found = fact(source, defects=given if how == "known" else UnreadBoxes("f"))
    assert found["reason"] is None
    assert found["labels"] == {"defects": {"boxes": [GOOD, GOOD], "names": ["n0", "n2"]}}
    [aside] = found["set_aside"]
    assert aside["reason"] == reason
    assert aside["detail"] == f"column defects: n1 {check.shown(box)} in an image of 40 x 30 pixels"


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((-5, -1, 99, 99), (0, 0, WIDTH, HEIGHT)),
        ((-5, 2, 1, 4), (0, 2, 1, 4)),
        ((30, 20, 41, 31), (30, 20, WIDTH, HEIGHT)),
        ((1, 2, 1e39, 1e300), (1, 2, WIDTH, HEIGHT)),
        ((1, 2, 2, 3), (1, 2, 2, 3)),
        ((0.1, 0.2, 1.1000000001, 1.2), (np.float32(0.1), np.float32(0.2), np.float32(1.1), np.float32(1.2))),
    ],
)
def test_other_boxes_are_cut_at_the_edges(box, cut):
    found = fact(rooms(), defects=boxed(box))
    assert found["labels"]["defects"]["boxes"] == [tuple(map(float, cut))]
    assert found["set_aside"] == []


def test_no_boxes_are_a_label_and_stay_one_where_all_were_set_aside():
    empty = {"boxes": [], "names": []}
    assert fact(rooms(), defects=boxed())["labels"] == {"defects": empty}
    assert fact(rooms(), defects=boxed((1, 1, 1, 1)))["labels"] == {"defects": empty}


@pytest.mark.parametrize("turned", ["turned_6.jpg", "turned_8.jpg"])
def test_sizes_are_those_of_the_upright_image(turned):
    found = fact(rooms({"a": hostile.files()[turned][0]}), defects=boxed((0, 0, 999, 999)))
    assert (found["width"], found["height"]) == (hostile.WIDTH, hostile.HEIGHT)
    assert found["labels"]["defects"]["boxes"] == [(0, 0, hostile.WIDTH, hostile.HEIGHT)]


@pytest.mark.parametrize(
    ("pixels", "reason", "words"),
    [
        (FileNotFoundError(2, "No such file"), "mask_unreadable", "No such file"),
        (BadLabel("mask_unreadable", "text"), "mask_unreadable", "text"),
        (BadLabel("mask_size", "too large"), "mask_size", "too large"),
        (np.zeros((WIDTH, HEIGHT), np.uint8), "mask_size", "m has 30 x 40 pixels, its image 40 x 30"),
        (mask(values=(0, 2)), "mask_value", "m has pixels of value 2; named are 0, 1, 7"),
        (mask(values=(254, 255)), "mask_value", "value 254"),
    ],
)
def test_a_mask_that_cannot_be_used_is_set_aside_alone(pixels, reason, words):
    found = fact(rooms(masks={"m": pixels}, files={"bad": OSError()}), walls=RawMask("m", NAMES), defects=boxed(GOOD))
    [aside] = found["set_aside"]
    assert aside["reason"] == reason
    assert aside["detail"].startswith("column walls: ")
    assert words in aside["detail"]
    assert (found["reason"], found["labels"].keys()) == (None, {"defects"})


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (BadLabel("boxes_unreadable", "no XML"), "no XML"),
    ],
)
def test_boxes_that_cannot_be_read_are_set_aside_and_the_mask_stays(failure, words):
    source = rooms(masks={"m": mask()}, files={"f": failure})
    found = fact(source, defects=UnreadBoxes("f"), walls=RawMask("m", NAMES))
    assert found["set_aside"] == [
        {"column": "defects", "reason": "boxes_unreadable", "detail": f"column defects: {words}"}
    ]
    assert found["labels"].keys() == {"walls"}


def test_a_mask_says_what_it_shows_and_changes_its_hash_with_any_pixel():
    found = [fact(rooms(masks={"m": mask(seed, (1, 7, 255))}), walls=RawMask("m", NAMES)) for seed in (0, 0, 1)]
    first, again, other = (one["labels"]["walls"] for one in found)
    assert first == again
    assert first["found"] == ["door", "wall"]
    assert first["names"] == {"0": "floor", "1": "wall", "7": "door"}
    assert first["sha256"] != other["sha256"]


def test_a_mask_is_held_against_the_boxes_that_can_be_used():
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:5, :5], pixels[20:, 20:] = 7, 1
    given = RawBoxes(((-9, 0, 10, 5), (3, 3, 3, 3), (20, 20, 30, 30)), ("door", "door", "wall"))
    found = fact(
        rooms(masks={"m": pixels}, files={"bad": OSError()}),
        walls=RawMask("m", NAMES),
        defects=given,
        zones=UnreadBoxes("bad"),
    )
    covered = Coverage.model_validate(found["labels"]["walls"]["coverage"])
    assert covered.shares == {"floor": 1 - (25 + 200) / 1200, "wall": 200 / 1200, "door": 25 / 1200}
    assert covered.agreements.keys() == {"defects"}
    assert covered.agreements["defects"].boxes == 2
    assert covered.agreements["defects"].outside["wall"] == 100 / 1200


def test_255_has_no_label_unless_it_is_named():
    everywhere = rooms(masks={"m": np.full((HEIGHT, WIDTH), 255, np.uint8)})
    nothing = fact(everywhere, walls=RawMask("m", NAMES))
    assert (nothing["labels"], nothing["set_aside"]) == ({"walls": None}, [])
    assert fact(everywhere, walls=RawMask("m", {0: "x", 255: "y"}))["labels"]["walls"]["found"] == ["y"]


def test_labels_of_an_image_that_cannot_be_used_are_not_read():
    found = fact(rooms({"a": b"text"}), walls=RawMask("gone", NAMES), defects=UnreadBoxes("gone"))
    assert (found["reason"], found["labels"], found["set_aside"]) == ("not_an_image", {}, [])


def experiment(**changes):
    tasks = {
        "found": {"type": "detection", "column": "defects"},
        "walls": {"type": "segmentation"},
        "kind": {"type": "classification"},
    }
    values = {"source": {"type": "boards"}, "max_rejected": 1, "split": {"val": 0.2, "test": 0.2}} | changes.pop(
        "data", {}
    )
    return parse({"name": "rooms", "data": values, "tasks": tasks | changes}, "e.yaml")


def test_only_what_the_tasks_need_is_asked_and_each_image_once():
    labels = {"defects": UnreadBoxes("f"), "walls": RawMask("m", NAMES), "other": UnreadBoxes("g"), "kind": "x"}
    references = [Reference("a", labels), Reference("b", {"defects": None}), Reference("a", {})]
    asked = check.questions(experiment(), references)
    assert [(one.id, one.labels) for one in asked] == [
        ("a", {"defects": UnreadBoxes("f"), "walls": RawMask("m", NAMES)}),
        ("b", {}),
    ]


def test_questions_travel_as_json_with_all_that_is_wrong_in_them():
    asked = Question(
        id="ü", labels={"b": boxed((NAN, INFINITE, 1.0, 2.0)), "m": RawMask("x", NAMES), "u": UnreadBoxes("y")}
    )
    again = Question.model_validate(json.loads(json.dumps(asked.model_dump())))
    assert repr(again) == repr(asked)


def planned(made, labels, images=12, **files):
    """Return the plan for images that all carry the same labels, but for ``labels`` of the first."""
    ids = [f"{place:02d}" for place in range(images)]
    usual = {"defects": RawBoxes((GOOD, GOOD), ("dent", "hole")), "walls": RawMask("m", NAMES), "kind": None}
    references = [
        Reference(name, usual | {"kind": "xy"[place % 2]} | (labels if place == 0 else {}), split)
        for place, (name, split) in enumerate(zip(ids, ["train", "val", "test"] * images, strict=False))
    ]
    source = rooms(
        {name: picture(place) for place, name in enumerate(ids)},
        {"m": mask()} | files,
        {"f": BadLabel("boxes_unreadable", "x")},
    )
    facts = json.loads(json.dumps(list(check.examine(source, check.questions(made, references), LIMITS))))
    return prepare.plan(made, references, facts), source


def row_of(plan, image_id="00"):
    return next(row for rows in plan.rows.values() for row in rows if row["id"] == image_id)


def test_a_plan_counts_and_names_what_was_set_aside_and_keeps_the_image():
    bad = RawBoxes((GOOD, (1, 1, 1, 1), (99, 1, 120, 2)), ("dent", "dent", "hole"))
    plan, _ = planned(experiment(), {"defects": bad, "walls": RawMask("gone", NAMES)}, gone=FileNotFoundError(2, "no"))
    report = plan.dataset.report
    assert (report.listed, report.rejected, plan.rejected) == (12, {}, [])
    assert report.set_aside == {"box_degenerate": 1, "box_outside": 1, "mask_unreadable": 1}
    assert [(one["id"], one["reason"]) for one in plan.set_aside] == [
        ("00", "box_degenerate"),
        ("00", "box_outside"),
        ("00", "mask_unreadable"),
    ]
    row = row_of(plan)
    assert row["annotations"]["found"] == {"boxes": [list(GOOD)], "labels": [0]}
    assert row["annotations"]["walls"] is None
    assert row["annotations"]["kind"] == 0
    assert report.labelled["train"] == {"found": 4, "walls": 3, "kind": 4}
    assert report.classes["train"]["found"] == {"dent": 4, "hole": 3}
    assert report.classes["train"]["walls"] == {"door": 3, "floor": 3, "wall": 3}


def test_facts_have_the_coverage_of_masks_by_task():
    more = {
        "rooms": {"type": "segmentation", "column": "walls"},
        "again": {"type": "detection", "column": "defects", "classes": ["dent"]},
    }
    plan, _ = planned(experiment(**more), {"walls": RawMask("gone", NAMES)}, gone=FileNotFoundError(2, "no"))
    facts = {one["id"]: json.loads(one["coverage"]) for one in plan.facts.to_pylist()}
    assert facts["00"] == {}
    assert facts["01"].keys() == {"walls", "rooms"}
    assert facts["01"]["walls"] == facts["01"]["rooms"]
    covered = Coverage.model_validate(facts["01"]["walls"])
    assert sum(covered.shares.values()) == pytest.approx(1)
    assert covered.agreements.keys() == {"found", "again"}
    assert covered.agreements["found"].boxes == 2


def test_facts_leave_out_masks_of_unknown_classes():
    named = {"walls": {"type": "segmentation", "classes": ["floor", "wall"]}}
    plan, _ = planned(experiment(**named), {"walls": RawMask("flat", NAMES)}, flat=mask(values=(0, 1)))
    shown = {one["id"]: json.loads(one["coverage"]).keys() for one in plan.facts.to_pylist()}
    assert (shown["00"], shown["01"]) == ({"walls"}, set())


def test_boxes_and_masks_of_unknown_classes_are_set_aside_one_by_one():
    named = {
        "found": {"type": "detection", "column": "defects", "classes": ["dent"]},
        "walls": {"type": "segmentation", "classes": ["floor", "wall"]},
    }
    plan, _ = planned(experiment(**named), {"walls": RawMask("flat", NAMES)}, flat=mask(values=(0, 1)))
    assert plan.dataset.report.set_aside == {"box_unknown_class": 12, "mask_unknown_class": 11}
    assert plan.dataset.report.rejected == {}
    assert plan.set_aside[0] == {
        "id": "00",
        "reason": "box_unknown_class",
        "detail": "'hole' [1, 2, 3.5, 4], not in tasks.found.classes",
    }
    assert "m shows 'door', not in tasks.walls.classes" in [one["detail"] for one in plan.set_aside]
    assert row_of(plan)["annotations"]["found"]["labels"] == [0]
    assert row_of(plan)["annotations"]["walls"]["values"] == {"0": 0, "1": 1}
    assert row_of(plan, "01")["annotations"]["walls"] is None


SHARES = RawBoxes(((0.1, 0.1, 0.4, 0.4), (0.2, 0.2, 0.9, 0.9), (0.5, 0.1, 0.8, 0.3)), ("dent", "hole", "dent"))
ASIDE = [
    ({"defects": SHARES}, "3 of 25 boxes of task found had to be set aside (3 box_degenerate)", "boxes"),
    (
        {"defects": UnreadBoxes("f")},
        "1 of 12 lists of boxes of task found had to be set aside (1 boxes_unr",
        "lists of",
    ),
    ({"walls": RawMask("gone", NAMES)}, "1 of 12 masks of task walls had to be set aside (1 mask_unreadable)", "masks"),
]


@pytest.mark.parametrize(("labels", "message", "things"), ASIDE)
def test_too_large_a_share_of_a_tasks_boxes_or_masks_stops_with_what_they_were(labels, message, things):
    made = experiment(data={"max_rejected": 0.05})
    plan, _ = planned(made, labels, gone=FileNotFoundError(2, "no"))
    with pytest.raises(DataError) as caught:
        prepare.check_rejected(made, plan, "rejected.jsonl")
    assert str(caught.value).startswith(f"data.max_rejected: {message}")
    assert f"more than the share of 0.05 allowed; see rejected.jsonl, mend the {things}" in str(caught.value)
    prepare.check_rejected(experiment(data={"max_rejected": 0.12}), plan, "rejected.jsonl")


def test_boxes_and_masks_of_unknown_classes_count_among_those_set_aside():
    named = {"walls": {"type": "segmentation", "classes": ["floor", "wall"]}}
    made = experiment(**named, data={"max_rejected": 0.9})
    plan, _ = planned(made, {"walls": RawMask("flat", NAMES)}, flat=mask(values=(0, 1)))
    with pytest.raises(DataError, match=r"11 of 12 masks of task walls .* \(11 mask_unknown_class\)"):
        prepare.check_rejected(made, plan, "rejected.jsonl")


def test_an_image_that_is_left_without_any_label_is_set_aside_itself():
    nothing = {"defects": None, "kind": None, "walls": RawMask("gone", NAMES)}
    plan, _ = planned(experiment(), nothing, gone=FileNotFoundError(2, "no"))
    assert plan.dataset.report.rejected == {"no_label": 1}
    assert plan.dataset.report.set_aside == {"mask_unreadable": 1}


def test_the_fingerprint_changes_with_a_box_and_with_a_pixel_of_a_mask_but_not_with_its_name():
    moved = RawBoxes((GOOD, (1, 2, 3.5, 5)), ("dent", "hole"))
    renamed = RawBoxes((GOOD, GOOD), ("dent", "dent"))
    changed = mask()
    changed[3, 4] = 1 - min(1, changed[3, 4])
    usual, same, *others = (
        planned(experiment(), labels, other=pixels)[0].dataset.fingerprint
        for labels, pixels in (
            ({}, mask()),
            ({"walls": RawMask("other", NAMES)}, mask()),
            ({"walls": RawMask("other", NAMES)}, changed),
            ({"walls": RawMask("other", {**NAMES, 7: "wall"})}, mask()),
            ({"defects": moved}, mask()),
            ({"defects": renamed}, mask()),
            ({"defects": None}, mask()),
        )
    )
    assert same == usual
    assert len({usual, *others}) == 6


def test_boxes_and_masks_shrink_with_an_image_that_is_stored_smaller():
    made = experiment(data={"reencode": 32})
    plan, source = planned(made, {})
    source.images["00"] = picture(0, 80, 64)
    source.masks["m"] = np.kron(np.array([[0, 7], [1, 255]], dtype=np.uint8), np.ones((32, 40), dtype=np.uint8))
    row = row_of(plan) | {"width": 80, "height": 64, "sha256": check.hashlib.sha256(source.images["00"]).hexdigest()}
    row["annotations"]["walls"]["sha256"] = check.pixels_hash(source.masks["m"])
    source.mask = lambda mask_id, width, height: source.masks[mask_id]
    table = shard_table(source, [row], plan.dataset.labels, 32, LIMITS)
    _, image, annotations = encoded(table, 0)
    assert Image.open(io.BytesIO(image)).size == (40, 32) == (table["width"][0].as_py(), table["height"][0].as_py())
    assert annotations["found"].boxes.tolist() == [[0.5, 1, 1.75, 2]] * 2
    expected = np.kron(np.array([[1, 0], [2, 255]], dtype=np.uint8), np.ones((16, 20), dtype=np.uint8))
    assert np.array_equal(annotations["walls"], expected)


@pytest.mark.parametrize("how", ["other pixels", "gone", "broken"])
def test_a_mask_that_changed_since_it_was_checked_is_refused(how):
    plan, source = planned(experiment(), {})
    source.masks["m"] = {"other pixels": mask(9), "gone": OSError(), "broken": BadLabel("mask_size", "x")}[how]
    for rows in plan.rows.values():
        with pytest.raises(DataError, match=f"{rows[0]['id']}: its mask changed while"):
            shard_table(source, rows, plan.dataset.labels, None, LIMITS)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": "detection"}, "column 'kind' holds class names for 00; a task of type detection takes boxes"),
        ({"type": "segmentation", "column": "defects"}, "column 'defects' holds boxes for 00; a task of type segm"),
        ({"type": "classification", "column": "walls"}, "column 'walls' holds masks for 00; a task of type class"),
        ({"type": "multilabel", "column": "defects"}, "column 'defects' holds boxes for 00; a task of type multi"),
    ],
)
def test_a_column_that_holds_something_else_is_refused(task, message):
    with pytest.raises(DataError) as caught:
        planned(experiment(kind=task), {})
    assert str(caught.value).startswith(f"tasks.kind.column: {message}")


def test_masks_whose_values_nobody_named_are_refused_with_the_setting():
    with pytest.raises(DataError, match=r"tasks\.walls\.column: nothing says what the values .* mask_values"):
        planned(experiment(), {"walls": RawMask("m", {})})


def test_a_task_without_any_box_is_refused_with_its_column():
    made, source = experiment(), rooms({name: picture() for name in "abc"}, {"m": mask()})
    references = [
        Reference(name, {"defects": boxed(), "walls": RawMask("m", NAMES), "kind": name}) for name in source.images
    ]
    facts = list(check.examine(source, check.questions(made, references), LIMITS))
    with pytest.raises(DataError, match=r"tasks\.found: 0 class name\(s\) found"):
        prepare.plan(made, references, facts)
