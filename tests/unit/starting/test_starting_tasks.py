"""Which columns become tasks, under which names, and what is said of the others."""

import pytest

from thaw.starting.survey import Column, Seen
from thaw.starting.tasks import choose, slug


def column(name, *counts, kind="class", split=None, twin=None, **named):
    """Return a column with classes c0, c1, ... of so many images, or named ones."""
    found = {f"c{place}": count for place, count in enumerate(counts)} | named
    return Column(name, kind, {split: sum(found.values())}, found, twin)


def chosen(*columns, used=(), splits=None):
    return choose(Seen(100, splits or {None: 100}, {one.name: one for one in columns}), used)


def reasons(*columns, **options):
    return chosen(*columns, **options).left_out


def test_what_a_column_holds_decides_the_type():
    made = chosen(
        column("a", 50, 50),
        column("b", 50, 50, kind="classes"),
        column("c", 9, kind="boxes"),
        column("d", 1, 1, kind="mask"),
    )
    assert [(one.task, one.type) for one in made.tasks] == [
        ("a", "classification"),
        ("b", "multilabel"),
        ("c", "detection"),
        ("d", "segmentation"),
    ]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (column("a", 100), "the same of all images"),
        (column("split", train=80, test=20), "it says the split"),
        (column("part", valid=20, dev=80), "it says the split"),
        (column("a", *[1] * 60), "60 different values in 60 images are no classes"),
        (column("a", *[5] * 1001), "1,001 different values in 5,005 images are no classes"),
        (column("width", **{"640": 50, "480": 50}), "called like something that no image shows"),
        (column("image_id", 50, 50), "called like something that no image shows"),
        (column("photo_url", 50, 50), "called like something that no image shows"),
        (column("score", **{"0.5": 50, "1.5": 50}), "numbers that look measured"),
        (column("age", **{f"{number}": 5 for number in range(21)}), "numbers that look measured"),
        (column("name", 50, 50, twin="kind"), "it says the same as kind in other words"),
    ],
)
def test_columns_of_another_use_are_not_learnt_and_say_why(one, words):
    assert words in reasons(one)[one.name]


@pytest.mark.parametrize(
    "one",
    [
        column("label", **{f"{number}": 5 for number in range(21)}),
        column("class_id", 50, 50),
        column("grade", **{"1": 50, "2": 50}),
        column("infinite", inf=50, nan=50),
        column("kind", *[3] * 30),
    ],
)
def test_columns_of_classes_are_learnt(one):
    assert not reasons(one)


def test_a_column_that_the_source_uses_is_not_learnt_and_nothing_is_said_of_it():
    made = chosen(column("patient", 50, 50), column("label", 50, 50), used=["patient"])
    assert [one.task for one in made.tasks] == ["label"]
    assert not made.unsure


def test_no_more_tasks_than_a_few_and_what_is_called_a_label_among_them():
    made = chosen(*(column(name, 50, 50) for name in ("a", "b", "c", "d", "e", "label")))
    assert [one.task for one in made.tasks] == ["a", "b", "c", "label"]
    assert set(made.left_out) == {"d", "e"}


def test_task_names_are_those_an_experiment_takes_and_no_two_alike():
    names = ["Kind of Part", "kind-of-part", "Größe", "板"]
    assert [one.task for one in chosen(*(column(name, 50, 50) for name in names)).tasks] == [
        "kind-of-part",
        "kind-of-part-2",
        "gr-e",
        "class",
    ]
    assert slug("-_A.b_") == "a-b"


def test_boxes_of_a_class_that_hardly_occurs_are_left_out_and_told_of():
    made = chosen(column("boxes", 900, 100, 1, kind="boxes"))
    assert made.tasks[0].options == {"classes": ["c0", "c1"]}
    assert "c2 is left out" in made.unsure[0]
    assert chosen(column("boxes", 90, 1, kind="boxes")).tasks[0].options == {}


def test_what_a_person_should_look_at_is_said():
    made = chosen(
        column("label", 95, 5, split="train"),
        *(column(name, **{"0": 50, "1": 50}) for name in ("x", "y", "z")),
        splits={"train": 50, "test": 50},
    )
    said = " | ".join(made.unsure)
    for words in (
        "whether all of label, x, y, z are wanted",
        "whether x, y, z belong together",
        "task label: no image of test carries a label",
        "task label: fewer than 10 images of c1",
    ):
        assert words in said
