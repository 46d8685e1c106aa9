"""A curve from parts of the images predicts what all of them come to, and says what a target takes of each class."""

import dataclasses

import landscape
import numpy as np
import pytest

from thaw import bundle
from thaw.data.labels import LabelSchema
from thaw.probe.curve import answers
from thaw.probe.curve.answers import Ground
from thaw.probe.curve.curve import Curve, doubt
from thaw.probe.curve.target import LEAST_VAL
from thaw.probe.embedding import Vectors
from thaw.tasks import classification

TASKS = landscape.tasks()


def _curve(ground: Ground, target: float | None = None, draws: int = 4) -> Curve:
    found = answers.joined([answers.drawn(ground, 0, one) for one in range(draws)])
    return Curve.of(ground, found, 0, target)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground.of(TASKS["kind"], landscape.vectors(600, 0), landscape.vectors(300, 1))


@pytest.fixture(scope="module")
def curve(ground: Ground) -> Curve:
    return _curve(ground, 0.8)


@pytest.mark.parametrize("name", ["kind", "tags"])
def test_a_half_of_the_images_predicts_what_all_come_to(name: str) -> None:
    train, val = landscape.vectors(600, 0), landscape.vectors(300, 1)
    half = Vectors(train.features[:300], {task: one[:300] for task, one in train.targets.items()})
    expected = _curve(Ground.of(TASKS[name], half, val)).at(2)
    now = _curve(dataclasses.replace(Ground.of(TASKS[name], train, val), sizes=np.array([60, 600])), draws=2).now
    assert expected.low <= now <= expected.high
    assert expected.high - expected.low < 0.2


def test_it_keeps_what_was_measured(curve: Curve, ground: Ground) -> None:
    assert curve.sizes == tuple(ground.sizes)
    assert [len(one) for one in curve.values] == [4] * len(curve.sizes)
    assert (curve.task, curve.metric, curve.images, curve.val) == ("kind", "accuracy", 600, 300)
    assert curve.now == curve.values[-1][0] > curve.values[0][0]


def test_it_looks_ahead_with_a_band_around_the_law(curve: Curve) -> None:
    assert (curve.ahead[0].images, curve.ahead[-1].images) == (curve.sizes[0], 6000)
    assert all(one.low <= one.value <= one.high for one in curve.ahead)
    assert [curve.at(times).images for times in (1, 2, 10)] == [600, 1200, 6000]
    assert curve.ahead[-1].value == pytest.approx(1 - curve.floor - curve.height * 10**-curve.exponent)


def test_what_a_target_takes_is_divided_by_the_shares_of_classes(curve: Curve) -> None:
    assert curve.target is not None
    needed = curve.target.reach.images
    assert needed is not None
    assert {name: one.have for name, one in curve.target.classes.items()} == dict.fromkeys(landscape.NAMES, 200)
    assert all(one.share == -(-needed // 3) for one in curve.target.classes.values())


def test_a_class_has_a_curve_of_its_own_where_enough_images_of_it_are_validated(curve: Curve, ground: Ground) -> None:
    assert curve.target is not None
    one = curve.target.classes["rye"]
    found = answers.drawn(ground, 0, 0)[-1]
    assert one.recall == pytest.approx((found[ground.truth == 1] == 1).mean())
    assert one.reach is not None
    few = ground.truth != 1
    few[np.flatnonzero(ground.truth == 1)[: LEAST_VAL - 1]] = True
    fewer = dataclasses.replace(ground, others=ground.others[few], truth=ground.truth[few])
    target = _curve(fewer, 0.8).target
    assert target is not None
    assert target.classes["rye"].reach is None
    assert target.classes["rye"].val == LEAST_VAL - 1
    assert target.classes["oat"].reach is not None


def test_what_a_class_takes_is_counted_in_images_of_it(curve: Curve, ground: Ground) -> None:
    assert curve.target is not None
    now = curve.target.classes["rye"].recall
    assert now is not None
    target = _curve(ground, now).target
    assert target is not None
    assert target.classes["rye"].reach is not None
    assert target.classes["rye"].reach.images == pytest.approx(200, rel=0.4)


def test_classes_of_sets_have_their_shares_alone() -> None:
    ground = Ground.of(TASKS["tags"], landscape.vectors(300, 0), landscape.vectors(150, 1))
    target = _curve(ground, 0.7, draws=2).target
    assert target is not None
    assert all(one.have == 100 and one.reach is None for one in target.classes.values())


def test_without_a_target_nothing_is_said_of_one(ground: Ground) -> None:
    assert _curve(ground, draws=2).target is None


def test_few_images_have_no_curve_and_it_is_said_how_many_it_takes() -> None:
    assert doubt(TASKS["kind"], 64, LEAST_VAL) is None
    assert doubt(TASKS["kind"], 64, LEAST_VAL - 1) == (
        "29 validation images with a label show too little; label 30 or more"
    )
    assert doubt(TASKS["kind"], 63, LEAST_VAL) == (
        "63 training images with a label are too few to learn 3 classes from parts of them; label 64 or more, "
        "about 22 of each class"
    )
    schema = LabelSchema(kind="class", names=tuple(f"kind-{place}" for place in range(81)))
    many = bundle.build_tasks({"kind": classification.Options(type="classification")}, {"kind": schema})["kind"]
    assert doubt(many, 648, LEAST_VAL) is None
    assert "648 or more, about 8 of each class" in str(doubt(many, 647, LEAST_VAL))
