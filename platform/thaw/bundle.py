"""Bundle: the one thing that crosses from training to evaluation, export and serving.

A folder with ``bundle.json`` (label schemas, task options, Preprocess, which backbone from which weights) and
``model.safetensors``. Everything needed to answer, nothing needed to train on. Of a model with adapters the weights
beneath them are left out: they are had again from where they came from, and must be the same to the last bit.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError
from torch import Tensor, nn

import thaw
from thaw import catalog
from thaw.backbones import adapters, detector_weights, family, weights
from thaw.backbones.contract import Backbone
from thaw.backbones.pyramid import Pyramid
from thaw.backbones.weights import Origin
from thaw.config.experiment import Experiment, Model, TaskOptions, Weights
from thaw.config.parts import PartOf
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import Preprocess
from thaw.errors import ConfigError, ModelError
from thaw.model import FinetuneModel
from thaw.tasks.contract import Answering, HeadInputs, Task

DESCRIPTION = "bundle.json"
WEIGHTS = "model.safetensors"


class Description(BaseModel):
    """What ``bundle.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    thaw_version: str
    name: str
    model: Model
    """The network; where its weights came from is told by ``origin``, and by ``model`` where they must be had again."""
    origin: dict[str, str]
    """Where the backbone's pretrained weights came from, with their SHA-256; and what became of a detector's."""
    preprocess: Preprocess
    tasks: dict[str, Annotated[TaskOptions, PartOf("tasks")]]
    labels: dict[str, LabelSchema]
    answering: dict[str, Answering] = {}
    """Task -> what was settled on the validation images of how its outputs become answers."""

    @model_validator(mode="after")
    def _know_the_classes_of_every_task(self) -> Self:
        if set(self.tasks) != set(self.labels):
            raise ValueError(f"tasks {sorted(self.tasks)} and labels {sorted(self.labels)} must be of the same names")
        return self


