"""Rollout: how a version is tried on requests, and from what on it is taken back."""

from typing import Annotated

from pydantic import Field, PositiveInt

from thaw.config.parts import Section

_Share = Annotated[float, Field(ge=0, le=1)]


class Rollout(Section):
    """Bounds beyond which a version that is being tried is taken back, measured against what else answers.

    A bound counts as crossed once chance does not explain it, not when a figure happens to lie beyond it.
    """

    min_requests: PositiveInt = 200
    """Images that the version must have answered before it is judged by anything but its errors."""
    max_errors: _Share = 0.01
    """By how much its share of images that it fails to answer may exceed that of what answers without it."""
    max_latency_ratio: Annotated[float, Field(ge=1, le=1000)] = 2.0
    """How many times as long it may take to answer 95 of 100 images."""
    max_disagreement: _Share = 0.15
    """What share of its answers may differ: of whole images the class, of boxes and pixels those that differ."""
    max_abstained: _Share = 0.1
    """By how much its share of answers of which it is unsure may differ, up or down."""
    compared: _Share = 0.5
    """Share of the images answered by the version that is tried which the other one answers too, in the background, to
    measure disagreement. While images wait for their turn, none are."""
