"""Which published metric, with what averaging; the arithmetic is torchmetrics'."""
