"""A sweep's report is published whole, and TensorBoard reads its trials back."""

from pathlib import Path

import made_up_sweep as made
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from thaw.storage import open_root
from thaw.tuning.report import hparams, publish
from thaw.tuning.trial import Trial

TRIALS = made.sweep()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorboard")
    hparams.write(folder, TRIALS, list(made.RANGES))
    return folder


def _events(folder: Path, number: int) -> EventAccumulator:
    return EventAccumulator(str(folder / f"trial-{number:03d}")).Reload()


def test_every_trial_has_a_folder_of_its_own(folder: Path) -> None:
    assert sorted(one.name for one in folder.iterdir()) == [f"trial-{number:03d}" for number in range(24)]


def test_the_scores_are_drawn_over_images_and_the_best_stands_alone(folder: Path) -> None:
    trial, events = TRIALS[14], _events(folder, 14)
    assert [one.step for one in events.Scalars("score")] == [report.images for report in trial.reports]
    assert [one.value for one in events.Scalars("score")] == pytest.approx([one.score for one in trial.reports])
    assert trial.best is not None
    for name in ("best/score", "best/defect/accuracy"):
        assert [(one.step, one.value) for one in events.Scalars(name)] == [
            (trial.best.images, pytest.approx(trial.best.score))
        ]


def test_a_trials_values_are_its_hparams_and_what_is_not_set_is_left_out(folder: Path) -> None:
    number = next(one.number for one in TRIALS if one.number and made.BACKBONE not in one.values)
    content = _events(folder, number).summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    assert set(found) == set(TRIALS[number].values)
    assert found[made.DEPTH].number_value == 0
    assert found[made.OPTIMIZER].string_value == TRIALS[number].values[made.OPTIMIZER]


def test_any_trial_names_all_dimensions_and_metrics(folder: Path) -> None:
    for number in (0, 17):
        content = _events(folder, number).summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
        found = metadata.parse_experiment_plugin_data(content)
        assert [one.name for one in found.hparam_infos] == list(made.RANGES)
        assert [one.name.tag for one in found.metric_infos] == [
            "best/score",
            "best/defect/accuracy",
            "best/defect/f1_macro",
        ]


def test_a_failed_trial_is_shown_as_failed(folder: Path) -> None:
    for number, status in ((5, api_pb2.STATUS_FAILURE), (14, api_pb2.STATUS_SUCCESS)):
        content = _events(folder, number).summary_metadata[metadata.SESSION_END_INFO_TAG].plugin_data.content
        assert metadata.parse_session_end_info_plugin_data(content).status == status


def test_all_parts_are_published_and_again_in_place_of_earlier_ones(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    publish(root, "sweeps/one", made.SUMMARY, TRIALS[:6])
    assert root.list("sweeps/one") == ["report.html", "tensorboard", "trials.csv", "trials.parquet"]
    publish(root, "sweeps/one", made.SUMMARY, TRIALS[:2])
    assert root.list("sweeps/one/tensorboard") == ["trial-000", "trial-001"]
    assert root.read_bytes("sweeps/one/trials.csv").count(b"\n") == 3


def test_the_experiment_as_written_stands_beside_the_others_with_the_values_that_it_has(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    publish(root, "sweeps/one", made.SUMMARY, TRIALS[:1])
    table = pq.read_table(pa.BufferReader(root.read_bytes("sweeps/one/trials.parquet")))
    assert table.column(made.HEAD).to_pylist() == [made.WRITTEN[made.HEAD]]
    content = _events(tmp_path / "sweeps/one/tensorboard", 0).summary_metadata[metadata.SESSION_START_INFO_TAG]
    found = metadata.parse_session_start_info_plugin_data(content.plugin_data.content)
    assert set(found.hparams) == set(made.RANGES)


def test_a_sweep_without_trials_is_published(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    publish(root, "sweeps/none", made.SUMMARY, [])
    assert root.exists("sweeps/none/report.html")
    publish(root, "sweeps/none", made.SUMMARY, [Trial(number=0, values={}, stage="running")])
    assert root.list("sweeps/none/tensorboard") == ["trial-000"]
