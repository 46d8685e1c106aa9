"""Blocks give back what they were made of, in the same precision and the same order in memory."""

from typing import Any

import numpy as np
import pytest
import torch

from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.training.frozen_prefix.blocks import Block, Kept, block_rows

LABELS = {
    "kind": LabelSchema(kind="class", names=("a", "b")),
    "place": LabelSchema(kind="boxes", names=("a",)),
}


def _boxes(number: int) -> Annotation:
    return Boxes(np.full((number, 4), number, dtype=np.float32), np.zeros(number, dtype=np.int64))


PLACES: list[Annotation] = [_boxes(1), None, _boxes(3), _boxes(0), _boxes(2)]
KINDS: list[Annotation] = [0, 1, None, 0, 1]


def _cut(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    values = torch.rand(5, 4, 2, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    return {"plain": values, "last": values.contiguous(memory_format=torch.channels_last), "pooled": values[:, 0, 0]}


def _targets(rows: list[int]) -> dict[str, Any]:
    return {
        "target.kind": LABELS["kind"].targets([KINDS[row] for row in rows], 8),
        "target.place": LABELS["place"].targets([PLACES[row] for row in rows], 8),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 2, 2], [3], [1, 3]])
def test_batches_are_those_that_the_images_would_make(dtype: torch.dtype, rows: list[int]) -> None:
    cut = _cut(dtype)
    parts = [(0, 3), (3, 5)]
    blocks = [
        Block.of({name: value[slice(*part)] for name, value in cut.items()}, _targets(list(range(*part))))
        for part in parts
    ]
    batch = Kept({7: blocks}, 3, LABELS, 8).batch(7, rows)
    assert set(batch) == {"cut.plain", "cut.last", "cut.pooled", "target.kind", "target.place"}
    for name, value in cut.items():
        found = torch.as_tensor(batch[f"cut.{name}"])
        assert found.dtype == dtype
        assert torch.equal(found, value[rows])
        if name == "last":
            assert found.is_contiguous(memory_format=torch.channels_last)
    for name, expected in _targets(rows).items():
        assert np.array_equal(batch[name], expected)


def test_a_block_tells_its_size() -> None:
    block = Block.of({"pooled": torch.zeros(5, 10)}, {"target.kind": np.zeros(5, dtype=np.int64)})
    assert (block.rows, block.nbytes) == (5, 5 * (40 + 8))


@pytest.mark.parametrize(("size", "rows"), [(32, 64), (224, 64), (512, 42), (2048, 2)])
def test_blocks_are_smaller_where_images_are_large(size: int, rows: int) -> None:
    assert block_rows(size) == rows
