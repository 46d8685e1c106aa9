"""Trial: one experiment drawn from a space, and what came of it.

Plain values, kept as JSON: they are all that a sweep needs to go on after whatever ended it.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Values = dict[str, Any]
"""Dotted place in the experiment -> the value that was drawn for it."""

Stage = Literal["running", "finished", "stopped", "failed"]
"""stopped: ended early, by the scheduler because others had done better with as many images seen, or by the budget."""


class Report(BaseModel):
    """What a trial had come to after an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epoch: int
    """Counted from 1."""
    images: int
    """Training images seen so far."""
    depth: int
    """Layer groups that were open."""
    score: float
    """What trials are compared by, on validation images; higher is better."""
    metrics: dict[str, dict[str, float]]
    """Task -> metric -> value on the validation images."""
    at_s: float
    """Seconds that the sweep had run by then, over all its attempts."""


class Trial(BaseModel):
    """One trial."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    number: int
    """Counted from 0, which is the experiment as it was written."""
    values: Values
    """What was drawn; empty for the experiment as it was written."""
    stage: Stage
    reports: tuple[Report, ...] = ()
    seconds: float = 0.0
    """Time that it trained, over all attempts."""
    error: str | None = None
    """Why it failed."""

    @property
    def best(self) -> Report | None:
        """The report with the highest score, the first of equal ones; None before any."""
        return max(self.reports, key=lambda report: report.score, default=None)


def best_of(trials: "list[Trial]") -> Trial | None:
    """Return the trial with the highest score of any epoch, the first of equal ones; None where none has any."""
    scored = [trial for trial in trials if trial.best is not None]
    return max(scored, key=lambda trial: (trial.best.score if trial.best else 0.0, -trial.number), default=None)
