"""Label schemas: the same names give the same indices everywhere, and a missing label stays missing."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from thaw.data.labels import Boxes, LabelSchema, as_names, counts
from thaw.data.sources.contract import RawBoxes, RawMask, UnreadBoxes
from thaw.errors import DataError

ONE = LabelSchema(kind="class", names=("cat", "dog", "emu"))
MANY = LabelSchema(kind="classes", names=("cat", "dog", "emu"))
BOXED = LabelSchema(kind="boxes", names=("cat", "dog", "emu"))
MASKED = LabelSchema(kind="mask", names=("cat", "dog", "emu"))


def annotation(schema, seed):
    """Return a random annotation of a schema."""
    random = np.random.default_rng(seed)
    if schema.kind == "class":
        return int(random.integers(3))
    if schema.kind == "classes":
        return tuple(np.flatnonzero(random.random(3) < 0.5).tolist())
    if schema.kind == "mask":
        return random.choice(np.array([0, 1, 2, 255], dtype=np.uint8), tuple(random.integers(1, 30, 2)))
    boxes = np.sort(random.uniform(0, 90, (seed % 4, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    return Boxes(boxes, random.integers(0, 3, len(boxes)))


def plain(one):
    """Return an annotation as something that == compares, types included."""
    if isinstance(one, Boxes):
        return plain(one.boxes), plain(one.labels)
    return (one.dtype, one.shape, one.tolist()) if isinstance(one, np.ndarray) else (type(one), one)


@pytest.mark.parametrize("labels", [["emu", None, "cat", "dog", "cat"], ["dog", "cat", "emu"]])
def test_names_are_sorted_and_unique_in_whatever_order_they_are_found(labels):
    assert LabelSchema.learn("kind", "class", labels, None) == ONE


def test_sets_give_every_name_in_them():
    learned = LabelSchema.learn("tags", "classes", [("emu", "cat"), None, (), ("dog",)], None)
    assert learned == MANY


def test_allowed_names_are_the_schema_whatever_is_found():
    assert LabelSchema.learn("kind", "class", ["dog"], ["emu", "dog", "cat"]) == ONE


@pytest.mark.parametrize(
    ("kind", "labels", "found"),
    [
        ("class", [None], "0 class name(s) found (none), at least 2"),
        ("class", ["a", "a"], "1 class name(s) found (a), at least 2"),
        ("classes", [(), None], "0 class name(s) found (none), at least 1"),
    ],
)
def test_too_few_names_are_refused_with_the_setting_to_look_at(kind, labels, found):
    with pytest.raises(DataError) as caught:
        LabelSchema.learn("verdict", kind, labels, None)
    assert str(caught.value).startswith(f"tasks.verdict: {found} needed")
    assert "tasks.verdict.column" in str(caught.value)


def test_one_name_is_enough_for_sets():
    assert LabelSchema.learn("tags", "classes", [("a",)], None).names == ("a",)


def test_a_class_becomes_its_index_and_a_missing_one_stays_missing():
    assert [ONE.encode(label) for label in ("cat", "emu", None, ("dog",))] == [0, 2, None, 1]


def test_a_set_becomes_sorted_indices_and_an_empty_one_is_not_a_missing_one():
    labels = [("emu", "cat"), (), None, "dog"]
    assert [MANY.encode(label) for label in labels] == [(0, 2), (), None, (1,)]


def test_a_name_that_is_said_twice_counts_once():
    assert MANY.encode(("cat", "cat")) == (0,)
    assert counts(MANY, [("cat", "cat"), ("cat",)]) == {"cat": 2, "dog": 0, "emu": 0}


@pytest.mark.parametrize("schema", [ONE, MANY])
def test_a_name_outside_the_schema_is_no_index(schema):
    with pytest.raises(KeyError, match="fox"):
        schema.encode("fox")


def test_targets_of_classes_are_indices_with_minus_one_for_missing():
    targets = ONE.targets([2, None, 0], 1)
    assert targets.dtype == np.int64
    assert targets.tolist() == [2, -1, 0]


def test_targets_of_sets_are_zeros_and_ones_with_minus_ones_for_missing():
    targets = MANY.targets([(0, 2), None, ()], 1)
    assert targets.dtype == np.int64
    assert targets.tolist() == [[1, 0, 1], [-1, -1, -1], [0, 0, 0]]


@pytest.mark.parametrize(("schema", "shape"), [(ONE, (0,)), (MANY, (0, 3)), (BOXED, (0, 1, 5)), (MASKED, (0, 4, 4))])
def test_targets_of_no_images_have_the_shape_of_none(schema, shape):
    assert schema.targets([], 4).shape == shape


def test_targets_of_boxes_fill_up_and_tell_no_box_from_no_label():
    boxes = Boxes(np.array([[0, 0, 1, 1], [2, 3, 4, 5]], dtype=np.float32), np.array([2, 0]))
    targets = BOXED.targets([boxes, annotation(BOXED, 0), None], 8)
    assert targets.dtype == np.float32
    assert targets[0].tolist() == [[0, 0, 1, 1, 2], [2, 3, 4, 5, 0]]
    assert targets[1:, :, 4].tolist() == [[-1, -1], [-2, -2]]


def test_targets_of_masks_are_the_masks_with_255_where_there_is_none():
    targets = MASKED.targets([np.eye(4, dtype=np.uint8), None], 4)
    assert targets.dtype == np.uint8
    assert targets[0].tolist() == np.eye(4).tolist()
    assert (targets[1] == 255).all()


@pytest.mark.parametrize("schema", [ONE, MANY, BOXED], ids=lambda schema: schema.kind)
def test_targets_give_back_what_they_were_made_of(schema):
    made = [annotation(schema, seed) for seed in range(9)] + [None]
    assert list(map(plain, schema.annotations(schema.targets(made, 8)))) == list(map(plain, made))


@pytest.mark.parametrize("schema", [ONE, MANY, BOXED, MASKED], ids=lambda schema: schema.kind)
@pytest.mark.parametrize("seed", range(8))
def test_annotations_travel_as_json(schema, seed):
    made = annotation(schema, seed)
    travelled = json.loads(json.dumps(schema.to_json(made), allow_nan=False))
    assert plain(schema.from_json(travelled)) == plain(made)
    assert schema.from_json(schema.to_json(None)) is None


def test_a_mask_without_any_label_travels_as_json():
    nothing = np.full((3, 5), 255, dtype=np.uint8)
    assert plain(MASKED.from_json(MASKED.to_json(nothing))) == plain(nothing)


def test_boxes_and_masks_name_their_classes():
    boxes = RawBoxes(((0, 0, 1, 1),) * 3, ("dog", "cat", "dog"))
    assert as_names(boxes) == ("dog", "cat")
    assert as_names(RawMask("m", {0: "dog", 1: "cat", 2: "dog"})) == ("dog", "cat")
    assert as_names(UnreadBoxes("b")) == ()
    assert counts(BOXED, [boxes, None]) == {"cat": 1, "dog": 2, "emu": 0}


def test_the_fingerprint_is_of_kind_and_names_alone():
    again = LabelSchema.learn("other", "class", ["emu", "dog", "cat"], None)
    assert again.fingerprint == ONE.fingerprint
    others = [
        MANY,
        LabelSchema(kind="class", names=("cat", "dog")),
        LabelSchema(kind="class", names=("cat", "dog", "fox")),
        LabelSchema(kind="class", names=("catdog", "emu")),
        LabelSchema(kind="class", names=("dog", "cat", "emu")),  # another order is another head
    ]
    assert len({schema.fingerprint for schema in (ONE, *others)}) == 6


def test_a_schema_survives_json_and_cannot_be_changed():
    assert LabelSchema.model_validate_json(ONE.model_dump_json()) == ONE
    with pytest.raises(ValidationError, match="frozen"):
        ONE.names = ("x", "y")


def test_counting_names_every_class_even_where_none_is_found():
    assert counts(ONE, ["cat", None, "cat"]) == {"cat": 2, "dog": 0, "emu": 0}
    assert counts(MANY, [("cat", "dog"), None, ("dog",)]) == {"cat": 1, "dog": 2, "emu": 0}


def test_a_raw_label_is_no_name_one_or_several():
    assert [as_names(label) for label in (None, "ab", ("a", "b"), ())] == [(), ("ab",), ("a", "b"), ()]
