"""Limits: what is refused of an image before its pixels are decoded."""

from typing import Annotated

from pydantic import Field, PositiveInt

from thaw.config.parts import Section


class Limits(Section):
    """What is refused before its pixels are decoded."""

    max_bytes: PositiveInt = 64 * 2**20
    """Largest encoded image, in bytes."""
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = 100_000_000
    """Largest image, in pixels (width x height); Pillow decodes none beyond 178,956,970."""
