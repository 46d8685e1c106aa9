"""The journal writes down what becomes of trials, once each, and gives out what is left to do."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError, StorageError
from thaw.storage import Root, open_root
from thaw.tuning import checkpoints, progress, sweep
from thaw.tuning.journal.on_ray import Draws, Journal, WithJournal
from thaw.tuning.search import Random
from thaw.tuning.study import Study
from thaw.tuning.sweep import Sweep
from thaw.tuning.trial import Trial
from tiny import EXPERIMENT

STUDY = {
    "name": "tiny",
    "dimensions": {"finetune.phases[1].rates.head": {"log": [1e-4, 1e-1]}},
    "search": {"by": "random", "trials": 3},
}


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return load.parse({**EXPERIMENT, "storage": {"root": str(tmp_path)}}, "test")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(str(tmp_path))


@pytest.fixture
def begun(root: Root, experiment: Experiment) -> Sweep:
    prepared: Any = SimpleNamespace(path="datasets/tiny-0")
    return sweep.begin(root, experiment, Study.model_validate(STUDY), prepared)


def draws(journal: Journal, out_of_time: bool = False) -> Draws:
    sampler = Random(Study.model_validate(STUDY), seed=0)
    return Draws(sampler, journal, epochs=lambda _values: 4, is_out_of_time=lambda: out_of_time)


def report(journal: Journal, config: dict[str, Any], epoch: int, score: float = 0.5) -> None:
    told = {"epoch": epoch, "images": 40 * epoch, "depth": 0, "score": score, "metrics": {}, "pid": 7}
    journal.on_trial_result(iteration=0, trials=[], trial=SimpleNamespace(config=config), result=told)


def tell(journal: Journal, config: dict[str, Any], **told: Any) -> None:
    journal.on_trial_result(iteration=0, trials=[], trial=SimpleNamespace(config=config), result=told)


def over(journal: Journal, config: dict[str, Any]) -> None:
    journal.on_trial_complete(iteration=0, trials=[], trial=SimpleNamespace(config=config))


def test_trials_are_drawn_in_order_as_many_as_are_wanted_and_each_is_written_down_before_it_begins(
    root: Root, begun: Sweep
) -> None:
    giving = draws(Journal(root, begun, [], 3))
    configs = [giving.suggest(f"ray{place}") for place in range(4)]
    assert [config["trial"] for config in configs[:3]] == [0, 1, 2]
    assert configs[3] == Draws.FINISHED
    assert configs[0]["values"] == {}
    assert [trial.values for trial in sweep.trials(root, begun)] == [config["values"] for config in configs[:3]]


def test_an_epoch_is_written_down_once_however_often_it_is_told(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("ray0")
    for epoch in (1, 2, 2, 1, 3):
        report(journal, config, epoch, score=epoch / 10)
    [kept] = sweep.trials(root, begun)
    assert [one.epoch for one in kept.reports] == [1, 2, 3]
    assert kept.best.epoch == 3
    assert kept.stage == "running"


@pytest.mark.parametrize(
    ("told", "stage", "error"),
    [
        ({"ended": True}, "finished", None),
        ({}, "stopped", None),
        ({"refused": "finetune: too wild"}, "failed", "finetune: too wild"),
    ],
)
def test_how_a_trial_ended_is_told_from_what_it_said_last(
    root: Root, begun: Sweep, told: dict[str, Any], stage: str, error: str | None
) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("ray0")
    report(journal, config, 1)
    tell(journal, config, **told)
    over(journal, config)
    [kept] = sweep.trials(root, begun)
    assert (kept.stage, kept.error) == (stage, error)


def test_a_trial_that_crashed_is_recorded_with_the_last_line_of_why(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("ray0")
    crashed = SimpleNamespace(config=config, get_error=lambda: RuntimeError("Traceback\n  in x\nValueError: no\n"))
    journal.on_trial_error(iteration=0, trials=[], trial=crashed)
    [kept] = sweep.trials(root, begun)
    assert (kept.stage, kept.error) == ("failed", "ValueError: no")


def test_after_a_restart_unfinished_trials_come_first_with_what_is_known_of_them(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    giving = draws(journal)
    first, second = giving.suggest("a"), giving.suggest("b")
    report(journal, first, 1)
    report(journal, second, 1)
    report(journal, second, 2)
    tell(journal, first, ended=True)
    over(journal, first)
    again = draws(Journal(root, begun, sweep.trials(root, begun), 3))
    config = again.suggest("c")
    assert config == {"trial": 1, "epochs": 4, "values": second["values"], "known": 2}
    assert again.suggest("d")["trial"] == 2
    assert again.suggest("e") == Draws.FINISHED


def test_the_clock_goes_on_where_the_last_report_was(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("a")
    report(journal, config, 1)
    [kept] = sweep.trials(root, begun)
    later = kept.model_copy(update={"reports": tuple(one.model_copy(update={"at_s": 500.0}) for one in kept.reports)})
    assert 500 <= Journal(root, begun, [later], 3).seconds < 510


def test_out_of_time_nothing_begins_any_more(root: Root, begun: Sweep) -> None:
    assert draws(Journal(root, begun, [], 3), out_of_time=True).suggest("a") == Draws.FINISHED
    assert sweep.trials(root, begun) == []


def test_a_sweep_is_continued_with_more_trials_and_another_budget_but_nothing_else(
    begun: Sweep, experiment: Experiment
) -> None:
    more = Study.model_validate({**STUDY, "search": {"by": "random", "trials": 9}, "budget": {"hours": 2}})
    assert sweep.continued(begun, experiment, more) == more
    assert sweep.continued(begun, None, None) == Study.model_validate(STUDY)
    with pytest.raises(ConfigError, match="and search of its space differ; leave --space out"):
        sweep.continued(begun, None, Study.model_validate({**STUDY, "search": {"by": "tpe", "trials": 3}}))
    with pytest.raises(ConfigError, match="and seed differ; leave the experiment out"):
        sweep.continued(begun, experiment.model_copy(update={"seed": 7}), None)


def test_a_process_of_an_earlier_attempt_is_refused_to_go_on(root: Root, begun: Sweep) -> None:
    sweep.check_attempt(root, begun)
    sweep.save(root, begun.model_copy(update={"attempts": 2}))
    with pytest.raises(ConfigError, match="is continued by another driver"):
        sweep.check_attempt(root, begun)


def test_a_sweep_that_there_is_not_is_told_with_those_that_there_are(root: Root, begun: Sweep) -> None:
    for wrong in ("none", "../runs", ""):
        with pytest.raises(StorageError, match=f"no such sweep in .*the newest are: {begun.id}"):
            sweep.load(root, wrong)


def test_lines_say_what_was_drawn_what_came_and_where_the_sweep_stands(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    giving = draws(journal)
    first, second = giving.suggest("a"), giving.suggest("b")
    assert progress.begins(journal.trials[0]) == "trial 0 begins: as written"
    drawn = second["values"]["finetune.phases[1].rates.head"]
    assert progress.begins(journal.trials[1]) == f"trial 1 begins: phases[1].rates.head={drawn:.3g}"
    report(journal, first, 1, score=0.25)
    done = Trial.model_validate({**journal.trials[0].model_dump(), "stage": "finished"})
    told = progress.ends(done, {**journal.trials, 0: done}, 3, 90)
    assert told == (
        "trial 0 finished after 1 epoch, score 0.2500 in epoch 1; best 0.2500 by trial 0; 1 of 3 done, 1.5 min"
    )


@pytest.fixture
def refused(root: Root, begun: Sweep, tmp_path: Path) -> Journal:
    """The journal of a sweep whose first trial, of one report, can no longer be written down."""
    journal = Journal(root, begun, [], 3, pauses_s=(0.001, 0.001))
    config = draws(journal).suggest("ray0")
    report(journal, config, 1)
    root.write_bytes(f"{checkpoints.path_of(sweep.place_of(begun, 0), 1)}/state.json", b"{}")
    root.write_bytes(f"{checkpoints.path_of(sweep.place_of(begun, 0), 1)}/optimizer.pt", b"moments")
    known = tmp_path / sweep.place_of(begun, 0) / "trial.json"
    known.rename(known.with_name("kept.json"))
    (known / "in the way").mkdir(parents=True)
    report(journal, config, 2)
    return journal


def test_a_journal_that_cannot_be_written_ends_the_sweep_and_says_what_to_do(begun: Sweep, refused: Journal) -> None:
    with pytest.raises(StorageError) as caught:
        refused.check()
    assert "trial.json: cannot write" in str(caught.value)
    assert f"run `thaw tune --resume {begun.id}`" in str(caught.value)
    assert WithJournal(refused).stop_all()
    assert draws(refused).suggest("ray1") == Draws.FINISHED


def test_after_a_refusal_nothing_changes_of_what_trials_go_on_from(
    root: Root, begun: Sweep, refused: Journal, tmp_path: Path
) -> None:
    known = tmp_path / sweep.place_of(begun, 0) / "trial.json"
    (known / "in the way").rmdir()
    known.rmdir()
    known.with_name("kept.json").rename(known)
    over(refused, {"trial": 0})
    [kept] = sweep.trials(root, begun)
    assert (kept.stage, [one.epoch for one in kept.reports]) == ("running", [1])
    assert root.read_bytes(f"{checkpoints.path_of(sweep.place_of(begun, 0), 1)}/optimizer.pt") == b"moments"


def test_a_store_that_refuses_for_a_while_only_delays_the_sweep(root: Root, begun: Sweep, tmp_path: Path) -> None:
    journal = Journal(root, begun, [], 3, pauses_s=(0.5, 5.0))
    obstacle = tmp_path / sweep.place_of(begun, 0)
    obstacle.parent.mkdir()
    obstacle.write_text("in the way")
    with_time = threading.Timer(0.1, obstacle.unlink)
    with_time.start()
    assert draws(journal).suggest("ray0")["trial"] == 0
    with_time.join()
    journal.check()
    assert not WithJournal(journal).stop_all()
    assert [trial.number for trial in sweep.trials(root, begun)] == [0]


def test_a_trial_that_the_store_crashed_is_no_failure_of_its_own(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("ray0")
    crashed = SimpleNamespace(config=config, get_error=lambda: StorageError("/store/x: cannot upload: disk full"))
    journal.on_trial_error(iteration=0, trials=[], trial=crashed)
    [kept] = sweep.trials(root, begun)
    assert (kept.stage, kept.error) == ("running", None)
    with pytest.raises(StorageError, match="disk full"):
        journal.check()


def test_another_attempt_keeps_what_the_best_trial_is_to_be_trained_on_unless_told_otherwise(
    root: Root, begun: Sweep
) -> None:
    done = begun.model_copy(update={"refit": "train", "run_id": "tiny-1", "trial": 2})
    study = Study.model_validate(STUDY)
    for asked in (None, "train"):
        again = sweep.again(root, done, study, asked)
        assert (again.refit, again.run_id, again.trial, again.attempts) == ("train", "tiny-1", 2, 2)
    other = sweep.again(root, done, study, "train+val")
    assert (other.refit, other.run_id, other.trial) == ("train+val", None, None)
    assert sweep.load(root, begun.id) == other


def test_with_fewer_trials_than_there_are_no_more_are_drawn(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    first = draws(journal)
    for place in range(3):
        over(journal, first.suggest(f"ray{place}"))
    assert draws(Journal(root, begun, sweep.trials(root, begun), 2)).suggest("ray3") == Draws.FINISHED


def test_a_driver_whose_sweep_another_one_goes_on_with_writes_nothing_more(root: Root, begun: Sweep) -> None:
    journal = Journal(root, begun, [], 3)
    config = draws(journal).suggest("ray0")
    report(journal, config, 1, score=0.9)
    sweep.again(root, begun, Study.model_validate(STUDY), None)
    tell(journal, config, refused="another driver")
    over(journal, config)
    [kept] = sweep.trials(root, begun)
    assert (kept.stage, kept.best.score) == ("running", 0.9)
    with pytest.raises(ConfigError, match="is continued by another driver"):
        journal.check()


def test_a_sweep_of_long_names_is_found_again(root: Root, experiment: Experiment) -> None:
    prepared: Any = SimpleNamespace(path="datasets/tiny-0")
    study = Study.model_validate({**STUDY, "name": "a-space-of-twenty-or-more"})
    long = sweep.begin(root, experiment.model_copy(update={"name": "x" * 63}), study, prepared)
    assert len(long.id) > 80
    assert sweep.load(root, long.id) == long


def test_a_sweep_begins_under_a_name_known_beforehand(root: Root, experiment: Experiment) -> None:
    prepared: Any = SimpleNamespace(path="datasets/tiny-0")
    assert not sweep.exists(root, "nightly")
    begun = sweep.begin(root, experiment, Study.model_validate(STUDY), prepared, sweep_id="nightly")
    assert begun.id == "nightly"
    assert sweep.exists(root, "nightly")
    with pytest.raises(ConfigError, match="not an id"):
        sweep.exists(root, "../nightly")
