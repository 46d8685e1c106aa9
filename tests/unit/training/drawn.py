"""Drawn images: a shape with a pattern on it, before a blurred ground, wherever, however large and in any colours."""

import io
from itertools import product

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from thaw.data import dataset
from thaw.data.labels import LabelSchema

SIDE = 48
SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "bar", "diamond", "half")
PATTERNS = ("plain", "checked", "striped")
NAMES = tuple(sorted(f"{shape}-{pattern}" for shape, pattern in product(SHAPES, PATTERNS)))


def table(task: str, names: tuple[str, ...], each: int, seed: int) -> pa.Table:
    """Return so many images of each class."""
    random = np.random.default_rng(seed)
    places = [place for place, _ in enumerate(names) for _ in range(each)]
    contents = [_encoded(_image(*names[place].split("-"), random)) for place in places]
    ids = [f"{seed}-{row}" for row, _ in enumerate(places)]
    labels = {task: LabelSchema(kind="class", names=names)}
    return dataset.table(ids, contents, [(SIDE, SIDE)] * len(ids), {task: places}, labels)


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _image(shape: str, pattern: str, random: np.random.Generator) -> NDArray[np.uint8]:
    ground = Image.fromarray(random.integers(30, 130, (8, 8, 3)).astype(np.uint8))
    pixels = np.asarray(ground.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    colours = random.integers(((150,), (0,)), ((256,), (60,)), (2, 3))
    radius, angle = random.uniform(8, 16), np.deg2rad(random.uniform(-90, 90))
    centre = random.uniform(radius, SIDE - radius, 2)
    down, right = np.indices((SIDE, SIDE))
    x, y = (right - centre[0]) / radius, (down - centre[1]) / radius
    inside = _inside(shape, x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle))
    second = {"plain": 0 * down, "checked": (down // 3 + right // 3) % 2, "striped": (down + right) // 3 % 2}[pattern]
    drawn = np.where(inside[..., None], colours[second], pixels) + random.integers(-30, 31, (SIDE, SIDE, 3))
    return np.clip(drawn, 0, 255).astype(np.uint8)


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a shape is that fills the square from -1 to 1."""
    far, wide = np.hypot(x, y), np.maximum(abs(x), abs(y))
    found: dict[str, NDArray[np.bool_]] = {
        "disc": far < 1,
        "ring": (far < 1) & (far > 0.5),
        "square": wide < 0.9,
        "frame": (wide < 0.9) & (wide > 0.5),
        "triangle": (y < 0.9) & (y > 2 * abs(x) - 1),
        "cross": (wide < 1) & (np.minimum(abs(x), abs(y)) < 0.3),
        "bar": (abs(x) < 1) & (abs(y) < 0.35),
        "diamond": abs(x) + abs(y) < 1.1,
        "half": (far < 1) & (y < 0),
    }
    return found[shape]
