"""Answering for image files in this process, without a cluster: the same answer that HTTP gives."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from thaw import bundle, predictor
from thaw.config.experiment import Limits
from thaw.data import quality
from thaw.errors import DataError
from thaw.registry import store
from thaw.storage import local_cache, open_root

_BATCH = 32


def predict(
    storage_root: str, reference: str, images: Sequence[Path], limits: Limits
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return path -> answers by task, and path -> reason for every file that is no usable image.

    Raises:
        StorageError: there is no such model.
        DataError: none of the files can be used.
    """
    root = open_root(storage_root)
    loaded = bundle.load(store.fetch(root, store.resolve(root, reference), local_cache()))
    answers: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for batch in _batches(images):
        decoded = {}
        for path in batch:
            try:
                decoded[str(path)] = quality.decode(path.read_bytes(), limits)
            except OSError as error:
                refused[str(path)] = f"unreadable: {error.strerror}"
            except quality.BadImage as error:
                refused[str(path)] = str(error)
        given = predictor.answer(loaded, list(decoded.values()))
        answers.update(zip(decoded, map(predictor.as_json, given), strict=True))
    if refused and not answers:
        first, reason = next(iter(refused.items()))
        raise DataError(f"none of {len(refused)} images can be answered; the first: {first}: {reason}")
    return answers, refused


def _batches(images: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
