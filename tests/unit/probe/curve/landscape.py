"""Images of three kinds that overlap, so that heads get better with more of them and never perfect; a made-up curve."""

import numpy as np

from thaw import bundle
from thaw.config.experiment import TaskOptions
from thaw.data.labels import LabelSchema
from thaw.probe.curve.curve import Curve, Point
from thaw.probe.curve.reach import Reach
from thaw.probe.curve.target import ClassReach, Target
from thaw.probe.embedding import Vectors
from thaw.tasks import classification, multilabel
from thaw.tasks.contract import Task

NAMES = ("oat", "rye", "spelt")


def tasks() -> dict[str, Task]:
    options: dict[str, TaskOptions] = {
        "kind": classification.Options(type="classification"),
        "tags": multilabel.Options(type="multilabel"),
    }
    labels = {"kind": LabelSchema(kind="class", names=NAMES), "tags": LabelSchema(kind="classes", names=NAMES)}
    return bundle.build_tasks(options, labels)


def vectors(images: int, seed: int, features: int = 20, spread: float = 0.7) -> Vectors:
    random = np.random.default_rng(seed)
    truth = np.arange(images) % len(NAMES)
    seen = np.eye(len(NAMES), features)[truth] + spread * random.normal(size=(images, features))
    tags = np.eye(len(NAMES), dtype=np.int64)[truth]
    return Vectors(seen.astype(np.float32), {"kind": truth.astype(np.int64), "tags": tags})


def curve(reach: Reach | None = None, classes: dict[str, ClassReach] | None = None, task: str = "kind") -> Curve:
    """Return a curve of 1,000 images whose accuracy is 0.8 and whose target is 0.9, where something is said of it."""
    target = None if reach is None else Target(value=0.9, reach=reach, classes=classes or {})
    return Curve(
        task=task,
        metric="accuracy",
        images=1000,
        val=200,
        sizes=(100, 300, 1000),
        values=((0.6, 0.62), (0.7, 0.71), (0.8, 0.8)),
        floor=0.1,
        height=0.1,
        exponent=0.5,
        ahead=tuple(
            Point(images=images, value=value, low=value - 0.04, high=value + 0.02)
            for images, value in ((100, 0.6), (1000, 0.8), (2000, 0.83), (10000, 0.87))
        ),
        target=target,
    )