@dataclass(frozen=True)
class Bundle:
    """A model that can answer, with all that its answers need."""

    description: Description
    model: FinetuneModel
    tasks: Mapping[str, Task]

    def readouts(self, pixels: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return task -> what its answers are read off, for (B, 3, S, S) uint8 pixels, in one forward pass."""
        device = next(self.model.parameters()).device
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            outputs = self.model(pixels.to(device))
            return {name: task.readout(outputs[name]) for name, task in self.tasks.items()}

    def save(self, folder: Path) -> None:
        """Write the bundle into an existing folder."""
        _describe(folder, self.description)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.own_state().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS)


def create(experiment: Experiment, labels: Mapping[str, LabelSchema]) -> Bundle:
    """Return an untrained bundle: the pretrained backbone and fresh heads, the same for the same seed.

    Raises:
        ModelError: the backbone or its weights cannot be had.
    """
    chosen, image = experiment.model, experiment.data.image
    tasks = build_tasks(experiment.tasks, labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        backbone, origin = _backbone(chosen, image.size)
        torch.manual_seed(experiment.seed)
        model = _assembled(chosen, backbone, tasks, experiment.finetune.batchnorm)
    if chosen.checkpointing and not backbone.checkpoint_gradients():
        raise ModelError(f"model.checkpointing: {chosen.backbone} cannot compute activations again; set it to false")
    described = Description(
        thaw_version=thaw.__version__,
        name=experiment.name,
        model=_as_saved(chosen),
        origin={"source": origin.source, "sha256": origin.sha256} | _taken_over(model, chosen.weights),
        preprocess=Preprocess.of(image),
        tasks=experiment.tasks,
        labels=dict(labels),
    )
    return Bundle(described, model, tasks)


def load(folder: Path, device: str = "cpu") -> Bundle:
    """Read a bundle, ready to answer on a device.

    Raises:
        ModelError: the folder holds no bundle, or one that this version of Thaw cannot read.
    """
    described = describe(folder)
    try:
        state = safetensors.torch.load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise _no_bundle(folder, error) from None
    backbone = _rebuilt(described, folder)
    tasks = build_tasks(described.tasks, described.labels, described.answering)
    model = _assembled(described.model, backbone, tasks, "held")
    try:
        model.load_own_state(state)
    except RuntimeError as error:
        raise ModelError(f"{folder}: weights do not fit {described.model.backbone}: {error}") from None
    return Bundle(described, model.to(device).eval(), tasks)


def describe(folder: Path) -> Description:
    """Read what a bundle says of itself.

    Raises:
        ModelError: the folder holds no bundle, or one that this version of Thaw cannot read.
    """
    try:
        return Description.model_validate(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise _no_bundle(folder, error) from None


def settle(folder: Path, answering: Mapping[str, Answering]) -> None:
    """Write into a bundle how its outputs become answers."""
    described = describe(folder).model_copy(update={"answering": dict(answering)})
    _describe(folder, described)


def _describe(folder: Path, described: Description) -> None:
    text = json.dumps(described.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def check_base(described: Description, sha256: str, folder: Path) -> None:
    """Refuse a bundle with adapters for other weights than those of this SHA-256.

    Raises:
        ModelError: they are others.
    """
    known = described.origin.get("sha256")
    if described.model.lora is not None and sha256 != known:
        place = described.model.weights.path or described.model.weights.source
        raise ModelError(
            f"{folder}: its adapters belong to weights of {described.model.backbone} with SHA-256 {known}; those from "
            f"{place} have {sha256}. Put the ones it was trained on back, where every node that trains or answers "
            "reads them"
        )


def base_key(bundle: Bundle) -> str | None:
    """Return which weights lie beneath a bundle's adapters; None where it has no adapters."""
    described = bundle.description
    if described.model.lora is None:
        return None
    device = next(bundle.model.parameters()).device
    return f"{described.model.backbone} {described.origin['sha256']} {described.preprocess.size} on {device}"


def share_base(bundle: Bundle, other: Bundle) -> None:
    """Let a bundle use the weights beneath another one's adapters, of the same `base_key`, in place of its own."""
    adapters.share_base(bundle.model.backbone, adapters.base_tensors(other.model.backbone))


def merged(bundle: Bundle) -> Bundle:
    """Return a bundle that answers as this one does, with its adapters folded into the weights that they adapt.

    It needs neither peft nor the weights it came from. A bundle without adapters is returned as it is.
    """
    described, model = bundle.description, bundle.model
    if described.model.lora is None:
        return bundle
    chosen = described.model.model_copy(update={"lora": None, "weights": Weights(source="none")})
    backbone = family.of(chosen.backbone).create(chosen.backbone, described.preprocess.size)
    whole = _assembled(chosen, backbone, bundle.tasks, "held")
    above = {name: tensor for name, tensor in model.own_state().items() if not name.startswith("backbone.")}
    below = {f"backbone.{name}": tensor for name, tensor in adapters.merged_state(model.backbone).items()}
    whole.load_state_dict(above | below)
    told = described.origin | {"adapters": f"folded in; rank {described.model.lora.rank}"}
    return Bundle(described.model_copy(update={"model": chosen, "origin": told}), whole.eval(), bundle.tasks)


def build_tasks(
    options: Mapping[str, TaskOptions],
    labels: Mapping[str, LabelSchema],
    answering: Mapping[str, Answering] | None = None,
) -> dict[str, Task]:
    """Return task name -> Task for the heads that an experiment or a bundle names."""
    settled = answering or {}
    return {
        name: catalog.part("tasks", chosen.type).Task(name, chosen, labels[name], settled.get(name))
        for name, chosen in options.items()
    }


def _no_bundle(folder: Path, error: Exception) -> ModelError:
    return ModelError(f"{folder}: holds no bundle that thaw {thaw.__version__} can read: {error}")


def _as_saved(chosen: Model) -> Model:
    """Return the network as a bundle remembers it: with the source of its weights only where it is needed again."""
    chosen = chosen.model_copy(update={"checkpointing": False})
    if chosen.lora is None:
        return chosen.model_copy(update={"weights": Weights(source="none")})
    if chosen.weights.path is None:
        return chosen
    found = Weights(source="path", path=str(Path(chosen.weights.path).absolute()))
    return chosen.model_copy(update={"weights": found})


def _backbone(chosen: Model, image_size: int) -> tuple[Backbone, Origin]:
    """Return the backbone, with adapters where they are asked for, and where its weights came from.

    Raises:
        ModelError: the backbone or its weights cannot be had.
        ConfigError: the adapters do not fit it.
    """
    backbone, origin = weights.load(chosen.backbone, chosen.weights, image_size, chosen.drop_path)
    return (adapters.add(backbone, chosen.lora, image_size) if chosen.lora else backbone), origin


def _rebuilt(described: Description, folder: Path) -> Backbone:
    """Return the backbone of a bundle, with the weights beneath its adapters if it has any.

    Raises:
        ModelError: those cannot be had, or are others than it was trained on.
    """
    chosen, size = described.model, described.preprocess.size
    if chosen.lora is None:
        return family.of(chosen.backbone).create(chosen.backbone, size)
    try:
        backbone, origin = _backbone(chosen, size)
    except ModelError as error:
        raise ModelError(
            f"{folder}: its adapters need the weights that they were trained on, at the same place on every node that "
            f"trains or answers: {error}"
        ) from None
    check_base(described, origin.sha256, folder)
    return backbone


def _taken_over(model: FinetuneModel, options: Weights) -> dict[str, str]:
    """Give pyramid and heads what fits them where the weights are a detector's, and return what is to be told of it."""
    state = weights.of_detector(options)
    if not state:
        return {}
    taken = detector_weights.load_everywhere(model, state, model.heads)
    return {"detector": taken.told(), "detector_sha256": weights.digest(state)}


def _assembled(
    chosen: Model, backbone: Backbone, tasks: Mapping[str, Task], batchnorm: Literal["held", "adapt"]
) -> FinetuneModel:
    """Join a backbone with fresh heads, and with a pyramid if one of them looks at maps.

    Raises:
        ConfigError: a head looks at maps and the backbone has none.
    """
    taken = next((name for name in tasks if hasattr(nn.ModuleDict(), name)), None)
    if taken:
        raise ConfigError(
            f"tasks.{taken}: PyTorch keeps this name for itself; call the task otherwise, such as {taken}_1"
        )
    looking = {name: task.finest for name, task in tasks.items() if task.finest}
    if looking and not backbone.maps:
        raise ConfigError(
            f"tasks.{next(iter(looking))}: {chosen.backbone} gives no feature maps, which its head needs; "
            "convolutional networks and vision transformers of timm do, such as tf_efficientnet_lite0, resnet50, "
            "convnext_tiny, swin_tiny_patch4_window7_224 and vit_small_patch16_224"
        )
    pyramid = Pyramid(backbone.maps, chosen.pyramid, min(looking.values())) if looking else None
    inputs = HeadInputs(backbone.num_features, chosen.dropout, chosen.pyramid, pyramid.strides if pyramid else ())
    heads = {name: task.build_head(inputs) for name, task in tasks.items()}
    return FinetuneModel(backbone, pyramid, heads, batchnorm)
