"""Detection: any number of boxes an image, each with one class.

How boxes are found is the detector's business (`_fcos`, `_faster_rcnn`); here is what both share: which of them are
answered, in pixels of the original image, and how answers are scored.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou

from thaw.backbones.pyramid import from_finest
from thaw.config.experiment import AnnotationKind, Share, TaskOptions
from thaw.data.labels import NO_LABEL, Annotation, Boxes, LabelSchema
from thaw.data.placement import Placement
from thaw.errors import ConfigError
from thaw.metrics.boxes import BoxMeter, ImageBoxes
from thaw.metrics.weighted.boxes import BoxSample
from thaw.tasks import _faster_rcnn, _fcos, contract
from thaw.tasks._anchors import Anchors, usual
from thaw.tasks._anchors import derive_anchors as derive_anchors
from thaw.tasks._faster_rcnn import FasterRcnn
from thaw.tasks._fcos import Fcos
from thaw.tasks.contract import Answer, Answering, Array, HeadInputs, Marks, TensorFacts, filled

_FINEST = {"fcos": 8, "faster_rcnn": 4}
"""Detector -> smallest stride of the maps that it looks at, in pixels; those of the papers."""
_DETECTORS = {"fcos": _fcos, "faster_rcnn": _faster_rcnn}
SURE = 0.3
"""Score from which boxes are drawn and counted in a summary, where no operating point was chosen."""
_CANDIDATES = 1000
"""Boxes of an image, the best by score, that come before non-maximum suppression."""
_SAME = 0.5
"""Overlap from which two boxes of a class are taken for the same thing."""


class Options(TaskOptions):
    """Boxes with a class each, such as defects or cells."""

    annotation: ClassVar[AnnotationKind] = "boxes"
    aims: ClassVar[tuple[str, ...]] = ("max_fp_per_image", "min_recall", "min_precision", "best")

    type: Literal["detection"]
    detector: Literal["fcos", "faster_rcnn"] = "fcos"
    """fcos looks once, at every place; faster_rcnn proposes boxes and looks again, which costs more."""
    max_boxes: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most boxes in an answer, the best by score."""
    nms: Share = 0.5
    """Of two boxes of a class that overlap more than this, the one with the lower score is dropped."""
    min_score: Share = 0.05
    """Boxes below it are not answered."""
    score: Share = 0.5
    """Boxes below it do not count in precision, found and false_per_image, unless an operating point chooses it;
    average precision counts all."""
    width: Annotated[int, Field(ge=8, le=4096)] | None = None
    """Channels of fcos's towers, or length of faster_rcnn's vector of a box. Left out: as the pyramid, or 1024."""
    convs: Annotated[int, Field(ge=1, le=8)] = 4
    """Layers of each of fcos's two towers."""
    proposals: Annotated[int, Field(ge=1, le=2000)] = 256
    """Boxes of each image that faster_rcnn looks at closely."""
    anchors: Anchors | None = None
    """Sizes and shapes of the boxes looked for. Left out: they are derived from the training boxes."""

    @model_validator(mode="after")
    def _be_sure_or_not(self) -> Self:
        if self.operating_point and (self.operating_point.unsure or self.operating_point.positive):
            raise ValueError("operating_point: unsure and positive are of whole images; boxes have neither")
        return self

    @property
    def finest(self) -> int:
        """Smallest stride of the maps that the detector looks at, in pixels."""
        return _FINEST[self.detector]

    def with_anchors(self, boxes: NDArray[np.float32], strides: Sequence[float]) -> Self:
        """Return options whose anchors are written out: the user's own, or what fits the training boxes.

        Args:
            boxes: (N, 4) x0, y0, x1, y1 in pixels of the model's input.
            strides: of all maps of the pyramid, finest first.
        """
        if self.anchors:
            return self
        return self.model_copy(update={"anchors": derive_anchors(boxes, from_finest(strides, self.finest))})


class FoundBox(Answer):
    """One thing that was found."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the image, from its left upper corner."""
    label: str
    score: float
    """How sure the model is, in [0, 1]."""
    sure: bool
    """Whether the score reaches the operating point; less sure ones are neither drawn nor counted in a summary."""


