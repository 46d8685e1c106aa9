"""The page of an evaluation, and that of a comparison: what is measured is shown, and text stays text."""

import numpy as np
import pytest
import torch

from reading import Reader
from thaw import bundle
from thaw.data.labels import LabelSchema
from thaw.data.placement import Placement
from thaw.evaluation import comparison, figures, operating_point, worst
from thaw.evaluation.evaluate import Answered, Confusion, Scores, Tally
from thaw.evaluation.report import charts
from thaw.evaluation.report import comparison as comparing
from thaw.evaluation.report.page import Part, page
from thaw.metrics.weighted.classes import ClassSample
from thaw.page.pictures import Picture
from thaw.tasks import classification

HOSTILE = "<script>alert(1)</script>"
NAMES = (HOSTILE, "b & c", "d")
JPEG = Picture(b"\xff\xd8 a picture", 160, 120)


@pytest.fixture(scope="module")
def tasks():
    labels = {"kind": LabelSchema(kind="class", names=NAMES)}
    return bundle.build_tasks({"kind": classification.Options(type="classification")}, labels)


def answered(tasks, seed: int) -> Answered:
    """Return answers to 60 images, two of three right."""
    random = np.random.default_rng(seed)
    truths = np.arange(60) % 3
    shown = np.where(random.random(60) < 2 / 3, truths, (truths + 1) % 3)
    outputs = torch.tensor(np.eye(3)[shown] * random.uniform(1, 4, 60)[:, None], dtype=torch.float32)
    answers = [{"kind": one} for one in tasks["kind"].decode(outputs, [Placement.unchanged(8)] * 60)]
    return Answered([f"{place}{HOSTILE}" for place in range(60)], answers, [{"kind": int(one)} for one in truths])


@pytest.fixture(scope="module")
def scores(tasks):
    given = answered(tasks, 0)
    tally = Tally(tasks)
    tally.add(given.answers, given.annotations)
    columns = {"camera": {image: str(place % 2) for place, image in enumerate(given.ids)}}
    seen = figures.labelled(tasks, *given)
    return Scores(
        model="m/1",
        dataset="0123",
        split="test",
        images=60,
        metrics=tally.metrics(),
        confusions=tally.confusions(),
        figures=figures.figures(tasks, seen, 0, columns),
        looks=3,
        answers="runs/r/evaluation/test.parquet",
    )


@pytest.fixture(scope="module")
def read(tasks, scores):
    given = answered(tasks, 0)
    seen = figures.labelled(tasks, *given)["kind"]
    cases = worst.worst(tasks["kind"], seen, given)
    part = Part("classification", charts.groups(seen.sample, NAMES), cases)
    drawn = {case.id: {"kind": (JPEG,)} for case in cases[:3]}
    return Reader(page(scores, {"kind": part}, drawn, {"kind": tasks["kind"].labels}, {"run": HOSTILE}))


def test_tags_close_and_text_stays_text(read):
    assert read.open == []
    assert read.tags.count("script") == 1
    assert HOSTILE in read.text


def test_nothing_is_asked_for_from_elsewhere(read):
    assert all(one.startswith(("data:", "#")) for one in read.asked)


def test_every_metric_is_shown_with_its_interval(read, scores):
    for name, one in scores.figures["kind"].metrics.items():
        assert [name, f"{one.value:.3f}", f"{one.low:.3f}", f"{one.high:.3f}"] in read.rows


def test_how_often_test_images_were_looked_at_is_said(read):
    assert "looked at 3 times" in read.text


def test_slices_classes_and_mistaken_pairs_have_rows(read, scores):
    assert any(row[:2] == ["0", "30"] for row in read.rows)
    assert any(row[0] == "b & c" and len(row) == 4 for row in read.rows)
    pair = scores.confusions["kind"].mistaken(1)[0]
    assert [pair.label, pair.answer, str(pair.times), f"{pair.share:.0%}"] in read.rows


def test_images_have_pictures_or_are_said_to_have_none(read, tasks):
    given = answered(tasks, 0)
    wrong = sum(one["kind"].label != NAMES[carried["kind"]] for one, carried in zip(*given[1:], strict=True))
    assert read.tags.count("img") == 3
    assert read.text.count("no picture") == min(wrong, worst.MOST) - 3


def test_pairs_are_counted_by_label_and_answer():
    found = Confusion(names=("a", "b"), counts=((5, 3), (1, 0))).mistaken(5)
    assert found == [("a", "b", 3, 3 / 8), ("b", "a", 1, 1.0)]


def test_curves_are_those_of_the_definitions():
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    targets = np.array([0, 0, 1, 1])
    sample = ClassSample(("a", "b"), scores, targets, scores.argmax(axis=1), targets < 0)
    group = charts.groups(sample, ("a", "b"))[0]
    assert group.names == ("a",)
    assert charts.precisions(group) == ([0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 2 / 3, 0.5])
    assert charts.rates(group) == ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])


def test_classes_that_share_a_threshold_share_a_curve(tasks):
    class Shared:
        def candidates(self, _positive):
            return [
                operating_point.Candidates(
                    ("a", "b"), *([np.array([0.5])] * 2), *([np.array([0])] * 2), *([np.ones(1)] * 2)
                )
            ]

    assert len(charts.groups(Shared(), ("a", "b"))) == 1


def test_a_comparison_shows_what_got_fixed_and_what_broke(tasks):
    both = [answered(tasks, seed) for seed in (0, 1)]
    seen = [figures.labelled(tasks, *one) for one in both]
    found = comparison.Comparison(
        before="m/1", after="m/2", dataset="d", split="test", tasks=comparison.compare(*seen, 0)
    )
    one = found.tasks["kind"]
    drawn = {change.id: {"kind": (JPEG,)} for change in (*one.fixed, *one.broken)}
    read = Reader(comparing.page(found, both, drawn, {"kind": tasks["kind"].labels}))
    assert read.open == []
    assert f"Fixed: {len(one.fixed)}" in read.text
    assert f"Broken: {len(one.broken)}" in read.text
    assert read.tags.count("img") == len(one.fixed) + len(one.broken)
    place = both[0].ids.index(one.fixed[0].id)
    before, after = (given.answers[place]["kind"] for given in both)
    assert f"answered {before.label} {before.score:.3f}, now {after.label} {after.score:.3f}" in read.text
    accuracy = one.metrics["accuracy"]
    assert any(row[:3] == ["accuracy", f"{accuracy.before:.3f}", f"{accuracy.after:.3f}"] for row in read.rows)
