"""Pictures in a page: small JPEGs side by side, with what is said of them."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

SIDE = 160
"""Pixels of the longer side of a picture, as wide as pages show it."""
_QUALITY = 75


@dataclass(frozen=True)
class Picture:
    """A JPEG, and its width and height in pixels."""

    content: bytes
    width: int
    height: int

    @classmethod
    def of(cls, image: Image.Image) -> "Picture":
        """Return an image as a page holds it."""
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=_QUALITY)
        return cls(encoded.getvalue(), image.width, image.height)


def case(beside: Sequence[tuple[str, Picture | None]], note: str, hidden: int = 0) -> str:
    """Return pictures that belong together, in a frame.

    Args:
        beside: what stands below each picture, and the picture, where there is one.
        note: what is said of all.
        hidden: how many more there are.
    """
    shown = "".join(_picture(name, picture) for name, picture in beside)
    more = f'<span class="more">and {hidden:,} more</span>' if hidden else ""
    told = f'<p class="note">{html.escape(note)}</p>' if note else ""
    kind = "case one" if len(beside) + hidden == 1 else "case"
    return f'<div class="{kind}"><div class="beside">{shown}{more}</div>{told}</div>'


def cases(found: Sequence[str], most: int) -> str:
    """Return cases in rows, those beyond ``most`` a click away."""
    rest = "".join(found[most:])
    shown = f'<div class="cases">{"".join(found[:most])}</div>' if found else ""
    if not rest:
        return shown
    told = f"{len(found) - most} more"
    return f'{shown}<details class="rest"><summary>{told}</summary><div class="cases">{rest}</div></details>'


def legend(colours: Sequence[tuple[str, tuple[int, int, int]]], most: int = 12) -> str:
    """Return which colour is which class."""
    named = "".join(
        f'<span><i style="background: rgb{colour}"></i>{html.escape(name)}</span>' for name, colour in colours[:most]
    )
    more = f"<span>and {len(colours) - most:,} more</span>" if len(colours) > most else ""
    return f'<p class="legend">{named}{more}</p>'


def _picture(name: str, picture: Picture | None) -> str:
    name = html.escape(name)
    if picture is None:
        return f'<div class="picture"><div class="none">no picture</div><span>{name}</span></div>'
    content = base64.b64encode(picture.content).decode("ascii")
    return (
        f'<div class="picture"><img src="data:image/jpeg;base64,{content}" width="{picture.width}" '
        f'height="{picture.height}" alt="{name}"><span>{name}</span></div>'
    )
