"""Golden images: a few images with the answers that a model gave to them when it was finished.

They travel with it. Whatever loads the model later, with other libraries, on another processor or in another format,
answers them again first, and is refused where it answers otherwise. How good the answers are is not asked here.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from thaw import predictor
from thaw.config.experiment import Limits
from thaw.data import dataset, excerpt, quality
from thaw.data.dataset import Dataset
from thaw.data.quality import BadImage
from thaw.errors import ModelError
from thaw.predictor import Answers, Backend
from thaw.storage import Root

FILE = "golden.parquet"
IMAGES = 8
MAX_BYTES = 4 * 2**20
"""Most bytes of all encoded images together; larger images are passed over."""
TOLERANCE = 0.005
"""How far answers may be apart, as `Answer.distance` has it: other processors and libraries round otherwise."""
_LARGE, _SIDE = MAX_BYTES // IMAGES, 1024
"""Bytes beyond which an image is kept with a longer side of so many pixels."""
_TRIED = 3 * IMAGES
"""Images that are looked at, of which some may be too large."""


@dataclass(frozen=True)
class Golden:
    """One image and what was answered.

    Attributes:
        image: encoded, as it is stored in the dataset, or smaller where that is large.
    """

    id: str
    image: bytes
    answers: Answers


def draw(root: Root, prepared: Dataset, seed: int) -> dict[str, bytes]:
    """Return id -> encoded image of a few validation images, the same ones for the same seed."""
    rows = prepared.rows("val")
    known = dict(dataset.images_at(root, prepared, "val", excerpt.choose(rows, _TRIED, seed)))
    chosen = excerpt.choose(rows, IMAGES, seed)
    found: dict[str, bytes] = {}
    for place in (*chosen, *(one for one in known if one not in chosen)):
        name, image = known[place][0], _small(known[place][1])
        if len(found) < IMAGES and sum(map(len, found.values())) + len(image) <= MAX_BYTES:
            found[name] = image
    return found


def write(network: Backend, images: Mapping[str, bytes], folder: Path) -> None:
    """Write images and a network's answers to them into an existing folder; nothing where there is no image.

    Those that cannot be decoded within the usual limits are left out.
    """
    decoded = {name: pixels for name, image in images.items() if (pixels := _decoded(image)) is not None}
    if not decoded:
        return
    answers = predictor.answer(network, list(decoded.values()))
    table = {
        "id": pa.array(list(decoded), pa.string()),
        "image": pa.array([images[name] for name in decoded], pa.large_binary()),
        "answer": pa.array([json.dumps(predictor.as_json(one)) for one in answers], pa.string()),
    }
    pq.write_table(pa.table(table), folder / FILE, compression="none", use_dictionary=False)


def read(network: Backend, folder: Path) -> list[Golden]:
    """Return the golden images of a folder; none where it has none.

    Raises:
        ModelError: they cannot be read, or their answers are not of the network's tasks.
    """
    if not (folder / FILE).is_file():
        return []
    try:
        rows = pq.read_table(folder / FILE).to_pylist()
        stored = [(row["id"], row["image"], json.loads(row["answer"])) for row in rows]
        types = {name: task.answer_type for name, task in network.tasks.items()}
        return [
            Golden(name, image, {task: kind.model_validate(answer[task]) for task, kind in types.items()})
            for name, image, answer in stored
        ]
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / FILE}: not the golden images of this model: {error}") from None


def check(network: Backend, folder: Path, tolerance: float = TOLERANCE) -> float | None:
    """Answer the golden images of a folder and return how far the farthest answer is off; None where there are none.

    Raises:
        ModelError: that is more than the tolerance.
    """
    kept = read(network, folder)
    if not kept:
        return None
    answers = predictor.answer(network, [_pixels(one) for one in kept])
    off = [
        (stored.distance(answered[task]), task, one.id)
        for one, answered in zip(kept, answers, strict=True)
        for task, stored in one.answers.items()
    ]
    largest, task, name = max(off, key=lambda one: float("inf") if np.isnan(one[0]) else one[0])
    if not largest <= tolerance:
        raise ModelError(
            f"{folder}: this model does not answer here as it did when it was made: on golden image {name} task {task} "
            f"is {largest:.4f} off; {tolerance} is allowed. Its files or the libraries that read them have changed: "
            "compare the versions of torch, torchvision, timm, pillow and onnxruntime with those of its run"
        )
    return largest


def _small(image: bytes) -> bytes:
    pixels = _decoded(image) if len(image) > _LARGE else None
    if pixels is None:
        return image
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((_SIDE, _SIDE))
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _decoded(image: bytes) -> NDArray[np.uint8] | None:
    try:
        return quality.decode(image, Limits())
    except BadImage:
        return None


def _pixels(one: Golden) -> NDArray[np.uint8]:
    """Return the pixels of a golden image.

    Raises:
        ModelError: it cannot be decoded.
    """
    pixels = _decoded(one.image)
    if pixels is None:
        raise ModelError(f"golden image {one.id} cannot be decoded here; its file was changed")
    return pixels
