"""Along principal axes the best head is the one that thaw.probe.linear finds."""

import numpy as np
import pytest
import torch

from thaw.probe import axes, linear
from thaw.probe.axes import Axes, Head

RANDOM = np.random.default_rng(0)
MIXED = (RANDOM.normal(size=(150, 8)) @ RANDOM.normal(size=(8, 8)) * np.logspace(-2, 2, 8) + 5).astype(np.float32)
VECTORS = torch.from_numpy(
    np.concatenate([MIXED, np.full((150, 1), 7, np.float32)], axis=1)
)  # the last feature never changes
LABELS = torch.from_numpy((MIXED[:, 0] > np.median(MIXED[:, 0])).astype(np.int64) + (MIXED[:, 7] > 5))


def test_places_are_uncorrelated_and_have_the_spread_that_is_said() -> None:
    turned = Axes.of(VECTORS)
    places = turned.places(VECTORS).double()
    assert torch.allclose(places.T @ places / len(places), torch.diag(turned.spread).double(), atol=1e-3)
    assert turned.spread.sum() == pytest.approx(8, rel=1e-3)  # features of variance 1, and one that tells nothing


def test_a_feature_that_never_changes_moves_nothing() -> None:
    turned, other = Axes.of(VECTORS), VECTORS.clone()
    other[:, -1] = 1e6
    assert torch.equal(turned.places(VECTORS), turned.places(other))


@pytest.mark.parametrize("penalty", linear.PENALTIES)
def test_the_head_is_the_best_one(penalty: float) -> None:
    turned = Axes.of(VECTORS)
    places = turned.places(VECTORS)
    head = axes.fit(Head.blank(turned, 3), turned, places, _loss, penalty)

    exact = linear.new_head(places.shape[1], 3)
    value = lambda: _loss(exact(places.double())) + penalty / 2 * exact.weight.square().sum()  # noqa: E731
    linear.descend(list(exact.parameters()), value, 2000, 1e-9)
    found = float(_loss(head(places)) + penalty / 2 * head.weight.square().sum())
    assert found == pytest.approx(float(value().detach()), abs=2e-4)
    assert (head(places).softmax(1) - exact(places.double()).softmax(1)).abs().max() < 0.03


def test_where_the_way_begins_does_not_decide_where_it_ends() -> None:
    turned = Axes.of(VECTORS)
    places = turned.places(VECTORS)
    blank = axes.fit(Head.blank(turned, 3), turned, places, _loss, 0.01)
    far = Head(torch.ones(3, len(turned.spread)), torch.ones(3))
    other = axes.fit(far, turned, places, _loss, 0.01)
    assert (blank(places).softmax(1) - other(places).softmax(1)).abs().max() < 0.03


def _loss(outputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(outputs, LABELS)
