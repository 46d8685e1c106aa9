"""Thresholds keep to their aim on images to come, and say where too few images promise nothing."""

import numpy as np
import pytest
import torch

from thaw import bundle
from thaw.config import load
from thaw.config.experiment import OperatingPoint
from thaw.data.labels import LabelSchema
from thaw.data.placement import Placement
from thaw.errors import ConfigError
from thaw.evaluation import bootstrap, operating_point
from thaw.metrics.weighted.classes import ClassSample, SetSample
from thaw.metrics.weighted.contract import Candidates
from thaw.tasks import classification, detection, multilabel
from thaw.tasks.contract import Answering

NAMES = ("bad", "good")
ONES = (np.ones(40), np.ones(40))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _two(seed: int, images: int, gap: float = 2.0) -> ClassSample:
    """Return scores of two classes that overlap."""
    random = np.random.default_rng(seed)
    targets = np.arange(images) % 2
    outputs = random.normal(size=images) + gap * (0.5 - targets)
    bad = 1 / (1 + np.exp(-outputs * gap))
    scores = np.stack([bad, 1 - bad], axis=1)
    return ClassSample(NAMES, scores, targets, scores.argmax(axis=1), np.zeros(images, dtype=bool))


def _rates(aim: OperatingPoint, images: int, sets: int = 60) -> list[float]:
    """Return what thresholds chosen on some images come to on very many others."""
    new = _two(10**6, 20_000)
    [group] = new.candidates("bad")
    found = []
    for seed in range(sets):
        answering = operating_point.settle(_two(seed, images), aim, 1.0)
        realised = operating_point._realising(group, aim.aim, answering.thresholds["bad"])
        found.append(float(realised(bootstrap.once(len(new)))[aim.aim][0]))
    return found


def test_the_expected_rate_of_false_positives_keeps_to_the_aim():
    rates = _rates(OperatingPoint(max_false_positive_rate=0.05, positive="bad"), 200)
    assert 0.03 < np.mean(rates) <= 0.052


def test_the_expected_recall_keeps_to_the_aim():
    rates = _rates(OperatingPoint(min_recall=0.9, positive="bad"), 200)
    assert 0.898 <= np.mean(rates) < 0.93


def test_too_few_images_promise_nothing():
    aim = OperatingPoint(max_false_positive_rate=0.01, positive="bad")
    answering = operating_point.settle(_two(0, 60), aim, 1.0)
    assert answering.unpromised == ("bad",)
    [group] = _two(0, 60).candidates("bad")
    assert (group.wrong < answering.thresholds["bad"]).all()
    assert operating_point.settle(_two(0, 400), aim, 1.0).unpromised == ()


def _group(right: list[float], wrong: list[float], positives: int | None = None) -> Candidates:
    places = np.arange(len(right)), len(right) + np.arange(len(wrong))
    unseen = (positives or len(right)) - len(right)
    images = len(right) + len(wrong) + unseen
    true = np.ones(images)
    true[len(right) : images - unseen] = 0
    return Candidates(("x",), np.array(right), np.array(wrong), *places, true, np.ones(images))


def test_precision_takes_the_lowest_threshold_that_is_right_often_enough():
    group = _group([0.9, 0.8, 0.6, 0.3], [0.7, 0.4, 0.2])
    assert operating_point.by_precision(group, 0.6) == (pytest.approx((0.6 + 0.4) / 2), True)
    assert operating_point.by_precision(group, 0.65) == (pytest.approx((0.8 + 0.7) / 2), True)
    threshold, promised = operating_point.by_precision(_group([0.5], [0.9]), 0.9)
    assert threshold > 0.9
    assert not promised


def test_one_right_answer_promises_no_precision():
    random = np.random.default_rng(0)
    threshold, promised = operating_point.by_precision(_group([0.99], random.uniform(0, 0.9, 200).tolist()), 0.9)
    assert threshold > 0.99
    assert not promised


