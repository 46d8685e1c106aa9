"""Candidates: the backbones that are compared, and where the weights of each come from.

How good they are, and what they cost, is found out elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path

from thaw.backbones import family
from thaw.config.experiment import Experiment, Weights
from thaw.errors import ConfigError

DEFAULTS = (
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_medium",
    "efficientnet_b0",
    "resnet18",
    "resnet50",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
    "vit_small_patch16_224",
    "vit_small_patch16_224.dino",
    "vit_small_patch14_dinov2.lvd142m",
)
"""What is compared when nobody says what: sizes from 3 to 28 million weights, convolutional networks for small devices
and for servers, transformers trained with labels, and two (DINO, DINOv2) without, whose frozen features travel far."""

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Candidate:
    """A backbone with weights of one origin."""

    backbone: str
    weights: Weights


def candidates(experiment: Experiment, named: str | None, pattern: str | None, where: str) -> list[Candidate]:
    """Return what is to be compared, each once.

    Args:
        named: backbones with commas between them, each as NAME or as NAME=WHERE with weights of its own.
        pattern: a shell pattern of names, instead.
        where: hub, package or none; or a folder that holds NAME.safetensors, .pth, .pt or .bin for every backbone.

    With neither names nor a pattern, these are the experiment's own backbone with its own weights, and `DEFAULTS`.

    Raises:
        ConfigError: there is nothing to compare, or WHERE is no place for weights.
    """
    if named and pattern:
        raise ConfigError("--backbones names them and --find searches for them: give one of the two")
    if named:
        found = [_named(one.strip(), where) for one in named.split(",") if one.strip()]
    elif pattern:
        found = [Candidate(name, _weights(name, where)) for name in family.names(pattern)]
    else:
        own = Candidate(experiment.model.backbone, experiment.model.weights)
        found = [own, *(Candidate(name, _weights(name, where)) for name in DEFAULTS if name != own.backbone)]
    if not found:
        asked = f"--find {pattern!r} matches" if pattern else f"--backbones {named!r} names"
        raise ConfigError(f"{asked} no backbone; `thaw models --find PATTERN` lists those there are")
    return list(dict.fromkeys(found))


def _named(text: str, where: str) -> Candidate:
    """Return the candidate that NAME or NAME=WHERE means; WHERE may be a file here."""
    name, own, place = text.partition("=")
    return Candidate(name, _weights(name, place if own else where))


def _weights(name: str, where: str) -> Weights:
    match where:
        case "hub":
            return Weights(source="hub")
        case "package":
            return Weights(source="package")
        case "none":
            return Weights(source="none")
    place = Path(where)
    if not where or not place.exists():
        raise ConfigError(f"weights of {name}: {where!r} is not hub, package, none, a file or a folder of files")
    return Weights(source="path", path=str(_in_folder(name, place) if place.is_dir() else place))


def _in_folder(name: str, folder: Path) -> Path:
    """Return the file of a backbone's weights; where there is none, the one that loading them will ask for."""
    files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])
