"""Precision: bf16 where it pays, fp32 where it does not.

On processors with bf16 arithmetic, oneDNN is faster in it than in fp32, but for one thing: the backward pass of
depthwise convolutions with a stride or a large kernel, which is two to three times slower and eats the gain. With those
in fp32, a step of EfficientNet-Lite0 takes 0.8 (160 px) to 0.6 (224 px) of its time in fp32 (2 cores, AVX-512 BF16).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from thaw import processor

DTYPES: Mapping[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What ``train.precision`` says -> what autocast computes in; None leaves everything as it is."""


def best(device: str) -> Literal["fp32", "bf16"]:
    """Return bf16 where this machine multiplies it in hardware, else fp32.

    Args:
        device: ``cuda`` or ``cpu``.
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = processor.facts()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def name(autocast: torch.dtype | None) -> str:
    """Return what ``train.precision`` calls a type of autocast."""
    return next(known for known, dtype in DTYPES.items() if dtype == autocast)


def learn_depthwise_in_fp32(model: nn.Module) -> None:
    """Make the convolutions whose backward pass is slow on a CPU in half precision compute in fp32 where they learn."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _is_slow_backwards(module):
            module.forward = _Fp32Where(module)  # type: ignore[method-assign,assignment]


def _is_slow_backwards(conv: nn.Conv2d) -> bool:
    is_depthwise = conv.groups > 1 and conv.groups == conv.in_channels
    return is_depthwise and (max(conv.stride) > 1 or max(conv.kernel_size) > 3)


class _Fp32Where:
    """A convolution's forward pass: in fp32 where a backward pass will follow, else as it was."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self._usual = conv.forward
        self._weight = conv.weight

    def __call__(self, maps: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (maps.requires_grad or self._weight.requires_grad)
        if not (learns and torch.is_autocast_enabled("cpu")):
            return self._usual(maps)
        with torch.autocast("cpu", enabled=False):
            return self._usual(maps.float()).to(torch.get_autocast_dtype("cpu"))
