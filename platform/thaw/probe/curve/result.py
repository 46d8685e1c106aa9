"""Result: the learning curves of an experiment's tasks, as plain data, and where they are kept."""

from pydantic import BaseModel, ConfigDict

from thaw.probe.curve.curve import Curve

JSON, PAGE = "learning-curve.json", "learning-curve.html"
"""Files beside the shards, below the dataset's folder; a later call replaces them."""


class Result(BaseModel):
    """Curves of all tasks that can have one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """Its folder below the storage root."""
    backbone: str
    image_size: int
    curves: tuple[Curve, ...]
    left_out: dict[str, str]
    """Task -> why it has no curve."""
