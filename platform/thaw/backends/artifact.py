"""Artifact: what was made of a bundle for another backend, with what it was found to be worth.

A folder with the network's files, ``bundle.json`` as its parent has it, ``usage.json`` for programs that do without
Thaw, the golden images with its own answers, and ``artifact.json``, which names all of them with their SHA-256. How
artifacts are made and judged stands in thaw.export.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

import thaw
from thaw import bundle, catalog, golden
from thaw.backends.formats.contract import Format, Run
from thaw.backends.network import flat, names
from thaw.errors import ConfigError, ModelError
from thaw.tasks.contract import Task

DESCRIPTION = "artifact.json"
USAGE = "usage.json"

Precision = Literal["fp32", "fp16", "int8"]


class Settings(BaseModel):
    """How an artifact was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    to: str
    """The format: a file in ``thaw/backends/formats``."""
    precision: Precision = "fp32"
    prune: float = Field(0.0, ge=0, lt=1)
    """Share of the channels of the backbone's convolutions that was taken away."""
    sparse: float = Field(0.0, ge=0, lt=1)
    """Share of the backbone's weights that was set to zero."""
    epochs: int = Field(0, ge=0)
    """Epochs of training after pruning."""
    calibration: str | None = None
    """How the ranges of an int8 network were found, and what was left out of it."""


class Cost(BaseModel):
    """What answering costs on one machine, from pixels of the input to what answers are read off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p50_ms: dict[str, float]
    """Images in a batch -> median time."""
    p95_ms: dict[str, float]
    images_per_s: float
    """With the batch that gives most."""
    running: float
    """Share of the time that the measuring thread had a core; clearly less than 1 where others wanted it too."""


class Description(BaseModel):
    """What ``artifact.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    thaw_version: str
    name: str
    parent: str
    """``name/version`` of the bundle."""
    created: str
    settings: Settings
    files: dict[str, str]
    """Every file of the folder but this one -> its SHA-256."""
    bytes: int
    """Size of the network's files."""
    parent_bytes: int
    parameters: int
    tolerance: float
    """How far its answers to the golden images may be off where it is loaded."""
    gate: dict[str, Any]
    """What the gate found."""
    machine: str
    libraries: dict[str, str]
    cost: Cost
    parent_cost: Cost
    """Of the bundle in PyTorch, measured in the same minutes."""


@dataclass(frozen=True)
class Exported:
    """An exported network, which answers in its bundle's place."""

    description: bundle.Description
    tasks: Mapping[str, Task]
    run: Run

    def readouts(self, pixels: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return task -> what its answers are read off, for (B, 3, S, S) uint8 pixels, in one forward pass."""
        found: dict[str, dict[str, Tensor]] = {name: {} for name in self.tasks}
        for (task, output), values in zip(names(self.tasks), self.run(pixels.cpu().numpy()), strict=True):
            found[task][output] = torch.from_numpy(values)
        return found


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    found: Format = catalog.part("backends.formats", name)  # type: ignore[assignment]
    return found


def load(folder: Path, device: str = "cpu") -> Exported:
    """Read an artifact, ready to answer, once it answers its golden images as it did when it was made.

    Raises:
        ModelError: the folder holds no artifact that this version of Thaw can read, a file of it was changed or added,
            or it answers otherwise here.
    """
    described = describe(folder)
    chosen = _format(described, folder)
    if chosen.UNSAFE:
        raise ModelError(f"{folder}: {chosen.UNSAFE}")
    strange = {path.name for path in folder.iterdir()} - {*described.files, DESCRIPTION}
    if strange:
        raise ModelError(f"{folder}: {DESCRIPTION} does not name {', '.join(sorted(strange))}; remove what is strange")
    for file, digest in described.files.items():
        if sha256(folder / file) != digest:
            raise ModelError(f"{folder / file}: not the file that was registered; export {described.parent} again")
    loaded = opened(folder, described.settings.to, bundle.describe(folder), device)
    golden.check(loaded, folder, described.tolerance)
    return loaded


def opened(folder: Path, to: str, of: bundle.Description, device: str = "cpu") -> Exported:
    """Open a network that this process wrote, or whose origin was checked.

    Raises:
        ModelError: it cannot be run here.
    """
    tasks = bundle.build_tasks(of.tasks, of.labels, of.answering)
    outputs = [flat(name) for name in names(tasks)]
    return Exported(of, tasks, format_of(to).open(folder, outputs, device, torch.get_num_threads()))


def describe(folder: Path) -> Description:
    """Read what an artifact says of itself.

    Raises:
        ModelError: the folder holds no artifact, or one that this version of Thaw cannot read.
    """
    try:
        return Description.model_validate(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ModelError(f"{folder}: holds no artifact that thaw {thaw.__version__} can read: {error}") from None


def sha256(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal.

    Raises:
        ModelError: there is no such file.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from None


def _format(described: Description, folder: Path) -> Format:
    try:
        return format_of(described.settings.to)
    except ConfigError as error:
        raise ModelError(f"{folder / DESCRIPTION}: settings.to: {error}") from None
