"""Exporting: from a stored version to an artifact that passed the gate, or to the evidence why there is none."""

import json
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import thaw
from thaw import bundle, golden
from thaw.backends import artifact as backends
from thaw.backends import folding
from thaw.backends.artifact import Settings
from thaw.backends.network import Network
from thaw.bundle import Bundle
from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data.dataset import Dataset
from thaw.errors import ConfigError, DataError
from thaw.export import gate, measure, prune, recover
from thaw.export.gate import Tolerance, Verdict
from thaw.export.making import Making
from thaw.export.usage import usage
from thaw.export.validation import Validation
from thaw.registry import artifacts, store
from thaw.registry import record as records
from thaw.registry.record import utc_now
from thaw.storage import Root, local_cache, open_root
from thaw.training import run

_LOSSY = 0.05
"""How far answers of 8 and 16 bits may be off where they are loaded: other processors round otherwise."""
_LIBRARIES = ("torch", "onnx", "onnxruntime", "onnxscript", "openvino", "executorch", "torch-pruning")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        settings: how the artifact is to be made.
        tolerance: how much worse it may be.
        images: most validation images that it is judged by.
        name: left out: after the settings.
    """

    settings: Settings
    tolerance: Tolerance
    images: int = 2000
    name: str | None = None

    @property
    def called(self) -> str:
        """The artifact's name."""
        asked = self.settings
        parts = [asked.to, *([asked.precision] if asked.precision != "fp32" else [])]
        parts += [f"pruned-{asked.prune:g}"] if asked.prune else []
        parts += [f"sparse-{asked.sparse:g}"] if asked.sparse else []
        return self.name or "-".join(parts)


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        name: of the artifact.
        path: of its folder below the root; of the evidence, where it was refused.
        told: what it says of itself.
    """

    name: str
    path: str
    verdict: Verdict
    told: dict[str, Any]


def export(storage_root: str, reference: str, request: Request) -> Outcome:
    """Make an artifact of a version, judge it, and register it where it passes.

    Args:
        reference: NAME, NAME@alias or NAME/version.

    Raises:
        StorageError: there is no such model, or the artifact's name is taken.
        DataError: the dataset that it was trained on is gone.
        ModelError: what is needed is not installed, or the network cannot be brought to the format.
        ConfigError: the settings do not go together.
    """
    _check(request.settings)
    root = open_root(storage_root)
    found = store.resolve(root, reference)
    artifacts.check_free(root, found, request.called)
    folder = store.fetch(root, found, local_cache())
    parent = bundle.load(folder)
    golden.check(parent, folder)
    parent = bundle.merged(parent)
    experiment, prepared = _origin(root, store.lineage(root, found).run_id)
    validation = Validation(root, prepared, experiment.data.limits, request.images, experiment.seed)
    smaller = _smaller(parent, request.settings, experiment, root, prepared)
    with tempfile.TemporaryDirectory(prefix="thaw-export-") as place:
        making = Making(parent, Network(smaller), validation, request.tolerance, Path(place))
        settings = making.write(request.settings)
        made = backends.opened(making.folder, settings.to, parent.description)
        say(f"judging {request.called} by {validation.images} validation images")
        verdict = gate.judge(parent, made, validation.batches(), request.tolerance)
        say(f"measuring what {request.called} costs on {measure.machine()}")
        told = _told(request.called, f"{found.name}/{found.version}", settings, verdict, making, made, folder)
        if not verdict.passed:
            return Outcome(request.called, artifacts.refuse(root, found, request.called, told), verdict, told)
        images = {one.id: one.image for one in golden.read(parent, folder)}
        golden.write(made, images, making.folder)
        _describe(making, told)
        return Outcome(request.called, artifacts.register(root, found, request.called, making.folder), verdict, told)


def _check(settings: Settings) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: it does not.
    """
    backends.format_of(settings.to)
    if settings.precision != "fp32" and settings.to in ("program", "executorch"):
        raise ConfigError(f"--{settings.precision}: of {settings.to} only fp32 can be had; use --to onnx or openvino")
    if settings.prune and settings.sparse:
        raise ConfigError("--prune and --sparse: give one of them")
    if settings.epochs and not settings.prune and not settings.sparse:
        raise ConfigError("--epochs: there is nothing to learn again without --prune or --sparse")


def _origin(root: Root, run_id: str) -> tuple[Experiment, Dataset]:
    """Return the experiment and the dataset that a model comes from, without test images: nothing here may see one.

    Raises:
        DataError: the dataset is gone.
    """
    path = records.load(root, run_id).dataset
    if not root.exists(f"{path}/dataset.json"):
        raise DataError(
            f"{root.shown(path)}: the dataset of run {run_id} is gone, so nothing made of its model could be judged; "
            "run `thaw prepare` with its experiment"
        )
    return run.resumed(root, run_id), Dataset.load(root, path).without("test")


def _smaller(parent: Bundle, asked: Settings, experiment: Experiment, root: Root, prepared: Dataset) -> Bundle:
    """Return the bundle that is exported: the parent, or a copy with fewer weights that has learnt again."""
    if not asked.prune and not asked.sparse:
        return parent
    before = prune.parameters(parent.model)
    if asked.prune:
        pruned = prune.without_channels(parent, asked.prune)
        say(f"{asked.prune:.0%} of the channels less: {before:,} weights become {prune.parameters(pruned.model):,}")
    else:
        pruned = prune.without_weights(parent, asked.sparse)
        say(f"{asked.sparse:.0%} of the backbone's weights are zero")
    return recover.recover(pruned, experiment, root, prepared, asked.epochs) if asked.epochs else pruned


def _told(
    name: str,
    parent: str,
    settings: Settings,
    verdict: Verdict,
    making: Making,
    made: backends.Exported,
    folder: Path,
) -> dict[str, Any]:
    """Return what is said of an artifact, whether it passed or not; ``files`` is empty."""
    described = backends.Description(
        thaw_version=thaw.__version__,
        name=name,
        parent=parent,
        created=utc_now(),
        settings=settings,
        files={},
        bytes=sum(file.stat().st_size for file in making.folder.glob("model.*")),
        parent_bytes=(folder / bundle.WEIGHTS).stat().st_size,
        parameters=prune.parameters(making.network),
        tolerance=golden.TOLERANCE if settings.precision == "fp32" else _LOSSY,
        gate=verdict.model_dump(mode="json"),
        machine=measure.machine(),
        libraries={one: found for one in _LIBRARIES if (found := _version(one))},
        cost=measure.measure(made),
        parent_cost=measure.measure(_as_served(folder)),
    )
    return described.model_dump(mode="json")


def _as_served(folder: Path) -> Bundle:
    """Return a bundle as it answers where nothing was exported of it."""
    parent = bundle.load(folder)
    folding.fold(parent)
    return parent


def _describe(making: Making, told: dict[str, Any]) -> None:
    """Write what stands beside the network's files, ``artifact.json`` with the hashes of all of them last."""
    described = making.parent.description.model_dump(mode="json")
    _write(making.folder / bundle.DESCRIPTION, described)
    _write(making.folder / backends.USAGE, usage(making.parent))
    told["files"] = {file.name: backends.sha256(file) for file in sorted(making.folder.iterdir())}
    _write(making.folder / backends.DESCRIPTION, told)


def _write(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
