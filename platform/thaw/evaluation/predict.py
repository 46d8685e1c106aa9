"""Answering for image files in this process, without a cluster: the same answer that HTTP gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw import overlay, predictor
from thaw.backends.load import load
from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.errors import ConfigError, DataError
from thaw.overlay import Colour
from thaw.predictor import Answers
from thaw.registry import store
from thaw.storage import open_root

_BATCH = 32


@dataclass(frozen=True)
class Answered:
    """What came of some image files; every path is in ``answers`` or in ``refused``.

    Attributes:
        answers: path -> answers by task.
        refused: path -> why it is no usable image.
        overlays: path -> the picture of its answers, where pictures were asked for.
    """

    answers: Mapping[str, Answers]
    refused: Mapping[str, str]
    overlays: Mapping[str, str]


def predict(
    storage_root: str,
    reference: str,
    images: Sequence[Path],
    limits: Limits,
    overlays: Path | None = None,
    artifact: str | None = None,
) -> Answered:
    """Return the answers to image files.

    Args:
        overlays: a folder for one picture of the answers to each image.
        artifact: name of one of the model's artifacts, to answer in its place.

    Raises:
        StorageError: there is no such model or artifact.
        DataError: none of the files can be used.
        ConfigError: pictures cannot be written to the folder.
    """
    places = _places(images, overlays) if overlays else {}
    root = open_root(storage_root)
    loaded = load(root, store.resolve(root, reference), artifact)
    colours = overlay.palette(loaded.description.labels)
    answers: dict[str, Answers] = {}
    refused: dict[str, str] = {}
    for batch in _batches([str(image) for image in images]):
        decoded = _decoded(batch, limits, refused)
        given = dict(zip(decoded, predictor.answer(loaded, list(decoded.values())), strict=True))
        answers |= given
        if overlays:
            _draw(decoded, given, places, colours)
    if refused and not answers:
        first, reason = next(iter(refused.items()))
        raise DataError(f"none of {len(refused)} images can be answered; the first: {first}: {reason}")
    return Answered(answers, refused, {path: str(place) for path, place in places.items() if path in answers})


def _decoded(batch: Sequence[str], limits: Limits, refused: dict[str, str]) -> dict[str, NDArray[np.uint8]]:
    """Return path -> image, and note the others among the refused."""
    decoded = {}
    for path in batch:
        try:
            decoded[path] = quality.decode(Path(path).read_bytes(), limits)
        except OSError as error:
            refused[path] = f"unreadable: {error.strerror}"
        except quality.BadImage as error:
            refused[path] = str(error)
    return decoded


def _places(images: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return path -> the picture to write; images of one name in different folders get different pictures.

    Raises:
        ConfigError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--overlay: {folder} is no folder to write to: {error.strerror}; name another") from None
    places: dict[str, Path] = {}
    taken: set[str] = set()
    for image in dict.fromkeys(images):
        name, number = image.stem, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{image.stem}-{number}"
        taken.add(name.casefold())
        places[str(image)] = folder / f"{name}.overlay.png"
    return places


def _draw(
    images: Mapping[str, NDArray[np.uint8]],
    answers: Mapping[str, Answers],
    places: Mapping[str, Path],
    colours: Mapping[str, Colour],
) -> None:
    for path, image in images.items():
        try:
            overlay.draw(image, answers[path], colours).save(places[path], "PNG")
        except OSError as error:
            raise ConfigError(f"--overlay: {places[path]} cannot be written: {error.strerror}; name another") from None


def _batches(images: Sequence[str]) -> Iterator[Sequence[str]]:
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
