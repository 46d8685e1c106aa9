"""The page shows every trial, asks for nothing from anywhere, and shows text as text whatever it holds."""

import made_up_sweep as made
import pytest

from reading import Reader
from thaw.tuning.report.page import page, sentence
from thaw.tuning.trial import Trial

TRIALS = made.sweep()


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader(page(made.SUMMARY, TRIALS))


def test_every_tag_closes(read: Reader) -> None:
    assert read.open == []


def test_every_trial_has_a_row_the_best_first(read: Reader) -> None:
    heading = next(place for place, row in enumerate(read.rows) if row[0] == "trial")
    rows = read.rows[heading + 1 :]
    assert {row[0].split()[0] for row in rows} == {str(trial.number) for trial in TRIALS}
    assert len(rows) == len(TRIALS)
    assert rows[0][0] == "14"
    assert all(len(row) == len(read.rows[heading]) for row in rows)


def test_nothing_is_asked_for_from_elsewhere() -> None:
    text = page(made.SUMMARY, TRIALS)
    assert all(asked.startswith("#") for asked in Reader(text).asked)
    outside = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for word in ("http:", "https:", "@import", "url(/", "src=", "<link"):
        assert word not in outside
    assert "default-src 'none'" in text


def test_the_experiment_as_written_shows_the_values_that_it_has(read: Reader) -> None:
    row = next(row for row in read.rows if row[0] == "0 (as written)")
    assert row[-5:] == ["2", "0.001", "0.0001", "adamw", "null"]


def test_the_best_configuration_can_be_copied(read: Reader) -> None:
    assert "'finetune.phases[1].depth=4' \\\n" in read.text


def test_failures_are_named_with_all_that_is_known(read: Reader) -> None:
    assert 'Trial 5, after 2 epochs: ModelError: loss is <nan> & "lost"' in read.text
    assert 'File "step.py", line 12' in read.text
    assert "Trial 17, before its first epoch: CUDA out of memory" in read.text


def test_scores_on_the_test_images_and_paths_are_told(read: Reader) -> None:
    assert ["defect", "f1_macro", "0.9127"] in read.rows
    assert "sweeps/steel-20261125-1f3a/best.yaml" in read.text


def test_text_of_users_is_never_markup() -> None:
    evil = '"><script>alert(1)</script><img src=x>\\1'
    summary = made.SUMMARY.model_copy(
        update={
            "experiment": evil,
            "sweep": evil,
            "metric": evil,
            "search": evil,
            "scheduler": evil,
            "paths": {evil: evil},
            "ranges": {**made.RANGES, evil: made.RANGES[made.CLIP]},
            "tested": {evil: {evil: 1.0}},
        }
    )
    trials = [trial.model_copy(update={"error": evil, "values": {**trial.values, evil: evil}}) for trial in TRIALS]
    read = Reader(page(summary, trials))
    assert read.tags.count("script") == 1
    assert "img" not in read.tags
    assert evil in read.text


def test_the_sentence_tells_the_gain_over_the_experiment_as_it_was_written() -> None:
    assert sentence(made.SUMMARY, TRIALS) == (
        "24 trials in 1 h 12 min: the best, trial 14, came to val/defect/accuracy 0.8865, 0.0216 above the experiment "
        "as it was written (0.8648)."
    )


def test_the_sentence_says_so_where_nothing_was_gained() -> None:
    assert sentence(made.SUMMARY, TRIALS[:1]) == (
        "1 trial in 1 h 12 min: none was better than the experiment as it was written, val/defect/accuracy 0.8648."
    )
    assert "there is nothing to change" in page(made.SUMMARY, TRIALS[:1])


@pytest.mark.parametrize("trials", [[], [Trial(number=0, values={}, stage="running")]])
def test_a_sweep_that_has_come_to_nothing_yet_has_a_page(trials: list[Trial]) -> None:
    read = Reader(page(made.SUMMARY, trials))
    assert "none of which has come to a score yet" in read.text
    assert "too few trials to tell" in read.text
