"""A phase ends when it has stopped getting better, and only then."""

from dataclasses import dataclass

import pytest
from tiny_run import ALL_LABELS, LABELS, dense_experiment, experiment

from thaw import bundle
from thaw.config.experiment import EarlyStopping
from thaw.errors import ConfigError
from thaw.training.early_stopping import check, is_due, score


@dataclass(frozen=True)
class _Epoch:
    score: float
    phase: int = 0


def _due(scores: list[float], patience: int | None, min_delta: float = 0.0) -> bool:
    return is_due([_Epoch(score) for score in scores], EarlyStopping(patience=patience, min_delta=min_delta))


@pytest.mark.parametrize(
    ("scores", "patience", "due"),
    [
        ([0.5], 1, False),
        ([0.5, 0.6], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.45], 2, True),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.6, 0.5], 2, False),
        ([0.5, 0.4, 0.6, 0.6, 0.6], 2, True),
        ([0.0, 0.0], 1, True),
        ([], 1, False),
    ],
)
def test_it_is_due_after_patience_epochs_without_a_better_score(scores: list[float], patience: int, due: bool) -> None:
    assert _due(scores, patience) is due


def test_better_means_by_more_than_the_least_difference() -> None:
    assert _due([0.5, 0.625], 1, min_delta=0.125)
    assert not _due([0.5, 0.63], 1, min_delta=0.125)
    assert _due([0.5, 0.51, 0.52, 0.53], 3, min_delta=0.125)
    assert not _due([0.5, 0.55, 0.60, 0.65], 3, min_delta=0.125)


def test_without_patience_no_phase_ends_early() -> None:
    assert not _due([0.5] * 50, None)


def test_every_phase_counts_from_its_own_beginning() -> None:
    options = EarlyStopping(patience=2)
    before = [_Epoch(0.9), _Epoch(0.8), _Epoch(0.8)]
    assert is_due(before, options)
    assert not is_due([*before, _Epoch(0.1, phase=1)], options)
    assert not is_due([*before, _Epoch(0.1, 1), _Epoch(0.1, 1)], options)
    assert is_due([*before, _Epoch(0.1, 1), _Epoch(0.1, 1), _Epoch(0.05, 1)], options)


TASKS = bundle.build_tasks(experiment().tasks, LABELS)
VAL_LOSS = {"colour": 0.5, "tags": 0.25}
METRICS = {"colour": {"accuracy": 0.75, "auroc_macro": 0.875}, "tags": {"exact_match": 0.1, "f1_macro": 0.25}}


@pytest.mark.parametrize(
    ("monitor", "wanted"),
    [
        (None, 0.5),
        ("colour", 0.75),
        ("tags", 0.25),
        ("colour.auroc_macro", 0.875),
        ("tags.exact_match", 0.1),
        ("colour.loss", -0.5),
    ],
)
def test_the_score_is_what_is_monitored_and_a_lower_loss_is_better(monitor: str | None, wanted: float) -> None:
    assert score(TASKS, EarlyStopping(monitor=monitor), VAL_LOSS, METRICS) == pytest.approx(wanted)


def test_what_should_be_low_counts_below_zero() -> None:
    tasks = bundle.build_tasks(dense_experiment().tasks, ALL_LABELS)
    found = score(tasks, EarlyStopping(monitor="one.false_per_image"), {}, {"one": {"false_per_image": 2.0}})
    assert found == -2.0


def test_without_a_monitor_tasks_without_validation_labels_do_not_count() -> None:
    assert score(TASKS, EarlyStopping(), {}, {"colour": {"accuracy": 0.75}, "tags": {}}) == 0.75
    assert score(TASKS, EarlyStopping(), {}, {}) == 0.0


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("colour.acuracy", "task colour has no metric 'acuracy'; it has accuracy, .*loss; did you mean 'accuracy'"),
        ("tags", "no validation image carries a label for tags"),
    ],
)
def test_what_no_epoch_could_have_is_refused_before_training(monitor: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(TASKS, EarlyStopping(monitor=monitor), {"colour": 3, "tags": 0})


@pytest.mark.parametrize("monitor", [None, "colour", "colour.loss", "colour.auroc_macro"])
def test_what_can_be_monitored_is_let_pass(monitor: str | None) -> None:
    check(TASKS, EarlyStopping(monitor=monitor), {"colour": 3, "tags": 0})


def test_a_figure_of_one_class_can_be_monitored() -> None:
    tasks = bundle.build_tasks(dense_experiment().tasks, ALL_LABELS)
    check(tasks, EarlyStopping(monitor="one.ap50_bolt"), {"one": 3})
    check(tasks, EarlyStopping(monitor="paint.iou_board"), {"paint": 3})
    with pytest.raises(ConfigError, match="task one has no metric 'ap50_rivet'"):
        check(tasks, EarlyStopping(monitor="one.ap50_rivet"), {"one": 3})


def test_a_metric_that_validation_does_not_give_is_refused_naming_those_it_gives() -> None:
    with pytest.raises(ConfigError, match="no precision_macro of task colour; they give accuracy, auroc_macro, loss"):
        score(TASKS, EarlyStopping(monitor="colour.precision_macro"), VAL_LOSS, METRICS)


def test_a_task_that_is_not_there_is_refused_with_the_experiment() -> None:
    with pytest.raises(ConfigError, match="no task 'color'; known: colour, tags; did you mean 'colour'"):
        experiment(early_stopping={"monitor": "color.loss"})


def test_a_loss_that_is_no_number_is_refused_before_it_is_written_down() -> None:
    with pytest.raises(ConfigError, match="loss of task colour is not a finite number on the validation images"):
        score(TASKS, EarlyStopping(monitor="colour.loss"), {**VAL_LOSS, "colour": float("nan")}, METRICS)
