"""Segmentation: one class for every pixel."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from thaw import catalog
from thaw.backbones.contract import Features
from thaw.config.experiment import AnnotationKind, Share, TaskOptions
from thaw.data import rle
from thaw.data.labels import Annotation, LabelSchema
from thaw.data.placement import Placement
from thaw.data.rle import Rle
from thaw.errors import ConfigError
from thaw.metrics.masks import IGNORED, MaskMeter
from thaw.metrics.weighted.masks import MaskSample
from thaw.tasks import contract
from thaw.tasks.contract import Answer, Answering, Array, HeadInputs, Marks, Masks, TensorFacts, filled

_TELLING = 0.01
"""Shares of an image below it are not told in figures."""
_BACKGROUND = ("background", "bg")
"""What a class is called that is no class; some tools write _background_."""


class Options(TaskOptions):
    """A class for every pixel, such as copper, board or background."""

    annotation: ClassVar[AnnotationKind] = "mask"

    type: Literal["segmentation"]
    dice: Share = 0.5
    """Share of Dice in the loss; the rest is cross-entropy."""
    channels: int = Field(64, ge=8, le=1024)
    """Width of the head."""
    background: str | None = None
    """Class of the pixels that show none of the things looked for, which matters to `thaw inspect` alone. Left out: the
    class named background, where there is one."""


class SegmentationAnswer(Answer):
    """Which pixels are of which class."""

    size: tuple[int, int]
    """Height and width of the image, in pixels."""
    areas: dict[str, float]
    """Share of the image that each class covers; they sum to 1, or less where the model saw only a part."""
    masks: dict[str, Rle]
    """The pixels of every class that occurs, as COCO run lengths at the image's own size."""

    @classmethod
    def forms(cls) -> tuple[type[BaseModel], ...]:
        return cls, SegmentationPicture, SegmentationAreas

    def shown(self, masks: Masks) -> BaseModel:
        if masks == "png":
            picture = MaskPicture(names=tuple(self.areas), png=_png(self.as_mask(tuple(self.areas))))
            return SegmentationPicture(size=self.size, areas=self.areas, masks=picture)
        return SegmentationAreas(size=self.size, areas=self.areas) if masks == "none" else self

    def summary(self) -> Mapping[str, str]:
        found = sorted(((share, name) for name, share in self.areas.items() if share), reverse=True)
        return {name: f"{share:.0%}" if share >= _TELLING else f"<{_TELLING:.0%}" for share, name in found}

    def decided(self) -> Sequence[tuple[str, float]]:
        return [(name, share) for name, share in self.areas.items() if share]

    def marks(self) -> Marks:
        return Marks(masks=self.masks, classes=tuple(self.areas))

    def distance(self, other: Self) -> float:
        names = tuple(self.areas)
        return float(np.mean(self.as_mask(names) != other.as_mask(names)))

    def disagreement(self, other: Self) -> float:
        return self.distance(other)

    def as_mask(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Return (H, W) indices into ``names``; `IGNORED` where the answer gives no class."""
        mask = np.full(self.size, IGNORED, dtype=np.uint8)
        for name, runs in self.masks.items():
            mask[rle.decode(runs)] = names.index(name)
        return mask


class SegmentationAreas(BaseModel):
    """Which share of the image is of which class: the answer without its masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    """Height and width of the image, in pixels."""
    areas: dict[str, float]
    """Share of the image that each class covers; they sum to 1, or less where the model saw only a part."""


class MaskPicture(BaseModel):
    """All masks in one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    """Classes by the value of their pixels; 255 is of no class."""
    png: str
    """A grey PNG in base64, of the image's own size."""


class SegmentationPicture(SegmentationAreas):
    """Which pixels are of which class: the answer with its masks as a picture."""

    masks: MaskPicture


def _png(mask: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


class Task(contract.Task):
    """A light head over the feature pyramid: every map at the finest one's size, summed."""

    best_metric = "miou"
    metrics = ("miou", "dice", "pixel_accuracy")
    answer_type = SegmentationAnswer
    finest = 4

    def __init__(self, name: str, options: Options, labels: LabelSchema, answering: Answering | None = None) -> None:
        """Build the task.

        Raises:
            ConfigError: there are more classes than a pixel of a mask can tell apart, or none is the given background.
        """
        super().__init__(name, options, labels, answering)
        if len(labels.names) > IGNORED:
            raise ConfigError(
                f"tasks.{name}: {len(labels.names)} classes; a mask tells at most {IGNORED} apart; name fewer in "
                f"tasks.{name}.classes"
            )
        if options.background is not None and options.background not in labels.names:
            raise ConfigError(
                f"tasks.{name}.background: no class {options.background!r}; known: {', '.join(labels.names)}"
                f"{catalog.did_you_mean(options.background, labels.names)}"
            )

    @property
    def background(self) -> str | None:
        usual = (name for name in self.labels.names if name.strip("_").casefold() in _BACKGROUND)
        return self.options.background or next(usual, None)

    def build_head(self, inputs: HeadInputs) -> nn.Module:
        return _Head(inputs, self.options.channels, len(self.labels.names))

    def labelled(self, targets: Tensor) -> Tensor:
        return (targets != IGNORED).flatten(1).any(dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over labelled images of each image's mean over its labelled pixels.

        Args:
            outputs: (B, C, S, S).
            targets: (B, S, S) class indices; an image without any labelled pixel has no label.

        Source: Dice of soft masks as in Milletari et al. 2016, arXiv:1606.04797, over the classes an image has.
        """
        labelled = targets != IGNORED
        has = self.labelled(targets)
        entropy = F.cross_entropy(outputs, targets.long(), ignore_index=IGNORED, reduction="none")
        pixels = labelled.flatten(1).sum(dim=1).clamp(min=1)
        each = (1 - self.options.dice) * entropy.flatten(1).sum(dim=1) / pixels
        if self.options.dice:
            each = each + self.options.dice * _dice_loss(outputs, targets, labelled)
        return (each * has).sum(), has.sum()

    def readout(self, outputs: Tensor) -> dict[str, Tensor]:
        return {"logits": outputs}

    def reading(self) -> dict[str, Any]:
        return {
            "outputs": {"logits": "(B, C, S, S) float32: for each pixel of the input a score of each class"},
            "classes": list(self.labels.names),
            "steps": [
                "each pixel of the input is of the class of its largest score, the first of equal ones",
                "cut out the part of the input that the image fills, and bring it to the size of the part of the image "
                "that was seen: each pixel takes the class of the pixel that its middle falls on; the rest of the "
                "image is of no class",
            ],
        }

    def read(self, readout: Mapping[str, Tensor], placements: Sequence[Placement]) -> list[SegmentationAnswer]:
        best = readout["logits"].argmax(dim=1).to(torch.uint8).cpu().numpy()
        return [self._answer(placement.mask_back(mask)) for mask, placement in zip(best, placements, strict=True)]

    def _answer(self, mask: NDArray[np.uint8]) -> SegmentationAnswer:
        found = rle.encode_classes(mask)
        known = {name: found[place] for place, name in enumerate(self.labels.names) if place in found}
        areas = {name: known[name][1] / mask.size if name in known else 0.0 for name in self.labels.names}
        height, width = mask.shape
        return SegmentationAnswer(
            size=(height, width), areas=areas, masks={name: one for name, (one, _) in known.items()}
        )

    def tensor_facts(self) -> dict[str, TensorFacts]:
        return {
            "size": TensorFacts("INT64", (2,), "height and width of the image, in pixels"),
            "areas": TensorFacts("FP32", (len(self.labels.names),), "share of the image that each class covers"),
            "runs": TensorFacts(
                "INT64",
                (-1, 2),
                "class index and number of pixels of each run of equal ones, row by row from the left upper corner; "
                "-1 is of no class; runs of 0 pixels fill up beyond",
            ),
        }

    def tensors(self, answers: Sequence[SegmentationAnswer]) -> dict[str, Array]:
        return {
            "size": np.array([one.size for one in answers], np.int64),
            "areas": np.array([list(one.areas.values()) for one in answers], np.float32),
            "runs": filled([_runs(one.as_mask(self.labels.names)) for one in answers], 0),
        }

    def meter(self) -> "MaskAnswers":
        return MaskAnswers(self.labels.names)

    def sample(self, answers: Sequence[SegmentationAnswer], annotations: Sequence[Annotation]) -> MaskSample:
        tables = []
        for answer, truth in zip(answers, annotations, strict=True):
            one = self.meter()
            one.update([answer], [truth])
            tables.append(one.table.numpy())
        return MaskSample(self.labels.names, np.stack(tables))


def _runs(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (R, 2) class index, -1 for none, and length of every run of equal pixels, row by row."""
    flat = mask.ravel()
    begins = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    classes = flat[begins].astype(np.int64)
    classes[classes == IGNORED] = -1
    return np.stack([classes, np.diff(begins, append=flat.size)], axis=1)


class MaskAnswers(MaskMeter):
    """Mask metrics over answers."""

    def update(self, answers: Sequence[SegmentationAnswer], annotations: Sequence[Annotation]) -> None:
        for answer, truth in zip(answers, annotations, strict=True):
            if truth is not None:
                self.add(answer.as_mask(self.names), np.asarray(truth, dtype=np.uint8))


def _dice_loss(outputs: Tensor, targets: Tensor, labelled: Tensor) -> Tensor:
    """Return (B,) one minus the mean Dice of the classes that each image has."""
    seen = labelled.unsqueeze(1).to(outputs.dtype)
    found = torch.softmax(outputs, dim=1) * seen
    truth = torch.zeros_like(outputs).scatter_(1, torch.where(labelled, targets, 0).long().unsqueeze(1), seen)
    both, told, true = (one.flatten(2).sum(dim=2) for one in (found * truth, found, truth))
    occurs = true > 0
    dice = (2 * both + 1) / (told + true + 1)
    return 1 - (dice * occurs).sum(dim=1) / occurs.sum(dim=1).clamp(min=1)


class _Head(nn.Module):
    """Panoptic FPN's branch for stuff: Kirillov et al. 2019, arXiv:1901.02446."""

    def __init__(self, inputs: HeadInputs, channels: int, classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs.num_channels, channels, 3, padding=1, bias=False),
                nn.GroupNorm(min(8, channels // 2) if channels % 8 == 0 else 1, channels),
                nn.ReLU(),
            )
            for _ in inputs.strides
        )
        self.dropout = nn.Dropout2d(inputs.dropout)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Features, _targets: Tensor | None = None) -> Tensor:
        """Return (B, C, S, S) outputs."""
        finest = features.maps[0].shape[-2:]
        told = [branch(one) for branch, one in zip(self.branches, features.maps, strict=True)]
        sized = [F.interpolate(one, size=finest, mode="bilinear", align_corners=False) for one in told]
        outputs = self.classify(self.dropout(torch.stack(sized).sum(dim=0)))
        size = [features.size, features.size]
        return F.interpolate(outputs.float(), size=size, mode="bilinear", align_corners=False)
