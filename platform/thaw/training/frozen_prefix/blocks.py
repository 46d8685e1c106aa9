"""Blocks: what is kept of some consecutive images of a split, and how batches are made of it.

Arrays keep the precision in which they were computed and the order in memory in which the next layer wants them.
Where blocks are kept is not told here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thaw.backbones.split import Cut
from thaw.data.feed import TARGET
from thaw.data.labels import LabelSchema
from thaw.training.step import CUT, Batch

_MOST_ROWS = 64
_MOST_PIXELS = 2**25
"""Bytes of pixels that one block is computed from: enough to keep the processor busy, little beside a training step."""


def block_rows(size: int) -> int:
    """Return the images of a block for square inputs of ``size`` pixels.

    It depends on nothing else, so that runs with other batches or numbers of workers can use the same blocks.
    """
    return max(1, min(_MOST_ROWS, _MOST_PIXELS // (3 * size**2)))


@dataclass(frozen=True)
class _Form:
    """What numpy cannot say of a tensor: a type of its own, and that channels come last in memory."""

    dtype: torch.dtype
    channels_last: bool


@dataclass(frozen=True)
class Block:
    """The cut tensors and targets of consecutive images, by their names in a batch; rows are images."""

    arrays: Mapping[str, NDArray[Any]]
    forms: Mapping[str, _Form]

    @classmethod
    def of(cls, cut: Cut, batch: Batch) -> Self:
        """Return the block of what the frozen layers made of a batch."""
        targets = {name: np.asarray(value) for name, value in batch.items() if name.startswith(TARGET)}
        forms = {CUT + name: _Form(tensor.dtype, _is_channels_last(tensor)) for name, tensor in cut.items()}
        arrays = {CUT + name: _as_array(tensor, forms[CUT + name]) for name, tensor in cut.items()}
        return cls({**arrays, **targets}, forms)

    @property
    def rows(self) -> int:
        """Its images."""
        return len(next(iter(self.arrays.values())))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class Kept:
    """All that is kept of a split.

    Attributes:
        blocks: view -> its blocks in order; all but the last one have ``block_rows`` images.
        labels: task name -> schema.
        size: side of the square input, in pixels.
    """

    blocks: Mapping[int, Sequence[Block]]
    block_rows: int
    labels: Mapping[str, LabelSchema]
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(block.nbytes for blocks in self.blocks.values() for block in blocks)

    def batch(self, view: int, rows: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the batch of some images of the split, just as it would be made of their pixels."""
        blocks = self.blocks[view]
        places = [divmod(int(row), self.block_rows) for row in rows]
        first = blocks[places[0][0]]
        found: dict[str, NDArray[Any] | Tensor] = {}
        for name, form in first.forms.items():
            found[name] = _as_tensor(_gathered(name, blocks, places), form)
        for task, schema in self.labels.items():
            found[TARGET + task] = self._targets(TARGET + task, schema, blocks, places)
        return found

    def _targets(
        self, name: str, schema: LabelSchema, blocks: Sequence[Block], places: Sequence[tuple[int, int]]
    ) -> NDArray[Any]:
        if schema.kind != "boxes":
            return _gathered(name, blocks, places)
        # How many rows the targets of boxes have depends on the images beside which they are.
        single = [schema.annotations(blocks[block].arrays[name][row : row + 1])[0] for block, row in places]
        return schema.targets(single, self.size)


def _gathered(name: str, blocks: Sequence[Block], places: Sequence[tuple[int, int]]) -> NDArray[Any]:
    like = blocks[places[0][0]].arrays[name]
    found = np.empty((len(places), *like.shape[1:]), dtype=like.dtype)
    for place, (block, row) in enumerate(places):
        found[place] = blocks[block].arrays[name][row]
    return found


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _as_array(tensor: Tensor, form: _Form) -> NDArray[Any]:
    plain = tensor.detach().permute(0, 2, 3, 1) if form.channels_last else tensor.detach()
    plain = plain.contiguous().cpu()
    found: NDArray[Any] = (plain.view(torch.uint16) if form.dtype == torch.bfloat16 else plain).numpy()
    return found


def _as_tensor(array: NDArray[Any], form: _Form) -> Tensor:
    tensor = torch.from_numpy(array)
    tensor = tensor.view(torch.bfloat16) if form.dtype == torch.bfloat16 else tensor
    return tensor.permute(0, 3, 1, 2) if form.channels_last else tensor
