"""Two models on the same images."""

import numpy as np
import pytest

from thaw.errors import DataError
from thaw.evaluation import bootstrap, comparison
from thaw.evaluation.figures import Labelled
from thaw.metrics.weighted.classes import ClassSample

N = 200


def _model(right: np.ndarray, ids: tuple[str, ...] | None = None) -> Labelled:
    """Return a model that answers these images rightly, of two classes in turn."""
    targets = np.arange(len(right)) % 2
    answered = np.where(right, targets, 1 - targets)
    scores = np.eye(2)[answered] * 0.6 + 0.2
    ids = ids or tuple(f"{place}" for place in range(len(right)))
    return Labelled(ids, ClassSample(("a", "b"), scores, targets, answered, targets < 0))


@pytest.fixture
def hard():
    return np.random.default_rng(0).random(N) < 0.3


def test_what_got_fixed_and_what_broke(hard):
    first = ~hard
    second = first.copy()
    second[np.flatnonzero(hard)[:5]] = True
    second[np.flatnonzero(~hard)[:2]] = False
    found = comparison.compare({"kind": _model(first)}, {"kind": _model(second)}, 0)["kind"]
    assert {one.id for one in found.fixed} == {str(at) for at in np.flatnonzero(hard)[:5]}
    assert {one.id for one in found.broken} == {str(at) for at in np.flatnonzero(~hard)[:2]}
    figure = found.metrics["accuracy"]
    assert figure.after - figure.before == pytest.approx(3 / N)
    assert figure.difference.value == pytest.approx(3 / N)


def test_pairs_are_told_apart_where_two_intervals_overlap(hard):
    second = ~hard
    second[np.flatnonzero(hard)[:12]] = True
    before, after = _model(~hard), _model(second)
    alone = [
        bootstrap.intervals(one.sample.metrics, bootstrap.draws(len(one.ids), 0))["accuracy"] for one in (before, after)
    ]
    assert alone[0].high > alone[1].low
    found = comparison.compare({"kind": before}, {"kind": after}, 0)["kind"].metrics["accuracy"].difference
    assert found.low > 0


def test_a_model_differs_from_itself_in_nothing(hard):
    found = comparison.compare({"kind": _model(hard)}, {"kind": _model(hard)}, 0)["kind"]
    assert (found.fixed, found.broken, found.mcnemar) == ((), (), 1.0)
    difference = found.metrics["accuracy"].difference
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_mcnemar_is_the_binomial_test():
    assert comparison.mcnemar(0, 0) == 1
    assert comparison.mcnemar(5, 5) == 1
    assert comparison.mcnemar(8, 1) == comparison.mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)
    assert comparison.mcnemar(2000, 1500) < 1e-15


def test_other_images_are_refused(hard):
    other = _model(hard, tuple(f"x{place}" for place in range(N)))
    with pytest.raises(DataError, match="different images"):
        comparison.compare({"kind": _model(hard)}, {"kind": other}, 0)
    with pytest.raises(DataError, match="nothing in common"):
        comparison.compare({"kind": _model(hard)}, {"other": _model(hard)}, 0)


def test_lines_mark_what_is_sure(hard):
    second = ~hard
    second[np.flatnonzero(hard)[:20]] = True
    told = comparison.lines(comparison.compare({"kind": _model(~hard)}, {"kind": _model(second)}, 0))
    assert "20 fixed, 0 broken (McNemar p = " in told[0]
    assert any(line.split()[0] == "accuracy" and line.endswith("*") for line in told[1:])


def test_a_few_changed_decisions_are_no_more_than_chance_and_a_better_ranking_is():
    targets = np.arange(200) % 2
    before = np.where(np.arange(200) < 3, 1 - targets, targets)

    def sample(answered: np.ndarray, sure: float) -> Labelled:
        scores = np.where(np.eye(2)[answered] > 0, sure, 1 - sure)
        return Labelled(tuple(map(str, range(200))), ClassSample(("a", "b"), scores, targets, answered, targets < 0))

    found = comparison.compare({"task": sample(before, 0.9)}, {"task": sample(targets, 0.9)}, 0)["task"]
    assert found.metrics["accuracy"].difference.low > 0
    assert found.mcnemar == 0.25
    assert not any(found.beyond_chance(one) for one in ("accuracy", "f1_macro", "recall_macro"))
    random = np.random.default_rng(0)
    noisy = np.clip(0.5 + 0.02 * np.where(targets, -1, 1) + random.normal(0, 0.1, 200), 0.01, 0.99)
    clear = np.clip(0.5 + 0.4 * np.where(targets, -1, 1), 0.01, 0.99)
    decided = np.zeros(200, dtype=np.int64)
    sides = [
        {
            "task": Labelled(
                tuple(map(str, range(200))),
                ClassSample(("a", "b"), np.stack([one, 1 - one], 1), targets, decided, targets < 0),
            )
        }
        for one in (noisy, clear)
    ]
    ranked = comparison.compare(*sides, 0)["task"]
    assert ranked.mcnemar == 1
    assert ranked.beyond_chance("auroc_macro")
    assert not ranked.beyond_chance("accuracy")
