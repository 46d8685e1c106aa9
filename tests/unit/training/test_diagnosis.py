"""A diagnosis says what curves are like, through their noise and over borders of phases; faults are planted in them."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import planted
import pytest

from thaw.config.experiment import Experiment, Phase
from thaw.training.diagnosis import Diagnosis, Subject, diagnose, news
from thaw.training.loop import Epoch

SUBJECTS = {"kind": Subject("accuracy", 200, 256, chance=0.25)}
UNTRAINED = 1.4
SEEDS = range(12)

Curve = Callable[[float], float]
"""A value by the share of the run that is over."""


def _history(
    train: Curve,
    val: Curve,
    fit: Curve,
    new: Curve,
    seed: int = 0,
    epochs: int = 10,
    borders: Sequence[int] = (),
    **more: Any,
) -> list[Epoch]:
    """Return noisy curves: losses by 2 %, metrics by what 200 images allow between one epoch and the next."""
    random, found = np.random.default_rng(seed), []
    for number in range(1, epochs + 1):
        done = number / epochs
        losses = [max(1e-4, curve(done) * random.normal(1, 0.02)) for curve in (train, train, val)]
        shares = [float(np.clip(curve(done) + random.normal(0, 0.008), 0, 1)) for curve in (fit, new)]
        found.append(
            Epoch(
                epoch=number,
                phase=sum(number > border for border in borders),
                depth=3 if borders and number > borders[0] else more.get("depth", 3),
                step=10 * number,
                train_loss={"kind": losses[0] * 1.2},
                plain_loss={"kind": losses[1]},
                val_loss={"kind": losses[2]},
                first_loss={"kind": UNTRAINED},
                train_metrics={"kind": {"accuracy": shares[0]}},
                metrics={"kind": {"accuracy": shares[1], "auroc_right": more.get("aware", 0.85)}},
                score=shares[1],
                seconds=1,
                images_per_s=1,
                waiting=0,
            )
        )
    return found


def _falling(least: float, speed: float = 6) -> Curve:
    return lambda done: least + (UNTRAINED - least) * float(np.exp(-speed * done))


def _rising(most: float, speed: float = 6) -> Curve:
    return lambda done: most - (most - 0.25) * float(np.exp(-speed * done))


def healthy(seed: int, **more: Any) -> list[Epoch]:
    return _history(_falling(0.1, 3), _falling(0.15, 3), _rising(0.97, 3), _rising(0.93, 3), seed, **more)


def done_learning(seed: int, **more: Any) -> list[Epoch]:
    return _history(_falling(0.1, 12), _falling(0.2, 12), _rising(0.97, 14), _rising(0.93, 14), seed, **more)


def overfitted(seed: int, **more: Any) -> list[Epoch]:
    """Almost all of the training images are known by heart, and 40 % of new ones are answered rightly."""
    return _history(_falling(0.01), lambda done: 1.3 + 0.8 * done, _rising(0.995, 8), _rising(0.4, 8), seed, **more)


def rising_loss(seed: int, **more: Any) -> list[Epoch]:
    def val(done: float) -> float:
        return _falling(0.4, 10)(done) + max(0, done - 0.5) * 0.8

    return _history(_falling(0.02), val, _rising(0.98, 8), _rising(0.87, 14), seed, **more)


def underfitted(seed: int, **more: Any) -> list[Epoch]:
    flat = lambda done: 1.35 - 0.01 * done  # noqa: E731
    return _history(flat, flat, lambda _: 0.4, lambda _: 0.38, seed, **more)


def diverged(seed: int, **more: Any) -> list[Epoch]:
    wild = lambda done: 4 + 5 * done  # noqa: E731
    return _history(wild, wild, lambda _: 0.25, lambda _: 0.25, seed, **more)


def mislabelled(seed: int, **more: Any) -> list[Epoch]:
    return _history(_falling(1.0, 8), _falling(1.1, 8), _rising(0.64, 10), _rising(0.6, 10), seed, aware=0.53, **more)


def _last(history: Sequence[Epoch]) -> Diagnosis:
    [found] = diagnose(history, SUBJECTS)
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("curves", "kind"),
    [
        (healthy, "learning"),
        (done_learning, "plateau"),
        (overfitted, "overfitting"),
        (rising_loss, "overfitting"),
        (underfitted, "underfitting"),
        (diverged, "diverging"),
        (mislabelled, "label noise suspected"),
    ],
)
def test_each_fault_is_seen_through_the_noise_of_the_curves(curves: Any, kind: str, seed: int) -> None:
    assert _last(curves(seed)).kind == kind


@pytest.mark.parametrize("seed", SEEDS)
def test_what_learns_well_is_never_said_to_be_ill(seed: int) -> None:
    for history in (healthy(seed), done_learning(seed), healthy(seed, borders=(3,)), done_learning(seed, borders=(3,))):
        for epochs in range(1, len(history) + 1):
            assert _last(history[:epochs]).kind in ("learning", "plateau")


def test_overfitting_begins_where_new_images_stop_gaining() -> None:
    # the gap is wide from the start; and a loss that is lowest at half of ten epochs
    assert {_last(overfitted(seed)).since_epoch for seed in SEEDS} <= {1, 2}
    assert {_last(rising_loss(seed)).since_epoch for seed in SEEDS} <= {5, 6, 7}


def test_one_epoch_says_nothing_but_that_the_rate_is_far_too_high() -> None:
    for curves in (overfitted, underfitted, mislabelled, done_learning):
        assert _last(curves(0)[:1]).kind == "learning"
    assert _last(diverged(0)[:1]).kind == "diverging"


def test_a_gap_that_a_few_validation_images_explain_is_no_overfitting() -> None:
    history = _history(_falling(0.3, 12), _falling(0.5, 12), _rising(0.95, 14), _rising(0.7, 14))
    few = {"kind": Subject("accuracy", 12, 40)}
    assert _last(history).kind == "overfitting"
    assert diagnose(history, few)[0].kind == "plateau"


def test_a_jump_at_the_border_of_phases_that_heals_is_no_divergence_and_one_that_stays_is() -> None:
    def jump(heals: bool) -> Curve:
        return lambda done: 0.3 if done <= 0.5 else 0.9 if not heals or done < 0.65 else 0.25

    for heals, kinds in ((True, {"learning", "plateau"}), (False, {"diverging"})):
        history = _history(jump(heals), jump(heals), lambda _: 0.9, lambda _: 0.88, borders=(5,))
        assert _last(history).kind in kinds
        if not heals:
            assert _last(history).since_epoch == 6


def test_a_change_of_phase_gives_new_time_to_learn() -> None:
    assert _last(underfitted(0, borders=(8,))).kind == "learning"
    assert _last(underfitted(0, borders=(7,))).kind == "underfitting"


def test_noise_of_labels_needs_a_model_that_is_better_than_the_most_frequent_answer() -> None:
    frequent = {"kind": Subject("accuracy", 200, 256, chance=0.58)}
    assert diagnose(mislabelled(0), frequent)[0].kind != "label noise suspected"


def test_without_training_images_to_look_at_a_rising_loss_still_tells() -> None:
    blind = [epoch.model_copy(update={"train_metrics": {}, "plain_loss": {}}) for epoch in rising_loss(0)]
    assert _last(blind).kind == "overfitting"
    blind = [epoch.model_copy(update={"train_metrics": {}, "plain_loss": {}}) for epoch in done_learning(0)]
    assert _last(blind).kind == "plateau"


def test_only_a_change_is_news_and_learning_is_none() -> None:
    history = overfitted(0)
    told = [news(history[:epochs], SUBJECTS) for epochs in range(1, len(history) + 1)]
    assert [len(lines) for lines in told].count(1) == 1
    assert "kind: overfitting since epoch" in "".join(line for lines in told for line in lines)
    assert not any(news(healthy(0)[:epochs], SUBJECTS) for epochs in range(1, 11))


def test_advice_names_settings_that_there_are() -> None:
    for curves in (done_learning, overfitted, underfitted, diverged, mislabelled):
        action = _last(curves(0)).action
        for place in re.findall(r"(?:data|finetune|model|tasks)\.[a-z_.\[\]0-9]*[a-z_\]0-9]", action):
            fields: Any = Experiment.model_fields
            for step in re.sub(r"\[\d+\]", "", place).split("."):
                if step == "tasks":
                    break
                assert step in fields, place
                inner = fields[step].annotation
                inner = Phase if step == "phases" else inner
                fields = getattr(inner, "model_fields", {})


RATES = {"head": 0.02, "backbone": 0.005}


def _planted(own: dict[str, Any], new: dict[str, Any], phases: list[dict[str, Any]]) -> list[Diagnosis]:
    """Train and return the diagnosis after every epoch."""
    history = planted.history(own, new, phases)
    subjects = planted.subjects(len(own["pixels"]), len(new["pixels"]))
    return [diagnose(history[:epochs], subjects)[0] for epochs in range(1, len(history) + 1)]


@pytest.mark.slow
def test_a_real_training_on_labels_drawn_by_lot_overfits() -> None:
    own, new = planted.images(0, 32, flipped=0.75), planted.images(1, 120, flipped=0.75)
    told = _planted(own, new, [{"epochs": 30, "depth": "all", "rates": {"head": 0.03, "backbone": 0.02}}])
    assert told[-1].kind == "overfitting"


@pytest.mark.slow
def test_a_real_training_at_far_too_high_a_rate_diverges_in_the_first_epoch_and_is_told_so() -> None:
    wild = {"epochs": 2, "depth": "all", "rates": {"head": 1, "backbone": 1}}
    told = _planted(planted.images(0, 160), planted.images(1, 60), [wild])
    assert [one.kind for one in told] == ["diverging", "diverging"]
    assert "finetune.phases[0].rates" in told[0].action


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "advice"), [(0, "open more layer groups"), ("all", "raise finetune.phases[0].rates")]
)
def test_a_real_training_at_far_too_low_a_rate_underfits(depth: Any, advice: str) -> None:
    slow = {"epochs": 4, "depth": depth, "rates": {"head": 1e-5, "backbone": 1e-5}}
    told = _planted(planted.images(0, 160), planted.images(1, 60), [slow])
    assert [one.kind for one in told] == ["learning", "learning", "underfitting", "underfitting"]
    assert advice in told[-1].action
    assert told[-1].since_epoch == 1


@pytest.mark.slow
def test_a_real_training_on_labels_a_third_of_which_is_wrong_raises_suspicion() -> None:
    own, new = planted.images(0, 320, flipped=0.35, shade=70), planted.images(1, 200, flipped=0.35, shade=70)
    told = _planted(own, new, [{"epochs": 9, "depth": "all", "rates": RATES}])
    assert told[-1].kind == "label noise suspected"


@pytest.mark.slow
def test_a_real_training_that_is_well_learns_and_then_has_learnt() -> None:
    own, new = planted.images(0, 320, shade=90), planted.images(1, 160, shade=90)
    told = _planted(
        own, new, [{"epochs": 2, "depth": 0, "rates": RATES}, {"epochs": 8, "depth": "all", "rates": RATES}]
    )
    kinds = [one.kind for one in told]
    assert kinds[:3] == ["learning"] * 3
    assert kinds[-1] == "plateau"
    assert set(kinds) == {"learning", "plateau"}
