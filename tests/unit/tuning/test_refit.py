"""What is trained anew on all images repeats the best trial up to its best epoch, and asks nothing of validation."""

from typing import Any

import pytest

from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data.dataset import Dataset, Report, Shard
from thaw.errors import ConfigError
from thaw.tuning import refit
from thaw.tuning import trial as trials
from thaw.tuning.trial import Trial
from tiny import EXPERIMENT, changed

PHASES = [{"epochs": 4}, {"epochs": 5, "depth": 2, "open_every": 2}, {"epochs": 2, "depth": "all"}]
STOPPING = {"patience": 3, "min_delta": 0.01, "monitor": "layout.f1_macro"}


@pytest.fixture
def experiment() -> Experiment:
    return load.parse({**EXPERIMENT, "finetune": {"phases": PHASES, "early_stopping": STOPPING}}, "test")


def trial(*epochs: int, best: int) -> Trial:
    """Return a trial that ran these epochs, of which one was the best."""
    told: dict[str, Any] = {"images": 8, "depth": 0, "metrics": {}, "at_s": 1.0}
    reports = tuple(trials.Report(epoch=epoch, score=float(epoch == best), **told) for epoch in epochs)
    return Trial(number=3, values={}, stage="stopped", reports=reports)


@pytest.mark.parametrize(
    ("ran", "best", "stops"),
    [
        (range(1, 12), 11, [None, None, None]),
        (range(1, 12), 10, [None, None, 1]),
        (range(1, 12), 9, [None, None]),
        (range(1, 12), 6, [None, 2]),
        (range(1, 12), 1, [1]),
        ((1, 2, 3, 5, 6, 7, 10, 11), 11, [3, 3, None]),  # early stopping ended the first two phases
        ((1, 2, 3, 5, 6, 7, 10, 11), 7, [3, 3]),
        ((1, 2, 3, 5, 6, 7, 10, 11), 3, [3]),
    ],
)
def test_every_phase_stops_where_the_trial_left_it_on_its_way_to_its_best_epoch(
    experiment: Experiment, ran: Any, best: int, stops: list[int | None]
) -> None:
    anew = refit.experiment_of(experiment, trial(*ran, best=best), "train+val")
    assert [phase.stop_after for phase in anew.finetune.phases] == stops
    for phase, before in zip(anew.finetune.phases, experiment.finetune.phases, strict=False):
        assert phase.model_copy(update={"stop_after": None}) == before


def test_a_phase_that_is_to_stop_anyway_keeps_doing_so(experiment: Experiment) -> None:
    short = changed(experiment, finetune__phases=[{"epochs": 4, "stop_after": 2}, {"epochs": 2}])
    anew = refit.experiment_of(short, trial(1, 2, 5, best=5), "train+val")
    assert [phase.stop_after for phase in anew.finetune.phases] == [2, 1]


def test_the_first_of_equally_good_epochs_counts(experiment: Experiment) -> None:
    flat = trial(1, 2, 3, best=0)
    assert [phase.stop_after for phase in refit.experiment_of(experiment, flat, "train+val").finetune.phases] == [1]


def test_nothing_is_asked_of_validation_and_all_else_stays(experiment: Experiment) -> None:
    anew = refit.experiment_of(experiment, trial(1, 2, best=2), "train+val")
    assert not anew.train.validates
    stopping = anew.finetune.early_stopping
    assert (stopping.patience, stopping.monitor) == (None, None)
    rest = {"train": experiment.train, "finetune": experiment.finetune}
    assert anew.model_copy(update=rest) == experiment
    assert anew.train.model_copy(update={"learn_from": "train"}) == experiment.train


def test_on_the_training_images_alone_the_plan_goes_to_its_end(experiment: Experiment) -> None:
    assert refit.experiment_of(experiment, trial(1, 2, best=1), "train") == experiment


def test_what_came_of_it_is_said_not_to_be_validated() -> None:
    report = Report(listed=9, rejected={}, classes={}, labelled={}, warnings=())
    splits = {split: (Shard(file=split, rows=rows),) for split, rows in (("train", 40), ("val", 14))}
    prepared = Dataset(name="tiny", fingerprint="f" * 12, labels={}, splits=splits, report=report)
    assert refit.told(trial(1, 2, 5, 6, best=5), "train+val", prepared) == (
        "trained anew as trial 3, for 3 epochs, as many as took it to its best score, on the 40 training and the 14 "
        "validation images; no image was left to validate on, so that nothing but its test figures says how good it is"
    )
    assert "to the end of its plan, on the training images" in refit.told(trial(1, best=1), "train", prepared)


def test_a_search_whose_models_could_not_be_measured_is_refused(experiment: Experiment) -> None:
    refit.check(experiment, "train+val")
    on_val = changed(experiment, evaluate__split="val")
    refit.check(on_val, "train")
    with pytest.raises(ConfigError, match="evaluate.split: val: --refit-on train.val learns from these"):
        refit.check(on_val, "train+val")
    folded = refit.experiment_of(experiment, trial(1, best=1), "train+val")
    with pytest.raises(ConfigError, match="train.learn_from: trials are compared on validation images"):
        refit.check(folded, None)