def test_several_false_boxes_in_one_image_cost_what_one_image_may_have():
    """3 false boxes are in one image of 40: of a new one as many may come, so that fewer are let through."""
    apart = Candidates(NAMES[:1], np.ones(1), np.array([0.9, 0.8, 0.7]), np.zeros(1, int), np.arange(3), *ONES)
    together = Candidates(NAMES[:1], np.ones(1), np.array([0.9, 0.8, 0.7]), np.zeros(1, int), np.zeros(3, int), *ONES)
    assert operating_point.by_false(apart, 3 / 41) == (pytest.approx(0.75), True)
    assert operating_point.by_false(together, 3 / 41) == (pytest.approx(0.95), True)
    assert not operating_point.by_false(together, 2 / 41)[1]


def test_many_boxes_in_one_image_may_all_be_missed_in_a_new_one():
    """40 of 40 are found: of a new image with one 1 in 41 is counted as missed, of one with twenty 20 in 60."""
    scores = np.linspace(0.5, 0.9, 40)
    none = np.empty(0), np.arange(40), np.empty(0, int)
    apart = Candidates(NAMES[:1], scores, *none, *ONES)
    together = Candidates(
        NAMES[:1], scores, np.empty(0), np.arange(40) // 20, np.empty(0, int), *[np.full(2, 20.0)] * 2
    )
    assert operating_point.by_recall(apart, 0.95)[1]
    assert not operating_point.by_recall(together, 0.95)[1]
    assert operating_point.by_recall(together, 0.66)[1]
    assert operating_point.by_precision(apart, 0.95)[1]
    assert not operating_point.by_precision(together, 0.95)[1]


def test_the_recall_of_boxes_that_come_together_keeps_to_the_aim():
    rates, aim = [], 0.9
    for seed in range(200):
        random = np.random.default_rng(seed)
        hard = random.random(60) < 0.15
        images = np.repeat(np.arange(60), 8)
        scores = np.where(hard[images], random.beta(2, 4, 480), random.beta(6, 2, 480))
        group = Candidates(NAMES[:1], scores, np.empty(0), images, np.empty(0, int), np.full(60, 8.0), np.ones(60))
        threshold, promised = operating_point.by_recall(group, aim)
        assert promised
        new = np.random.default_rng(10**6)
        hard = new.random(20_000) < 0.15
        rates.append((np.where(hard, new.beta(2, 4, 20_000), new.beta(6, 2, 20_000)) >= threshold).mean())
    assert aim - 0.002 <= np.mean(rates) < aim + 0.03


def test_of_what_could_not_be_wrong_nothing_is_learnt():
    group = Candidates(
        NAMES[:1], np.array([0.9, 0.8]), np.empty(0), np.arange(2), np.empty(0, int), np.ones(2), np.zeros(2)
    )
    assert operating_point.by_false(group, 0.01) == (0.5, False)


@pytest.mark.parametrize(("kind", "annotation"), [(classification, "class"), (multilabel, "classes")])
def test_a_class_that_there_is_not_is_no_aim(kind, annotation):
    point = OperatingPoint(max_false_positive_rate=0.1, positive="bda")
    options = kind.Options(type=kind.__name__.rpartition(".")[2], operating_point=point)
    with pytest.raises(
        ConfigError, match=r"tasks.verdict.operating_point.positive: no class 'bda'; known: bad, good; did"
    ):
        kind.Task("verdict", options, LabelSchema(kind=annotation, names=NAMES))


def test_without_an_operating_point_the_likeliest_of_several_classes_is_answered():
    scores = np.array([[0.4, 0.3, 0.3], [0.4, 0.35, 0.25], [0.2, 0.5, 0.3]])
    sample = ClassSample(("a", "b", "c"), scores, np.array([0, 1, 1]), np.array([0, 0, 1]), np.zeros(3, dtype=bool))
    point = OperatingPoint(min_recall=0.5, positive="a")
    answering = Answering(thresholds={"a": 0.3}, positive="a")
    [one] = operating_point.kept(sample, point, answering, 0.0, bootstrap.draws(len(sample), 0))
    assert (one.false_positives, one.false_positives_usual) == (1, 1)


