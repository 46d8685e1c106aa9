"""Label schemas: class name <-> class index, once for training, evaluation and serving.

A schema is the sorted list of names with a fingerprint; it is saved with the dataset and with the bundle.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from thaw.config.experiment import AnnotationKind
from thaw.data.sources.contract import RawLabel
from thaw.errors import DataError

Annotation = int | tuple[int, ...] | None
"""A class index, the indices of a set of classes, or None where the image has no label."""


class LabelSchema(BaseModel):
    """The classes of one task, in the order of the head's outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: AnnotationKind
    names: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Class name -> class index."""
        return {name: place for place, name in enumerate(self.names)}

    @property
    def fingerprint(self) -> str:
        """Short hash of kind and names: equal schemas mean interchangeable heads."""
        content = json.dumps([self.kind, self.names], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @classmethod
    def learn(cls, task: str, kind: AnnotationKind, labels: Iterable[RawLabel], allowed: Sequence[str] | None) -> Self:
        """Return the schema of the names found, or of the ``allowed`` ones where they are given.

        Raises:
            DataError: there are fewer names than a task of this kind needs.
        """
        names = set(allowed) if allowed is not None else {name for label in labels for name in as_names(label)}
        fewest = 2 if kind == "class" else 1
        if len(names) < fewest:
            raise DataError(
                f"tasks.{task}: {len(names)} class name(s) found ({', '.join(sorted(names)) or 'none'}), at least "
                f"{fewest} needed; is tasks.{task}.column the right column?"
            )
        return cls(kind=kind, names=tuple(sorted(names)))

    def encode(self, label: RawLabel) -> Annotation:
        """Return the class index, or indices, of a raw label; None stays None.

        Raises:
            KeyError: a name is not in the schema.
        """
        if label is None:
            return None
        if self.kind == "classes":
            return tuple(sorted({self.index[name] for name in as_names(label)}))
        [name] = as_names(label)
        return self.index[name]

    def targets(self, annotations: Sequence[Annotation]) -> NDArray[np.int64]:
        """Return what a loss compares with: -1 stands for a missing label.

        Returns:
            (B,) class indices for ``class``; (B, C) zeros and ones for ``classes``.
        """
        if self.kind == "class":
            return np.array([-1 if one is None else one for one in annotations], dtype=np.int64)
        hot = np.zeros((len(annotations), len(self.names)), dtype=np.int64)
        for row, one in zip(hot, annotations, strict=True):
            if one is None:
                row[:] = -1
            elif isinstance(one, Sequence):
                row[list(one)] = 1
        return hot


def as_names(label: RawLabel) -> tuple[str, ...]:
    """Return the class names in a raw label; none when it is missing."""
    if label is None:
        return ()
    return (label,) if isinstance(label, str) else tuple(dict.fromkeys(label))


def counts(schema: LabelSchema, labels: Iterable[RawLabel]) -> Mapping[str, int]:
    """Return how many labels name each class of the schema."""
    found = dict.fromkeys(schema.names, 0)
    for label in labels:
        for name in as_names(label):
            found[name] += 1
    return found
