"""The outline of a plan says of every group whether, when and how fast it learns, in lines that fit a terminal."""

from typing import Any

import pytest

from thaw.backbones import timm_models
from thaw.config.experiment import Finetune
from thaw.model import HEADS
from thaw.training.outline import Outline
from thaw.training.plan import FinetunePlan

NAME = "test_resnet"
PHASES = [
    {"epochs": 2},
    {"epochs": 6, "depth": 3, "open_every": 2, "rates": {"groups": {"layer4.0": 0.0625}}},
    {"epochs": 4, "depth": "layer4.0", "schedule": "step"},
]


def _outline(phases: Any) -> Outline:
    return Outline.of(timm_models.create(NAME, 32), NAME, Finetune(phases=phases).phases)


def test_every_group_has_the_peak_rate_of_the_plan_in_every_phase_in_which_it_learns() -> None:
    outline = _outline(PHASES)
    assert [row.name for row in outline.rows] == ["conv1", "layer1.0", "layer2.0", "layer3.0", "layer4.0", HEADS]
    plan = FinetunePlan.over(Finetune(phases=PHASES).phases, NAME, [row.name for row in outline.rows[:-1]], 50)
    for row in outline.rows:
        peaks = [
            max((plan.rates_at(step).get(row.name, 0.0) for step in range(span.begun, span.over)), default=0.0)
            for span in {span.place: span for span in plan.spans}.values()
        ]
        for place, (rate, peak) in enumerate(zip(row.rates, peaks, strict=True)):
            assert (rate is None) == (peak == 0)
            opened_with_the_phase = row.opens[place] == outline.phases[place][1]
            assert rate is None or (peak == rate if opened_with_the_phase else peak <= rate)
    assert outline.rows[4].rates == (None, 0.0625, 1e-3)


def test_every_group_has_the_epoch_in_which_it_opens() -> None:
    assert {row.name: row.opens for row in _outline(PHASES).rows} == {
        "conv1": (None, None, None),
        "layer1.0": (None, None, None),
        "layer2.0": (None, 7, None),
        "layer3.0": (None, 5, None),
        "layer4.0": (None, 3, 9),
        HEADS: (1, 3, 9),
    }
    assert [(first, last) for _, first, last in _outline(PHASES).phases] == [(1, 2), (3, 8), (9, 12)]


def test_a_phase_is_shown_to_the_epoch_after_which_it_stops() -> None:
    shown = _outline([{"epochs": 4, "stop_after": 3}, {"epochs": 2}]).phases
    assert [(first, last) for _, first, last in shown] == [(1, 3), (5, 6)]


def test_parameters_of_the_groups_are_all_of_the_backbone() -> None:
    total = sum(weight.numel() for weight in timm_models.create(NAME, 32).parameters())
    assert sum(row.parameters or 0 for row in _outline(PHASES).rows) == total


def test_the_table_reads_as_it_should() -> None:
    assert _outline(PHASES).lines() == [
        "                                            phase 1            phase 2            phase 3",
        "                                         epochs 1-2         epochs 3-8        epochs 9-12",
        "depth  layer group    parameters             cosine             cosine               step",
        "    5  conv1               7,472                  -                  -                  -",
        "    4  layer1.0           18,560                  -                  -                  -",
        "    3  layer2.0           36,384                  -   from 7: 4.90e-04                  -",
        "    2  layer3.0           42,432                  -   from 5: 7.00e-04                  -",
        "    1  layer4.0          267,840                  -           6.25e-02           1.00e-03",
        "       heads                               3.00e-03           3.00e-03           3.00e-03",
    ]


@pytest.mark.parametrize("name", [NAME, "test_vit"])
def test_no_line_is_wider_than_120_columns_however_many_phases_there_are(name: str) -> None:
    phases = [{"epochs": 100, "depth": place % 3} for place in range(9)]
    phases.append({"epochs": 1000, "depth": "all", "open_every": 400})
    lines = Outline.of(timm_models.create(name, 32), name, Finetune(phases=phases).phases).lines()
    assert max(map(len, lines[:-1])) <= 120
    assert sum(line.count("phase ") for line in lines) == 10
    assert sum(line.strip().startswith(HEADS) for line in lines) == 3


def test_a_phase_that_ends_too_soon_is_told_of_below() -> None:
    assert (
        _outline([{"epochs": 2, "depth": "all", "open_every": 1}])
        .lines()[-1]
        .startswith("finetune.phases[0]: opens 2 of 5 groups")
    )


def test_the_plain_values_hold_what_the_table_shows() -> None:
    outline = _outline(PHASES)
    values = outline.values()
    assert [group["depth"] for group in values["groups"]] == [5, 4, 3, 2, 1]
    assert values["phases"][0] == {
        "epochs": [1, 2],
        "schedule": "cosine",
        "rates": {HEADS: 3e-3},
        "opens": {HEADS: 1},
    }
    assert values["phases"][1]["opens"] == {"layer2.0": 7, "layer3.0": 5, "layer4.0": 3, HEADS: 3}