def test_f1_takes_the_best_threshold():
    assert operating_point.by_f1(_group([0.9, 0.8, 0.6], [0.5, 0.4, 0.3])) == (pytest.approx((0.6 + 0.5) / 2), True)


def test_boxes_that_were_never_answered_are_missed_at_every_threshold():
    group = _group([0.9, 0.8, 0.7, 0.6], [], positives=9)
    assert operating_point.by_recall(group, 0.9) == (pytest.approx(0.3), False)  # all that can be are found
    assert operating_point.by_recall(_group([], [0.2], positives=2), 0.9) == (0.5, False)
    threshold, promised = operating_point.by_recall(group, 0.3)
    assert (threshold, promised) == (
        pytest.approx((0.7 + 0.6) / 2),
        True,
    )  # 3 of 9 are found: of new ones 7 in 10 may be missed


@pytest.mark.parametrize("aim", ["max_false_positive_rate", "min_recall", "min_precision"])
def test_rounding_decides_nothing(aim):
    scores, targets = _two(0, 200).scores[:, 0], _two(0, 200).targets == 0
    group = Candidates.of("bad", scores, targets, np.ones(200, dtype=bool))
    point = OperatingPoint(positive="bad", **{aim: 0.9 if aim != "max_false_positive_rate" else 0.1})
    threshold = operating_point._CHOOSE[aim](group, point)[0]
    assert np.abs(scores - threshold).min() > 1e-6


def test_where_nothing_is_answered_wrongly_there_is_nothing_to_leave_out():
    assert operating_point.by_false(_group([0.9, 0.8], []), 0.01) == (0.0, False)
    assert operating_point.by_false(_group([0.9] * 200, []), 0.01) == (0.0, True)


def test_several_classes_have_thresholds_of_their_own():
    random = np.random.default_rng(0)
    scores = random.random((300, 2))
    targets = random.random((300, 2)) < scores * [0.9, 0.5]
    sample = SetSample(("x", "y"), scores, targets, scores >= 0.5)
    answering = operating_point.settle(sample, OperatingPoint(max_false_positive_rate=0.1), 1.0)
    assert set(answering.thresholds) == {"x", "y"}
    for place, name in enumerate(("x", "y")):
        wrong = (scores[:, place] >= answering.thresholds[name]) & ~targets[:, place]
        assert wrong.sum() <= 0.1 * (~targets[:, place]).sum()


def test_without_an_aim_the_temperature_alone_is_settled():
    assert operating_point.settle(_two(0, 50), None, 2.0) == Answering(temperature=2.0)


def _task(answering: Answering | None = None):
    schema = {"kind": LabelSchema(kind="class", names=("bad", "good", "odd"))}
    options = {"kind": classification.Options(type="classification")}
    return bundle.build_tasks(options, schema, {"kind": answering} if answering else {})["kind"]


def _answered(task, *rows: list[float]):
    return task.decode(torch.tensor(rows).log(), [Placement.unchanged(8)] * len(rows))


def test_a_positive_class_is_answered_from_its_threshold_on():
    task = _task(Answering(thresholds={"bad": 0.2}, positive="bad", unsure=0.05))
    found, missed, near = _answered(task, [0.3, 0.6, 0.1], [0.1, 0.3, 0.6], [0.17, 0.23, 0.6])
    assert (found.label, found.score) == ("bad", pytest.approx(0.3))
    assert missed.label == "odd"
    assert [one.unsure for one in (found, missed, near)] == [False, False, True]
    assert found.summary() == {"bad": "0.300"}
    assert near.summary() == {"odd": "0.600 unsure"}


def test_an_answer_below_the_threshold_of_its_class_is_unsure():
    task = _task(Answering(thresholds={"bad": 0.9, "good": 0.5}))
    found = _answered(task, [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6])
    assert [(one.label, one.unsure) for one in found] == [("bad", True), ("good", False), ("odd", False)]


def test_the_temperature_changes_scores_and_no_answer():
    [plain], [tempered] = (_answered(_task(rule), [0.7, 0.2, 0.1]) for rule in (None, Answering(temperature=2.0)))
    assert plain.label == tempered.label == "bad"
    roots = np.sqrt([0.7, 0.2, 0.1])
    assert list(tempered.scores.values()) == pytest.approx(roots / roots.sum())


def test_what_is_scored_is_what_was_answered():
    task = _task(Answering(thresholds={"bad": 0.2}, positive="bad"))
    answers = _answered(task, [0.3, 0.6, 0.1], [0.1, 0.3, 0.6])
    meter = task.meter()
    meter.update(answers, [0, 2])
    assert meter.compute()["accuracy"] == 1.0
    assert meter.confusion() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert task.sample(answers, [0, 2]).goodness().tolist() == [1, 1]


def test_kept_compares_with_the_usual_rule():
    point = OperatingPoint(max_false_positive_rate=0.05, positive="bad")
    answering = operating_point.settle(_two(0, 400), point, 1.0)
    new = _two(1, 400)
    weights = bootstrap.draws(len(new), 0)
    [found] = operating_point.kept(new, point, answering, 0.0, weights)
    assert found.promised
    assert found.realised.low <= found.realised.value <= found.realised.high
    assert found.realised.value == pytest.approx(found.false_positives / 200)
    assert found.false_positives < found.false_positives_usual


@pytest.mark.parametrize(
    ("kind", "point", "said"),
    [
        (classification, {"max_fp_per_image": 1}, "take one of"),
        (classification, {"min_recall": 0.9}, "name it as positive"),
        (multilabel, {"min_recall": 0.9, "best": "f1"}, "exactly one"),
        (multilabel, {}, "exactly one"),
        (detection, {"max_false_positive_rate": 0.1}, "take one of"),
        (detection, {"best": "f1", "unsure": 0.1}, "boxes have neither"),
    ],
)
def test_an_aim_that_cannot_be_kept_is_refused(kind, point, said):
    name = kind.__name__.rpartition(".")[2]
    values = {
        "name": "one",
        "data": {"source": {"type": "boards"}},
        "tasks": {"kind": {"type": name, "operating_point": point}},
    }
    with pytest.raises(ConfigError, match=said):
        load.parse(values, "test")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_decides_nothing_where_no_operating_point_was_chosen(temperature):
    labels = {"tags": LabelSchema(kind="classes", names=("x", "y"))}
    options = {"tags": multilabel.Options(type="multilabel", threshold=0.3)}
    tasks = (
        bundle.build_tasks(options, labels, {"tags": Answering(temperature=t)})["tags"] for t in (1.0, temperature)
    )
    outputs = torch.tensor([[-0.6, -1.2], [-0.9, 2.0], [-0.84, -0.85]])
    plain, tempered = (task.decode(outputs, [Placement.unchanged(8)] * 3) for task in tasks)
    assert [one.labels for one in plain] == [one.labels for one in tempered]


def test_the_interval_of_a_precision_is_that_of_the_answers():
    """5 of 100 are answered, all rightly: that says far less than 100 right answers would."""
    scores = np.where(np.arange(200) < 5, 0.9, 0.1)
    targets = (np.arange(200) >= 100).astype(np.int64)
    sample = ClassSample(NAMES, np.stack([scores, 1 - scores], axis=1), targets, targets, targets < 0)
    point, answering = (
        OperatingPoint(min_precision=0.9, positive="bad"),
        Answering(thresholds={"bad": 0.5}, positive="bad"),
    )
    [one] = operating_point.kept(sample, point, answering, 0.0, bootstrap.draws(len(sample), 0))
    assert (one.realised.value, one.realised.low) == (1.0, pytest.approx(0.025 ** (1 / 5)))
