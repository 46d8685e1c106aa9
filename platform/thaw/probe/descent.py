"""Descent: where a smooth function is least, by L-BFGS."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def descend(parameters: Sequence[Tensor], value: Callable[[], Tensor], most_steps: int, tolerance: float) -> None:
    """Move parameters to where ``value`` is least.

    Args:
        tolerance: largest derivative at which the least counts as reached.

    Source: L-BFGS, Liu and Nocedal 1989, doi:10.1007/BF01589116, as in PyTorch.
    """
    found = torch.optim.LBFGS(
        parameters,
        max_iter=most_steps,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        found.zero_grad()
        now = value()
        now.backward()  # type: ignore[no-untyped-call]
        return now

    found.step(closure)  # type: ignore[no-untyped-call]