class DetectionAnswer(Answer):
    """What was found, best first."""

    boxes: tuple[FoundBox, ...]

    def summary(self) -> Mapping[str, str]:
        counts = Counter(one.label for one in self.boxes if one.sure)
        return {name: f"x{count}" for name, count in counts.most_common()}

    def decided(self) -> Sequence[tuple[str, float]]:
        return [(one.label, one.score) for one in self.boxes if one.sure]

    def marks(self) -> Marks:
        return Marks(boxes=tuple((one.box, one.label, one.score) for one in self.boxes if one.sure))

    def distance(self, other: Self) -> float:
        """Return by how much a sure box of either is off, in place or in score, from the nearest one of the other."""
        return max([0.0, *(gap for gap, _ in _gaps(self, other)), *(gap for gap, _ in _gaps(other, self))])

    def disagreement(self, other: Self) -> float:
        """Return the share of the sure boxes of both that overlap no box of their class in the other by a half."""
        apart = [overlap < _SAME for _, overlap in (*_gaps(self, other), *_gaps(other, self))]
        return sum(apart) / max(1, len(apart))


def _gaps(one: DetectionAnswer, other: DetectionAnswer) -> Iterator[tuple[float, float]]:
    """Yield for each sure box its gap to the nearest of its class in another answer, and its largest overlap there.

    A gap is what is lacking in overlap or the difference of scores, whichever is larger, and at most the score itself.
    """
    for box in one.boxes:
        if not box.sure:
            continue
        near = [candidate for candidate in other.boxes if candidate.label == box.label]
        corners = torch.tensor([candidate.box for candidate in near]).view(-1, 4)
        overlaps = box_iou(torch.tensor([box.box]), corners)[0].tolist()
        off = (abs(box.score - candidate.score) for candidate in near)
        gaps = (max(1 - overlap, gap) for overlap, gap in zip(overlaps, off, strict=True))
        yield min([box.score, *gaps]), max([0.0, *overlaps])


