"""A ranking puts the best first and hides nothing; its table fits into 120 columns."""

from typing import Any

import pytest

from thaw.probe import table
from thaw.probe.ranking import Machine, Probe, Ranking, Row


def _row(backbone: str, metrics: dict[str, dict[str, float]], latency: float = 1.0, **others: Any) -> Row:
    probe = Probe(metrics=metrics, penalties={}, images={"train": 9, "val": 4}, embed_s=12.0, fit_s=1.0)
    values: dict[str, Any] = {"weights": "hub", "parameters": 10**9, "macs": 10**12, "probe": probe, **others}
    return Row(backbone=backbone, latency_ms={1: latency, 32: 99999.0}, **values)


def _ranking(rows: list[Row], tasks: int = 1) -> Ranking:
    return Ranking(
        dataset="datasets/pets-0123456789ab",
        image_size=224,
        machine=Machine(host="here", device="CPU", threads=2, torch="2"),
        metrics={f"task{number}": "accuracy" for number in range(tasks)},
        unranked_tasks={"things": "has places"},
        rows=tuple(rows),
    ).ordered()


def _accuracy(*values: float) -> dict[str, dict[str, float]]:
    return {f"task{number}": {"accuracy": value, "f1_macro": 0.0} for number, value in enumerate(values)}


def test_the_mean_over_tasks_decides_then_latency_and_what_is_left_out_comes_last() -> None:
    rows = [
        _row("out", _accuracy(1.0, 1.0), left_out="too large"),
        _row("uneven", _accuracy(0.9, 0.1)),
        _row("slow", _accuracy(0.7, 0.7), latency=9.0),
        _row("very_fast", _accuracy(0.7, 0.7), latency=3.0),
        _row("none", {}),
    ]
    assert [row.backbone for row in _ranking(rows, tasks=2).rows] == ["very_fast", "slow", "uneven", "none", "out"]


def test_a_task_without_labels_does_not_count_as_zero() -> None:
    row = _row("one", _accuracy(0.8))
    assert _ranking([row], tasks=2).score(row) == 0.8


@pytest.mark.parametrize("tasks", [0, 1, 3, 7])
def test_the_table_fits_and_names_every_backbone(tasks: int) -> None:
    long = "vit_base_patch16_plus_clip_240.laion400m_e31"
    ranking = _ranking([_row("small", _accuracy(*[0.5] * tasks)), _row(long, _accuracy(*[0.75] * tasks))], tasks)
    told = table.lines(ranking)
    assert all(len(line) <= 120 for line in told[:4])
    assert told[2].startswith(f"{long[:30]}…" if tasks else "small ")
    assert all("0.7500" in line for line in told if line.startswith("vit") and tasks)
    assert "things: has places" in told


def test_what_is_left_out_is_told_with_its_reason_and_its_figures_stay() -> None:
    ranking = _ranking([_row("big", {}, probe=None, left_out="1 weight too many")])
    assert "left out: big (hub): 1 weight too many" in table.lines(ranking)
    assert ranking.rows[0].parameters == 10**9


def test_figures_of_an_earlier_call_are_called_so() -> None:
    assert not any("--fresh" in line for line in table.lines(_ranking([_row("new", _accuracy(1.0))])))
    before = table.lines(_ranking([_row("old", _accuracy(1.0), probed_before=True)]))
    assert any("--fresh" in line for line in before)


def test_a_latency_that_other_work_disturbed_is_marked() -> None:
    calm, disturbed = (table.lines(_ranking([_row("one", _accuracy(1.0), disturbed=one)])) for one in (False, True))
    assert not any("*" in line for line in calm)
    assert "1.0*" in disturbed[2]
    assert any(line.startswith("* other work") for line in disturbed)


def test_a_ranking_survives_json() -> None:
    ranking = _ranking([_row("one", _accuracy(0.5))])
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking
