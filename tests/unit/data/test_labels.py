"""Label schemas: the same names give the same indices everywhere, and a missing label stays missing."""

import numpy as np
import pytest
from pydantic import ValidationError

from thaw.data.labels import LabelSchema, as_names, counts
from thaw.errors import DataError

ONE = LabelSchema(kind="class", names=("cat", "dog", "emu"))
MANY = LabelSchema(kind="classes", names=("cat", "dog", "emu"))


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
    targets = ONE.targets([2, None, 0])
    assert targets.dtype == np.int64
    assert targets.tolist() == [2, -1, 0]


def test_targets_of_sets_are_zeros_and_ones_with_minus_ones_for_missing():
    targets = MANY.targets([(0, 2), None, ()])
    assert targets.dtype == np.int64
    assert targets.tolist() == [[1, 0, 1], [-1, -1, -1], [0, 0, 0]]


@pytest.mark.parametrize(("schema", "shape"), [(ONE, (0,)), (MANY, (0, 3))])
def test_targets_of_no_images_have_the_shape_of_none(schema, shape):
    assert schema.targets([]).shape == shape


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