class Task(contract.Task):
    """A detector over the feature pyramid."""

    best_metric = "map50"
    metrics = ("map50", "map", "map75", "recall", "precision", "found", "false_per_image")
    lower = ("false_per_image",)
    answer_type = DetectionAnswer

    def __init__(self, name: str, options: Options, labels: LabelSchema, answering: Answering | None = None) -> None:
        super().__init__(name, options, labels, answering)
        self.finest, self.usual = options.finest, options.score
        self._detector = _DETECTORS[options.detector]

    @property
    def lowest(self) -> float:
        return self.answering.tempered(self.options.min_score)

    @property
    def most(self) -> int:
        return int(self.options.max_boxes)

    def thresholds(self) -> dict[str, float]:
        names = self.labels.names
        return dict(zip(names, self.answering.of_classes(names, SURE), strict=True))

    def build_head(self, inputs: HeadInputs) -> nn.Module:
        """Return the detector's network.

        Raises:
            ConfigError: there is not one size of anchors for each map.
        """
        options, classes = self.options, len(self.labels.names)
        strides = from_finest(inputs.strides, options.finest)
        anchors = options.anchors or usual(strides)
        if len(anchors.sizes) != len(strides):
            raise ConfigError(
                f"tasks.{self.name}.anchors.sizes: {len(anchors.sizes)} sizes; {options.detector} looks at "
                f"{len(strides)} maps here, with strides of {', '.join(f'{one:g}' for one in strides)} pixels; give "
                "one size for each, or leave anchors out"
            )
        if options.detector == "fcos":
            return Fcos(inputs, strides, anchors, classes, options.width or inputs.num_channels, options.convs)
        return FasterRcnn(inputs, strides, anchors, classes, options.width or 1024, options.proposals)

    def labelled(self, targets: Tensor) -> Tensor:
        return (targets[..., 4] != NO_LABEL).all(dim=1)

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the labelled images' losses; an image labelled with no box teaches background."""
        labelled = self.labelled(targets)
        each = self._detector.loss(outputs, targets)
        return torch.where(labelled, each, 0.0).sum(), labelled.sum()

    def readout(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        boxes, scores = self._detector.candidates(outputs)
        return {"boxes": boxes.detach().float(), "scores": scores.detach().float()}

    def reading(self) -> dict[str, Any]:
        options, rule = self.options, self.answering
        return {
            "outputs": {
                "boxes": "(B, N, K, 4) float32: x0, y0, x1, y1 in pixels of the input; K is 1, or C where every class "
                "has a box of its own",
                "scores": "(B, N, C) float32: the score of each class in [0, 1]",
            },
            "classes": list(self.labels.names),
            "min_score": options.min_score,
            "candidates": _CANDIDATES,
            "nms_iou": options.nms,
            "max_boxes": options.max_boxes,
            "temperature": rule.temperature,
            "thresholds": self.thresholds(),
            "steps": [
                "every place and class whose score is at least min_score is a box: [n, c] has the box [n, c], or "
                "[n, 0] where K is 1",
                "keep the best candidates of them by score, the first of equal ones",
                "bring them into pixels of the image, cut them off at its edges, and drop those without an area",
                "non-maximum suppression class by class: of two boxes that overlap by more than nms_iou (intersection "
                "over union) the one of the lower score is dropped",
                "keep the best max_boxes of them by score",
                "of each, the score that is answered is sigmoid(log(score / (1 - score)) / temperature); it is sure "
                "where that reaches the threshold of its class",
            ],
        }

    def read(self, readout: Mapping[str, Tensor], placements: Sequence[Placement]) -> list[DetectionAnswer]:
        boxes, scores = readout["boxes"].cpu(), readout["scores"].cpu()
        return [self._answer(*image) for image in zip(boxes, scores, placements, strict=True)]

    def _answer(self, boxes: Tensor, scores: Tensor, placement: Placement) -> DetectionAnswer:
        """Return the best of (N, 1 or C, 4) boxes with (N, C) scores."""
        place, kind = (scores >= self.options.min_score).nonzero(as_tuple=True)
        best = scores[place, kind].argsort(descending=True, stable=True)[:_CANDIDATES]
        place, kind = place[best], kind[best]
        found = boxes[place, kind if boxes.shape[1] > 1 else 0]
        laid = torch.from_numpy(placement.boxes_back(found.numpy()))
        inside = ((laid[:, 2:] - laid[:, :2]) > 0).all(dim=1).nonzero().squeeze(1)
        laid, kind, sure = laid[inside], kind[inside], scores[place, kind][inside]
        kept = batched_nms(laid, sure, kind, self.options.nms)[: self.options.max_boxes]
        rows = zip(laid[kept].tolist(), kind[kept].tolist(), sure[kept].tolist(), strict=True)
        return DetectionAnswer(boxes=tuple(self._box(tuple(box), at, score) for box, at, score in rows))

    def _box(self, box: tuple[float, float, float, float], place: int, score: float) -> FoundBox:
        label, score = self.labels.names[place], self.answering.tempered(score)
        return FoundBox(box=box, label=label, score=score, sure=score >= self.answering.of_classes([label], SURE)[0])

    def tensor_facts(self) -> dict[str, TensorFacts]:
        return {
            "count": TensorFacts("INT64", (), "how many boxes were found; rows of the others are filled up beyond"),
            "boxes": TensorFacts("FP32", (-1, 4), "x0, y0, x1, y1 in pixels of the image, best first; 0 beyond"),
            "labels": TensorFacts("INT64", (-1,), "index of the class of each box; -1 beyond"),
            "scores": TensorFacts("FP32", (-1,), "score of each box; 0 beyond"),
            "sure": TensorFacts(
                "INT64", (-1,), "1 where the score reaches the operating point; 0 where not, or beyond"
            ),
        }

    def tensors(self, answers: Sequence[DetectionAnswer]) -> dict[str, Array]:
        index, found = self.labels.index, [one.boxes for one in answers]
        boxes = [np.array([box.box for box in each], np.float32).reshape(-1, 4) for each in found]
        return {
            "count": np.array([len(each) for each in found], np.int64),
            "boxes": filled(boxes, 0),
            "labels": filled([np.array([index[box.label] for box in each], np.int64) for each in found], -1),
            "scores": filled([np.array([box.score for box in each], np.float32) for each in found], 0),
            "sure": filled([np.array([box.sure for box in each], np.int64) for each in found], 0),
        }

    def meter(self) -> "BoxAnswers":
        thresholds = self.answering.of_classes(self.labels.names, self.usual)
        return BoxAnswers(self.labels, thresholds, self.options.max_boxes)

    def sample(self, answers: Sequence[DetectionAnswer], annotations: Sequence[Annotation]) -> BoxSample:
        meter = self.meter()
        meter.update(answers, annotations)
        return BoxSample(self.labels.names, meter.images, meter.thresholds, self.options.max_boxes)


class BoxAnswers(BoxMeter):
    """Box metrics over answers."""

    def __init__(self, schema: LabelSchema, thresholds: Sequence[float], most: int) -> None:
        super().__init__(schema.names, thresholds, most)
        self.schema = schema

    def update(self, answers: Sequence[DetectionAnswer], annotations: Sequence[Annotation]) -> None:
        for answer, truth in zip(answers, annotations, strict=True):
            if isinstance(truth, Boxes):
                ones = np.ones(len(truth.boxes))
                self.add(self.as_boxes(answer), ImageBoxes(truth.boxes.astype(np.float64), truth.labels, ones))

    def as_boxes(self, answer: DetectionAnswer) -> ImageBoxes:
        """Return an answer as arrays."""
        return ImageBoxes(
            np.array([one.box for one in answer.boxes], dtype=np.float64).reshape(-1, 4),
            np.array([self.schema.index[one.label] for one in answer.boxes], dtype=np.int64),
            np.array([one.score for one in answer.boxes], dtype=np.float64),
        )
