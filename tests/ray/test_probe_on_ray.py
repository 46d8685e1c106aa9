"""Probing on Ray: what is wrong with one backbone ends no other; what was found out once is not computed again."""

import pytest

from thaw.config.experiment import Weights
from thaw.probe import on_ray as probing
from thaw.probe.candidates import Candidate
from thaw.probe.on_ray import Request
from thaw.probe.ranking import Ranking
from thaw.storage import open_root
from tiny import changed

RANDOM = Weights(source="none")
CANDIDATES = [
    Candidate("test_resnet", Weights(source="path", path="/nowhere/weights.pth")),
    Candidate("test_efficentnet", RANDOM),
    Candidate("test_resnet", Weights(source="package")),
    Candidate("test_efficientnet", RANDOM),
]


@pytest.fixture(scope="module")
def ranking(experiment, prepared):
    return probing.rank(experiment, Request(CANDIDATES), prepared)


def probes(experiment, prepared):
    root = open_root(experiment.storage.root)
    folder = f"probes/{prepared.name}-{prepared.fingerprint}"
    return root, {name: f"{folder}/{name}" for name in root.list(folder)}


def told(found: Ranking):
    return {(row.backbone, row.weights): row.left_out for row in found.rows}


def test_backbones_that_cannot_be_had_are_listed_with_the_reason_after_the_others(ranking):
    reasons = told(ranking)
    assert ranking.rows[0].backbone == "test_efficientnet"
    assert reasons["test_efficientnet", "none"] is None
    assert "did you mean 'test_efficientnet'" in reasons["test_efficentnet", "none"]
    assert "is not a file that this node can read" in reasons["test_resnet", "path"]
    assert "no package carries weights of test_resnet" in reasons["test_resnet", "package"]
    assert len(ranking.rows) == len(CANDIDATES)


def test_a_ranked_row_is_complete(ranking, prepared):
    row = ranking.rows[0]
    assert row.parameters
    assert row.macs
    assert set(row.latency_ms) == {1, 32}
    assert row.probe.images == {"train": prepared.rows("train"), "val": prepared.rows("val")}
    assert set(row.probe.metrics) == set(row.probe.penalties) == {"verdict", "layout"}
    assert not row.probed_before


def test_what_was_asked_before_is_read_and_not_computed(experiment, prepared, ranking):
    root, kept = probes(experiment, prepared)
    [name] = [one for one in kept if one.startswith("test_efficientnet-")]
    stored = root.read_json(kept[name])
    marked = {**stored["probe"], "embed_s": 12345.0}
    root.write_json(kept[name], {**stored, "probe": marked})
    try:
        again = probing.rank(experiment, Request(CANDIDATES[-1:]), prepared)
    finally:
        root.write_json(kept[name], stored)
    [row] = again.rows
    assert row.probed_before
    assert row.probe.embed_s == 12345.0
    [first] = [one for one in ranking.rows if one.backbone == row.backbone]
    assert row.latency_ms == first.latency_ms or first.disturbed  # then it was measured again


@pytest.mark.parametrize(
    "asked",
    [
        {"data__image__size": 96},
        {"data__image__fit": "stretch"},
        {"tasks__verdict__label_smoothing": 0.1},
        {"seed": 1},  # of random weights
    ],
)
def test_another_question_has_another_answer(experiment, prepared, ranking, asked):
    _, before = probes(experiment, prepared)
    [row] = probing.rank(changed(experiment, **asked), Request(CANDIDATES[-1:]), prepared).rows
    assert not row.probed_before
    assert len(probes(experiment, prepared)[1]) == len(before) + 1


def test_the_same_images_give_the_same_figures_when_computed_afresh(experiment, prepared, ranking):
    [row] = probing.rank(experiment, Request(CANDIDATES[-1:], fresh=True), prepared).rows
    [first] = [one for one in ranking.rows if one.backbone == row.backbone]
    assert not row.probed_before
    assert row.probe.metrics == first.probe.metrics
    assert row.sha256 == first.sha256


def test_fewer_images_are_a_question_of_their_own(experiment, prepared, ranking):
    [row] = probing.rank(experiment, Request(CANDIDATES[-1:], max_images=10), prepared).rows
    assert row.probe.images == {"train": 10, "val": 10}
    assert not row.probed_before


def test_what_is_too_large_is_not_timed_and_what_is_too_slow_is_not_probed(experiment, prepared, ranking):
    size = {row.backbone: row.parameters for row in ranking.rows}["test_efficientnet"]
    [large] = probing.rank(experiment, Request(CANDIDATES[-1:], max_parameters=size - 1), prepared).rows
    assert large.left_out == f"{size:,} weights are more than --max-params {size - 1:,}"
    assert not large.latency_ms
    [slow] = probing.rank(experiment, Request(CANDIDATES[-1:], max_latency_ms=1e-6, fresh=True), prepared).rows
    assert "for one image are more than --max-latency-ms 1e-06" in slow.left_out
    assert set(slow.latency_ms) == {1}
    assert slow.probe is None
    [right] = probing.rank(experiment, Request(CANDIDATES[-1:], max_parameters=size), prepared).rows
    assert right.left_out is None
