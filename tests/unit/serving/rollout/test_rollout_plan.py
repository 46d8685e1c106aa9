"""Which version answers which request."""

import pytest

from thaw.serving.rollout.plan import Plan, Tried

KEYS = [f"key-{number}" for number in range(4000)]


def plan(kind="canary", share=0.25, version=4, compared=0.5):
    tried = Tried(id="one", version=version, alias="champion", kind=kind, share=share, started="2026-11-26T08:00:00Z")
    return Plan("boards", 3, tried, compared)


def test_a_canary_answers_its_share_of_the_keys_and_every_key_keeps_its_version():
    chosen = {key: plan().version_for(key) for key in KEYS}
    assert chosen == {key: plan().version_for(key) for key in KEYS}
    assert list(chosen.values()).count(4) / len(KEYS) == pytest.approx(0.25, abs=0.03)


def test_a_larger_share_keeps_the_keys_that_a_smaller_one_had():
    small, large = ({key for key in KEYS if plan(share=share).version_for(key) == 4} for share in (0.1, 0.4))
    assert small < large
    assert {plan(share=1.0).version_for(key) for key in KEYS} == {4}


def test_another_version_is_tried_on_other_keys():
    first, second = ({key for key in KEYS if plan(version=one).version_for(key) == one} for one in (4, 5))
    assert first - second
    assert second - first


def test_a_shadow_answers_nobody_and_is_asked_its_share_of_what_the_champion_answers():
    assert {plan("shadow").version_for(key) for key in KEYS} == {3}
    others = [plan("shadow").other_for(3, key) for key in KEYS]
    assert set(others) == {4, None}
    assert others.count(4) / len(KEYS) == pytest.approx(0.25, abs=0.03)


def test_the_champion_is_asked_a_part_of_what_the_canary_answers_and_of_nothing_else():
    others = [plan().other_for(4, key) for key in KEYS]
    assert others.count(3) / len(KEYS) == pytest.approx(0.5, abs=0.03)
    assert {plan().other_for(3, key) for key in KEYS} == {None}


def test_without_a_trial_the_champion_answers_alone():
    alone = Plan("boards", 3)
    assert (alone.version_for("me"), alone.other_for(3, "one"), alone.versions) == (3, None, (3,))
    assert plan().versions == (3, 4)
