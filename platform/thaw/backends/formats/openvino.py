"""OpenVINO: a graph and its weights in two files, made of an ONNX one, run on CPUs; batches of any size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.backends.formats.contract import Run, needed
from thaw.errors import ModelError

FILE = "model.xml"
UNSAFE = None
EXTRA = "thaw-vision[openvino]"


def convert(onnx: Path, folder: Path, half: bool) -> None:
    """Write what an ONNX file holds into an existing folder.

    Args:
        half: keep weights in fp16.

    Raises:
        ModelError: OpenVINO is not installed, or cannot read the network.
    """
    openvino = needed("openvino", EXTRA, "--to openvino")
    try:
        openvino.save_model(openvino.convert_model(onnx), folder / FILE, compress_to_fp16=half)
    except RuntimeError as error:
        raise ModelError(f"--to openvino: OpenVINO cannot translate this network: {str(error)[:300]}") from None


def open(folder: Path, outputs: Sequence[str], device: str, threads: int) -> Run:  # noqa: A001 - as formats call it
    """Open a network in OpenVINO; it computes in fp32 where weights say nothing else.

    Raises:
        ModelError: OpenVINO is not installed, the device is no CPU, or it cannot read the files.
    """
    openvino = needed("openvino", EXTRA, "an OpenVINO artifact")
    if device != "cpu":
        raise ModelError(f"an OpenVINO artifact on {device}: it is run on CPUs alone; answer without GPUs")
    # Left to itself it computes in bf16 where the processor can.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    try:
        model = openvino.Core().compile_model(folder / FILE, "CPU", settings)
        wanted = [model.output(name) for name in outputs]
    except RuntimeError as error:
        raise ModelError(f"{folder / FILE}: OpenVINO cannot open it: {str(error)[:300]}") from None

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        found = model.create_infer_request().infer([pixels])
        return [found[one].copy() for one in wanted]

    return run
