"""Inspection: what was found of a whole dataset, and how it ends; kept as ``inspection.json`` beside the shards."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from thaw.data.dataset import Dataset
from thaw.inspection.finding import Finding, Level

FILE = "inspection.json"
LEVELS: tuple[Level, ...] = ("gate", "warning", "note")
"""The gravest first."""


class Inspection(BaseModel):
    """What all checks found of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """Path below the storage root."""
    images: dict[str, int]
    """Split -> images."""
    listed: int
    """Images that the source named."""
    set_aside: dict[str, int]
    """Reason -> images, boxes or masks that preparing set aside for it."""
    labelled: dict[str, dict[str, int]]
    """Split -> task -> images with a label."""
    classes: dict[str, dict[str, dict[str, int]]]
    """Split -> task -> class -> images that carry it; for boxes, how many boxes do."""
    findings: tuple[Finding, ...]
    """Gates first, then warnings, then notes."""
    failed: tuple[str, ...]
    """Names of the gates that fail."""
    let_through: tuple[str, ...]
    """Names of the gates that would fail and were let through."""
    passed_over: tuple[str, ...]
    """Checks that had nothing to go by for want of vectors."""
    without_vectors: str | None
    """Why there were none, if so."""

    @classmethod
    def of(
        cls,
        prepared: Dataset,
        findings: Iterable[Finding],
        allowed: Iterable[str] = (),
        passed_over: Iterable[str] = (),
        without_vectors: str | None = None,
    ) -> "Inspection":
        """Return what findings come to.

        Args:
            allowed: gates that are let through by name.
        """
        ordered = sorted(findings, key=lambda one: LEVELS.index(one.level))  # stable: as they came within a level
        gates, allowed = dict.fromkeys(one.name for one in ordered if one.level == "gate"), set(allowed)
        report = prepared.report
        aside = [*report.rejected.items(), *report.set_aside.items()]
        return cls(
            dataset=prepared.path,
            images={split: prepared.rows(split) for split in prepared.splits},
            listed=report.listed,
            set_aside=dict(aside),
            labelled=report.labelled,
            classes=report.classes,
            findings=tuple(ordered),
            failed=tuple(name for name in gates if name not in allowed),
            let_through=tuple(name for name in gates if name in allowed),
            passed_over=tuple(passed_over),
            without_vectors=without_vectors,
        )

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(one for one in self.findings if one.level == level)

    @property
    def sentence(self) -> str:
        """What it comes to, in one sentence."""
        images = f"{sum(self.images.values()):,} images"
        if self.failed:
            one = len(self.failed) == 1
            fails, it = ("1 gate fails", "it") if one else (f"{len(self.failed)} gates fail", "them")
            return f"{fails} on {images}: mend {it}, or let {it} through by name, before training."
        through = f"; let through by name: {', '.join(self.let_through)}" if self.let_through else ""
        warnings = len(self.of_level("warning"))
        if warnings:
            worth = "1 thing is worth mending" if warnings == 1 else f"{warnings} things are worth mending"
            return f"No gate fails on {images}, and {worth}{through}."
        return f"No gate fails on {images}, and nothing else was found that needs mending{through}."
