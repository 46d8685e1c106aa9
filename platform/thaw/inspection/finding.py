"""Findings: what a check found, as plain data for a report, for JSON and for a gate."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["gate", "warning", "note"]
"""gate: training on this misleads, and is refused until it is mended or let through by name. warning: worth mending.
note: worth knowing."""

SHOWN = 24
"""Most cases of a finding that are kept to be looked at; its count says how many there are."""


class Case(BaseModel):
    """Some images to be looked at together, such as two copies of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str, ...]
    """Ids, the one that matters most first."""
    note: str = ""
    """What is said of them, in a few words: `train and test`, `said rye, looks like oat`."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Corners x0, y0, x1, y1 in pixels of the first image: the boxes that it is about. Without any, and where the
    finding is of a task with boxes, all boxes that the images carry for it are drawn."""
    score: float | None = None
    """How sure the check is, where it can tell; higher is surer."""


class Finding(BaseModel):
    """One thing that was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Words with _ between them that stay the same between versions, such as copies_across_splits; what a gate is let
    through by."""
    level: Level
    task: str | None = None
    """The task that it concerns, if one alone."""
    told: str
    """One sentence: what, how many of how many."""
    advice: str
    """One sentence: what to do."""
    count: int
    """Images, groups of images, boxes or classes concerned, as ``told`` says."""
    cases: tuple[Case, ...] = ()
    """At most `SHOWN` of them, the most telling first."""
    figures: dict[str, Any] = {}
    """Plain values behind it. A report draws numbers by name, or such numbers by split or another group, as bars, and
    lists numbers and words."""
