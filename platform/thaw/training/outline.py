"""Outline: a plan laid over the layer groups of a backbone, for a person to read before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from thaw.backbones.contract import Backbone
from thaw.config.experiment import Phase
from thaw.model import HEADS
from thaw.training.plan import FinetunePlan

_ACROSS = 4
"""Phases side by side in a table of 120 columns."""


@dataclass(frozen=True)
class Row:
    """A layer group and what becomes of it.

    Attributes:
        depth: opens it and all above it; None for the heads, which are always open.
        parameters: how many numbers its weights are; None for the heads, where tasks and labels decide.
        rates: its peak rate in each phase, None where it stays frozen.
        opens: the epoch of each phase in which it learns first, counted over all phases; None where it stays frozen.
    """

    name: str
    depth: int | None
    parameters: int | None
    rates: tuple[float | None, ...]
    opens: tuple[int | None, ...]


@dataclass(frozen=True)
class Outline:
    """What a plan does to every layer group.

    Attributes:
        rows: input side first, the heads last.
        phases: each with its first and its last epoch, counted from 1 over all phases.
        shortfalls: a line about every phase that does not open all that it is to open.
    """

    rows: tuple[Row, ...]
    phases: tuple[tuple[Phase, int, int], ...]
    shortfalls: tuple[str, ...]

    @classmethod
    def of(cls, backbone: Backbone, name: str, phases: Sequence[Phase]) -> Self:
        """Return the outline of phases over the layer groups of a backbone of this name.

        Raises:
            ConfigError: they do not fit it.
        """
        groups = {group.name: group for group in backbone.groups}
        plan = FinetunePlan.over(phases, name, list(groups), epoch_steps=1)
        sizes = {weight.removeprefix("body."): value.numel() for weight, value in backbone.named_parameters()}
        rows = [
            Row(one, len(groups) - place, sum(sizes[weight] for weight in group.parameters), *_fate(plan, one))
            for place, (one, group) in enumerate(groups.items())
        ]
        bounds = {span.place: (span.phase, span.begun + 1, span.stop) for span in plan.spans}
        return cls(
            (*rows, Row(HEADS, None, None, *_fate(plan, HEADS))), tuple(bounds.values()), tuple(plan.shortfalls())
        )

    def values(self) -> dict[str, Any]:
        """Return plain values, for a program to read: layer groups, and what each phase does."""
        groups = [
            {"depth": row.depth, "name": row.name, "parameters": row.parameters}
            for row in self.rows
            if row.name != HEADS
        ]
        phases = [
            {
                "epochs": [first, last],
                "schedule": phase.schedule,
                "rates": {row.name: rate for row in self.rows if (rate := row.rates[place]) is not None},
                "opens": {row.name: epoch for row in self.rows if (epoch := row.opens[place]) is not None},
            }
            for place, (phase, first, last) in enumerate(self.phases)
        ]
        return {"groups": groups, "phases": phases}

    def lines(self) -> list[str]:
        """Return a table for a person, in several parts where there are many phases."""
        wide = max(len("layer group"), *(len(row.name) for row in self.rows))
        lines = []
        for first in range(0, len(self.phases), _ACROSS):
            shown = list(enumerate(self.phases))[first : first + _ACROSS]
            lines.append(_line(wide, "", "", "", [f"phase {place + 1}" for place, _ in shown]))
            lines.append(_line(wide, "", "", "", [f"epochs {begun}-{over}" for _, (_, begun, over) in shown]))
            schedules = [phase.schedule for _, (phase, _, _) in shown]
            lines.append(_line(wide, "depth", "layer group", "parameters", schedules))
            for row in self.rows:
                cells = [_cell(row.rates[place], row.opens[place], begun) for place, (_, begun, _) in shown]
                depth = "" if row.depth is None else str(row.depth)
                count = "" if row.parameters is None else f"{row.parameters:,}"
                lines.append(_line(wide, depth, row.name, count, cells))
        return [*lines, *self.shortfalls]


def _fate(plan: FinetunePlan, group: str) -> tuple[tuple[float | None, ...], tuple[int | None, ...]]:
    """Return a group's peak rate in each phase of a plan of one step an epoch, and the epoch in which it opens."""
    last = {span.place: span for span in plan.spans}
    rates = tuple(plan.peaks(span).get(group) for span in last.values())
    opened = [
        [span.start + 1 for span in plan.spans if span.place == place and group in plan.peaks(span)] for place in last
    ]
    return rates, tuple(starts[0] if starts else None for starts in opened)


def _cell(rate: float | None, opens: int | None, begun: int) -> str:
    if rate is None:
        return "-"
    return f"{rate:.2e}" if opens == begun else f"from {opens}: {rate:.2e}"


def _line(wide: int, depth: str, name: str, parameters: str, cells: Sequence[str]) -> str:
    columns = "".join(f"{cell:>19}" for cell in cells)
    return f"{depth:>5}  {name:<{wide}} {parameters:>13}{columns}".rstrip()
