"""The tables of a sweep have a row a trial and say exactly what was drawn and reached."""

import csv
import io
import json

import made_up_sweep as made
import pyarrow as pa
import pyarrow.parquet as pq

from thaw.tuning.report import table
from thaw.tuning.trial import Trial

PLACES = list(made.RANGES)


def _rows(trials: list[Trial]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.as_csv(trials, PLACES))))


def _parquet(trials: list[Trial], places: list[str]) -> pa.Table:
    return pq.read_table(pa.BufferReader(table.as_parquet(trials, places)))


def _drawn(*values: object) -> list[Trial]:
    return [Trial(number=number, values={"a.b": value}, stage="running") for number, value in enumerate(values)]


def test_the_csv_has_a_row_a_trial_in_the_order_given() -> None:
    rows = _rows(made.sweep())
    assert [row["number"] for row in rows] == [str(number) for number in range(24)]
    assert list(rows[0]) == [
        *("number", "stage", "score", "epoch", "epochs", "images", "seconds", "error"),
        *PLACES,
        *("defect/accuracy", "defect/f1_macro"),
    ]


def test_the_score_the_epoch_and_the_metrics_are_those_of_the_best_report() -> None:
    trial = made.sweep()[14]
    row = _rows([trial])[0]
    assert trial.best is not None
    assert float(row["score"]) == trial.best.score == max(report.score for report in trial.reports)
    assert int(row["epoch"]) == trial.best.epoch != int(row["epochs"])
    assert float(row["defect/f1_macro"]) == trial.best.metrics["defect"]["f1_macro"]


def test_what_is_not_set_is_empty_and_null_is_a_value() -> None:
    rows = _rows(made.sweep())
    trials = made.sweep()
    without = next(trial.number for trial in trials if trial.number and made.BACKBONE not in trial.values)
    null = next(trial.number for trial in trials if trial.number and trial.values[made.CLIP] is None)
    assert rows[without][made.BACKBONE] == ""
    assert rows[null][made.CLIP] == "null"


def test_a_trial_that_failed_before_any_epoch_has_its_error_and_no_score() -> None:
    row = _rows(made.sweep())[17]
    assert (row["score"], row["epochs"], row["error"]) == ("", "0", "CUDA out of memory")


def test_the_parquet_says_what_the_csv_says_with_types() -> None:
    found = _parquet(made.sweep(), PLACES)
    assert found.schema.field(made.DEPTH).type == pa.int64()
    assert found.schema.field(made.HEAD).type == pa.float64()
    assert found.column("number").to_pylist() == list(range(24))
    assert found.column(made.HEAD).to_pylist() == [trial.values.get(made.HEAD) for trial in made.sweep()]


def test_values_of_several_types_become_text_that_json_reads_back() -> None:
    found = _parquet(_drawn(None, 1.5, True, [1, 2], "word"), ["a.b"]).column("a.b").to_pylist()
    assert found[-1] == "word"
    assert [json.loads(text) for text in found[:-1]] == [None, 1.5, True, [1, 2]]


def test_whole_and_broken_numbers_are_numbers() -> None:
    assert _parquet(_drawn(1, 0.5), ["a.b"]).column("a.b").to_pylist() == [1.0, 0.5]


def test_a_sweep_without_trials_has_tables_without_rows() -> None:
    assert _rows([]) == []
    assert _parquet([], PLACES).num_rows == 0


def test_the_lines_are_the_best_trials_under_a_heading_all_as_wide() -> None:
    heading, *lines = table.lines(made.sweep(), PLACES, most=5)
    scores = [float(line.split()[1]) for line in lines]
    assert heading.split()[:3] == ["trial", "score", "stage"]
    assert "rates.backbone" in heading.split()
    assert scores == sorted(scores, reverse=True)
    assert len(lines) == 5
    assert len({len(line) for line in [heading, *lines]}) == 1


def test_trials_without_a_score_come_last() -> None:
    assert table.ranked(made.sweep())[-1].number == 17
