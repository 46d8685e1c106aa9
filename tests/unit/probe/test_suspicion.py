"""Wrong labels are told from right ones, and the probabilities that are given are those that come true."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from thaw.probe.suspicion import LEAST_IMAGES, LEAST_MEMBERS, Suspicion, pulled, suspect

CLASSES = 4


def _images(count: int = 300, spread: float = 0.35, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors around a centre for each class; the further they spread, the less they tell."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % CLASSES
    return (np.eye(CLASSES, 12)[truth] + spread * random.normal(size=(count, 12))).astype(np.float32), truth


def _planted(truth: NDArray[np.int64], share: float, seed: int = 1) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return labels of which a share is another class, and which these are."""
    random = np.random.default_rng(seed)
    bad = random.permutation(len(truth)) < share * len(truth)
    return np.where(bad, (truth + random.integers(1, CLASSES, len(truth))) % CLASSES, truth), bad


def _groups(count: int) -> NDArray[np.str_]:
    return np.array([str(one) for one in range(count)])


def _suspect(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> Suspicion:
    found = suspect(vectors, labels, _groups(len(labels)), 0)
    assert found is not None
    return found


def test_planted_labels_are_found_and_how_many_they_are() -> None:
    vectors, truth = _images()
    labels, bad = _planted(truth, 0.1)
    found = _suspect(vectors, labels)
    named = found.wrong > 0.5
    assert named[bad].mean() > 0.8
    assert bad[named].mean() > 0.8
    assert found.noise == pytest.approx(0.1, abs=0.03)
    assert (found.likeliest[named & bad] == truth[named & bad]).mean() > 0.9


@pytest.mark.parametrize("spread", [0.2, 0.35, 0.6])
def test_clean_labels_are_not_suspected_however_hard_the_images(spread: float) -> None:
    vectors, truth = _images(spread=spread)
    assert not (_suspect(vectors, truth).wrong > 0.5).any()


def test_one_class_taken_for_another_is_learnt_and_yet_seen_to_be_unlike_its_class() -> None:
    vectors, truth = _images(600, spread=0.2)
    bad = (np.random.default_rng(1).random(600) < 0.15) & (truth == 0)
    labels = np.where(bad, 1, truth)
    found = _suspect(vectors, labels)
    named = found.pull > 0
    assert named[bad].mean() > max(0.5, (found.wrong > 0.5)[bad].mean())
    assert bad[named].mean() > 0.8
    assert (found.pull <= 1).all()
    assert (found.likeliest[named & bad] == 0).all()


def test_only_what_is_as_sure_as_images_of_a_class_usually_are_pulls() -> None:
    outputs = torch.tensor([[3.0, 0, 0], [1.0, 0, 0], [0, 3.0, 0], [2.5, 0, 0], [1.5, 1.4, 0], [0, 0, 5.0]])
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    told = outputs.softmax(dim=1).numpy()
    assert told[3, 0] > told[:2, 0].mean() > told[4, 0]
    pull = pulled(outputs, labels)
    assert pull.nonzero()[0].tolist() == [3]  # nobody carries the third class, so nothing is known to be like it
    assert pull[3] == pytest.approx(told[3, 0] - told[3, 1])


@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_come_true(seed: int) -> None:
    vectors, truth = _images(1200, spread=0.6, seed=seed)
    labels, bad = _planted(truth, 0.15, seed)
    found = _suspect(vectors, labels)
    assert found.agreement < 0.8  # so hard that many cannot be told
    for low, high in ((0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        within = (found.wrong >= low) & (found.wrong < high)
        assert bad[within].mean() == pytest.approx(found.wrong[within].mean(), abs=0.15)


def test_vectors_that_tell_nothing_suspect_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    assert not (_suspect(vectors, np.arange(200) % CLASSES).wrong > 0.5).any()


def test_no_image_is_judged_by_a_head_that_saw_its_copy() -> None:
    truth = np.arange(200) % CLASSES
    vectors = np.random.default_rng(0).normal(size=(200, 300)).astype(np.float32)  # told by heart or not at all
    twice, labels = np.concatenate([vectors, vectors]), np.concatenate([truth, truth])
    apart = suspect(twice, labels, np.concatenate([_groups(200)] * 2), 0)
    mixed = suspect(twice, labels, _groups(400), 0)
    assert apart is not None
    assert mixed is not None
    assert apart.agreement < 0.5 < mixed.agreement


def test_a_class_with_few_members_is_not_judged() -> None:
    vectors, truth = _images()
    truth[: LEAST_MEMBERS - 1] = CLASSES
    found = _suspect(vectors, truth)
    assert (found.judged == (truth != CLASSES)).all()
    assert (found.wrong[~found.judged] == 0).all()
    assert (found.pull[~found.judged] == 0).all()


def test_copies_do_not_make_a_class_large() -> None:
    vectors, truth = _images()
    truth[:20] = CLASSES
    groups = _groups(len(truth))
    groups[:20] = "copy"
    found = suspect(vectors, truth, groups, 0)
    assert found is not None
    assert not found.judged[:20].any()


def test_of_sets_each_class_is_a_label_of_its_own() -> None:
    random = np.random.default_rng(0)
    hidden = random.normal(size=(400, CLASSES))
    vectors = np.concatenate([hidden, random.normal(size=(400, 4))], axis=1).astype(np.float32)
    truth = (hidden > 0.5).astype(np.int64)
    bad = random.random(truth.shape) < 0.05
    found = _suspect(vectors, np.where(bad, 1 - truth, truth))
    named = found.wrong > 0.5
    assert named[bad].mean() > 0.6
    assert bad[named].mean() > 0.8
    assert (found.likeliest[named & bad] == truth[named & bad]).all()
    assert found.noise == pytest.approx(0.05, abs=0.02)
    assert (found.pull > 0)[bad].mean() > 0.6


def test_the_seed_and_the_images_decide() -> None:
    vectors, truth = _images()
    labels, _ = _planted(truth, 0.1)
    assert (_suspect(vectors, labels).wrong == _suspect(vectors, labels).wrong).all()


@pytest.mark.parametrize(
    "labels", [np.arange(LEAST_IMAGES - 1) % CLASSES, np.zeros(200, dtype=np.int64), np.arange(200, dtype=np.int64)]
)
def test_too_little_to_judge_by_says_nothing(labels: NDArray[np.int64]) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(labels), 5)).astype(np.float32)
    assert suspect(vectors, labels, _groups(len(labels)), 0) is None
