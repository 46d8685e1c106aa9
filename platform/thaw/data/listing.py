"""Listing: what a source names, as columns rather than objects, in the order of its images' keys.

A key is a hash of an image's id. Whatever is ordered or cut goes by keys, so neither the order in which a source lists
nor what an image shows has any part in it: images that are neighbours by their keys have nothing else in common.
"""

import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from thaw.data.sources.contract import Reference

_SCHEMA = pa.schema({"key": pa.uint64(), "reference": pa.string()})
_CHUNK = 4096
_REFERENCE = TypeAdapter(Reference)


def key(image_id: str) -> int:
    """Return the key of an image: 64 bits."""
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "big")


def listed(references: Iterable[Reference], columns: Collection[str]) -> pa.Table:
    """Return ``key`` and ``reference`` of every image by ascending key; an image listed twice as it was listed.

    Args:
        columns: those whose labels are kept.
    """
    named = iter(references)
    chunks = [_chunk(some, columns) for some in iter(lambda: list(itertools.islice(named, _CHUNK)), [])]
    table = pa.concat_tables([_SCHEMA.empty_table(), *chunks])
    return table.take(np.argsort(table["key"].to_numpy(), kind="stable")).combine_chunks()


def references(listing: pa.Table) -> Iterator[Reference]:
    """Yield the images of a listing."""
    for text in listing["reference"]:
        yield _REFERENCE.validate_python(json.loads(text.as_py()))


def _chunk(some: Sequence[Reference], columns: Collection[str]) -> pa.Table:
    texts = [json.dumps(_REFERENCE.dump_python(_only(one, columns))) for one in some]
    return pa.table({"key": [key(one.id) for one in some], "reference": texts}, _SCHEMA)


def _only(one: Reference, columns: Collection[str]) -> Reference:
    labels = {column: label for column, label in one.labels.items() if column in columns}
    return Reference(one.id, labels, one.split, one.group)
