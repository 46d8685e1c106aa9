"""Part: the answers to some images of a folder, in one Parquet file, and whether it still says what it would say anew.

A part holds the images whose keys begin with the same bits, so images that are added change few parts. What it was
made of, the model and the images with their stamps, is kept as a hash in the file itself: whoever is interrupted, or
comes back to a folder that has grown, answers only what is missing or has changed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from thaw import lock
from thaw.config.limits import Limits
from thaw.errors import ConfigError
from thaw.storage import Root

SCHEMA = pa.schema({"image": pa.string(), "answers": pa.string(), "refused": pa.string()})
"""Path below the folder; answers by task as JSON, as HTTP gives them; why it is no usable image. One of the two."""
BEGUN = "begun.json"
"""Whose parts lie in a folder; they are left to nobody else."""
UNREADABLE = "unreadable"
"""Why an image is refused that another time, or another node, may read: a part with such is made anew."""
_VERSION = 1
_KEY = b"thaw"
_BEGINS, _ENDS = "part", ".parquet"
_FEWEST, _MOST, _PARTS = 16, 1024, 64


@dataclass(frozen=True)
class Counted:
    """What a part holds.

    Attributes:
        images: in it.
        refused: reason -> how many of them.
        was_there: it was as it should be, and was left alone.
    """

    images: int
    refused: Mapping[str, int]
    was_there: bool = False


def claim(root: Root, own: Mapping[str, str]) -> None:
    """Write down whose parts will lie in a folder, before the first one does.

    Args:
        own: ``model`` and ``images``, in words, and whatever else tells them from others.

    Raises:
        ConfigError: parts of others do.
    """
    with lock.hold(root, BEGUN):
        there = root.read_json(BEGUN) if root.exists(BEGUN) else None
        if there is None and others(root, []):
            raise ConfigError(
                f"--out: {root} holds files that are called like parts, and nothing says whose; name another"
            )
        if there not in (None, own):
            raise ConfigError(
                f"--out: {root} holds answers of {there.get('model')} to {there.get('images')}; name another place, or "
                "remove them"
            )
        root.write_json(BEGUN, own)


def most_images(total: int) -> int:
    """Return how many images a part may hold: enough parts for many nodes, and none too large to lose.

    It follows from the images alone, so that a larger cluster finds the parts of a smaller one.
    """
    return min(_MOST, max(_FEWEST, total // _PARTS))


def file_of(bits: str) -> str:
    """Return the name of the file of a part."""
    return f"{_BEGINS}{bits}{_ENDS}"


def lacking(root: Root, bits: Sequence[str]) -> list[str]:
    """Return the files of these parts that are not there."""
    there = set(root.list(""))
    return [name for name in map(file_of, bits) if name not in there]


def others(root: Root, bits: Sequence[str]) -> list[str]:
    """Return the files of parts that are not among these, such as those of images that are gone."""
    wanted = {file_of(one) for one in bits}
    return [name for name in root.list("") if _is_part(name) and name not in wanted]


def mark(identity: str, limits: Limits, images: Sequence[str], stamps: Sequence[str | None]) -> str | None:
    """Return a hash of all that a part's answers follow from; None where the images cannot be told from others."""
    if None in stamps:
        return None
    made_of = [_VERSION, identity, limits.model_dump(), list(zip(images, stamps, strict=True))]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def kept(root: Root, bits: str, wanted: str | None) -> Counted | None:
    """Return what a part holds that is there and has this mark."""
    path = file_of(bits)
    if wanted is None or not root.exists(path):
        return None
    try:
        metadata = pq.read_schema(pa.BufferReader(root.read_bytes(path))).metadata or {}
        known = json.loads(metadata.get(_KEY, b"{}"))
    except (pa.ArrowException, ValueError):  # not one of ours, or cut short: it is written anew
        return None
    if known.get("mark") != wanted:
        return None
    return Counted(known["images"], known["refused"], was_there=True)


def write(
    root: Root, bits: str, made_of: str | None, answers: Mapping[str, str], refused: Mapping[str, tuple[str, str]]
) -> Counted:
    """Write a part, and return what it holds.

    Args:
        answers: image -> its answers as JSON.
        refused: image -> a short code of why it is no usable image, and a sentence.
    """
    counted = Counted(len(answers) + len(refused), dict(Counter(code for code, _ in refused.values())))
    rows: list[tuple[str, str | None, str | None]] = [(image, given, None) for image, given in answers.items()]
    rows += [(image, None, told) for image, (_, told) in refused.items()]
    columns = [list(column) for column in zip(*sorted(rows), strict=True)]
    known = {"mark": None if UNREADABLE in counted.refused else made_of, **asdict(counted)}
    table = pa.table(columns, SCHEMA.with_metadata({_KEY: json.dumps(known).encode()}))
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    root.write_bytes(file_of(bits), buffer.getvalue().to_pybytes())
    return counted


def _is_part(name: str) -> bool:
    inner = name.removeprefix(_BEGINS).removesuffix(_ENDS)
    return name == file_of(inner) and not set(inner) - {"0", "1"}
