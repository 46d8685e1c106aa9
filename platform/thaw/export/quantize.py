"""Quantize: an ONNX network in 8 or 16 bits, by ONNX Runtime's own tools.

Eight bits are static: the range of what passes between layers is measured once, on images. Only layers with weights and
what lies between them in the backbone compute in 8 bits; pixels, boxes and probabilities never do. Weights have a scale
for each channel. How much is lost is for the gate to say.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thaw.backends.formats.contract import needed
from thaw.backends.formats.onnx import EXTRA
from thaw.backends.network import INPUT

Method = Literal["minmax", "percentile", "entropy"]

_METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
IMAGES = {"minmax": 128, "percentile": 24, "entropy": 24}
"""Images that ranges are measured on: those by histogram hold all that passes between layers in memory."""
_WEIGHTED = ("Conv", "Gemm", "MatMul")
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Mul", "Relu")
"""What is computed in 8 bits too where it lies in the backbone, so that there is no change of precision between."""
_BACKBONE = re.compile(r"model\.backbone\b")
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter notes which module a node came from."""


@dataclass(frozen=True)
class Way:
    """One way to quantize.

    Attributes:
        method: how ranges are found.
        whole: the heads and their pyramid too, not the backbone alone.
    """

    method: Method
    whole: bool

    def __str__(self) -> str:
        return f"{self.method}{'' if self.whole else ', heads and pyramid left in fp32'}"


WAYS = tuple(Way(method, whole) for whole in (True, False) for method in ("minmax", "percentile", "entropy"))
"""All ways, in the order in which they are tried."""


def to_int8(source: Path, target: Path, pixels: Sequence[NDArray[np.uint8]], way: Way) -> None:
    """Write an fp32 network in 8 bits.

    Args:
        pixels: (1, 3, S, S) inputs that ranges are measured on; the first `IMAGES` are.

    Raises:
        ModelError: what is needed is not installed.
    """
    tools = needed("onnxruntime.quantization", EXTRA, "--int8")
    given = iter([{INPUT: one} for one in pixels[: IMAGES[way.method]]])

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(given, None)

    with _quietly():
        plain = target.with_suffix(".plain.onnx")
        tools.shape_inference.quant_pre_process(source, plain, skip_symbolic_shape=True)
        tools.quantize_static(
            plain,
            target,
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            nodes_to_quantize=_chosen(plain, way.whole),
            calibrate_method=getattr(tools.CalibrationMethod, _METHODS[way.method]),
            extra_options={"CalibPercentile": 99.99},
        )
        plain.unlink()


def to_fp16(source: Path, target: Path) -> None:
    """Write an fp32 network in 16 bits; what goes in and comes out stays as it is.

    Raises:
        ModelError: what is needed is not installed.
    """
    onnx = needed("onnx", EXTRA, "--fp16")
    float16 = needed("onnxruntime.transformers.float16", EXTRA, "--fp16")
    with _quietly():
        onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def _chosen(model: Path, whole: bool) -> list[str]:
    """Return the names of the nodes that are to compute in 8 bits."""
    onnx = needed("onnx", EXTRA, "--int8")
    return [
        node.name
        for node in onnx.load(model, load_external_data=False).graph.node
        if (node.op_type in _WEIGHTED and (whole or _is_in_backbone(node)))
        or (node.op_type in _BETWEEN and _is_in_backbone(node))
    ]


def _is_in_backbone(node: Any) -> bool:
    return any(one.key == _SCOPES and _BACKBONE.search(one.value) for one in node.metadata_props)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hush the tools' advice on how to use them, which is followed."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
