"""Bundle: the one thing that crosses from training to evaluation, export and serving.

A folder with ``bundle.json`` (label schemas, task options, Preprocess, which backbone from which weights) and
``model.safetensors``. Everything needed to answer, nothing needed to train on.
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
from torch import nn

import thaw
from thaw import catalog
from thaw.backbones import detector_weights, family, weights
from thaw.backbones.contract import Backbone
from thaw.backbones.pyramid import Pyramid
from thaw.config.experiment import Experiment, Model, TaskOptions, Weights
from thaw.config.parts import PartOf
from thaw.data.labels import LabelSchema
from thaw.data.preprocess import Preprocess
from thaw.errors import ConfigError, ModelError
from thaw.model import FinetuneModel
from thaw.tasks.contract import HeadInputs, Task

DESCRIPTION = "bundle.json"
WEIGHTS = "model.safetensors"


class Description(BaseModel):
    """What ``bundle.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    thaw_version: str
    name: str
    model: Model
    """The network; where its weights came from is told by ``origin``."""
    origin: dict[str, str]
    """Where the backbone's pretrained weights came from, with their SHA-256; and what became of a detector's."""
    preprocess: Preprocess
    tasks: dict[str, Annotated[TaskOptions, PartOf("tasks")]]
    labels: dict[str, LabelSchema]

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

    def save(self, folder: Path) -> None:
        """Write the bundle into an existing folder."""
        text = json.dumps(self.description.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
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
        backbone, origin = weights.load(chosen.backbone, chosen.weights, image.size)
        torch.manual_seed(experiment.seed)
        model = _assembled(chosen, backbone, tasks, experiment.finetune.batchnorm)
    if chosen.checkpointing and not backbone.checkpoint_gradients():
        raise ModelError(f"model.checkpointing: {chosen.backbone} cannot compute activations again; set it to false")
    described = Description(
        thaw_version=thaw.__version__,
        name=experiment.name,
        model=chosen.model_copy(update={"weights": Weights(source="none"), "checkpointing": False}),
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
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        described = Description.model_validate(content)
        state = safetensors.torch.load_file(folder / WEIGHTS)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        raise ModelError(f"{folder}: holds no bundle that thaw {thaw.__version__} can read: {error}") from None
    backbone = family.of(described.model.backbone).create(described.model.backbone, described.preprocess.size)
    tasks = build_tasks(described.tasks, described.labels)
    model = _assembled(described.model, backbone, tasks, "held")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{folder}: weights do not fit {described.model.backbone}: {error}") from None
    return Bundle(described, model.to(device).eval(), tasks)


def build_tasks(options: Mapping[str, TaskOptions], labels: Mapping[str, LabelSchema]) -> dict[str, Task]:
    """Return task name -> Task for the heads that an experiment or a bundle names."""
    return {
        name: catalog.part("tasks", chosen.type).Task(name, chosen, labels[name]) for name, chosen in options.items()
    }


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
