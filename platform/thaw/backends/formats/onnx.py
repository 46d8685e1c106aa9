"""ONNX: one file, run by ONNX Runtime; batches of any size.

Operations of our own are translated here into ONNX's. A network that is mostly zeros may be kept compressed.
"""

import importlib
import lzma
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thaw.backends.formats.contract import Run, needed
from thaw.backends.network import INPUT, Network, flat
from thaw.errors import ModelError
from thaw.tasks._faster_rcnn import LEAST, OVERLAP

FILE, COMPRESSED = "model.onnx", "model.onnx.xz"
UNSAFE = None
OPSET = 20
"""Version of ONNX's operations that files are written with."""
EXTRA = "thaw-vision[export]"
_MOST_BYTES = 2**31
"""Bytes up to which a compressed network is read; more than that ONNX keeps in no single file anyway."""
_NOTHING = -1e38
"""Score of boxes that are none; every real one is larger."""
_FLOAT = 1
"""ONNX's number of float32."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def write(network: Network, folder: Path) -> None:
    """Write a network into an existing folder.

    Raises:
        ModelError: what is needed is not installed, or PyTorch cannot translate the network.
    """
    needed("onnxscript", EXTRA, "--to onnx")
    outputs = [flat(name) for name in network.names]
    program = network.program()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=outputs,
                custom_translation_table=_translations(),
                verbose=False,
            )
            made.save(folder / FILE, include_initializers=True)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"--to onnx: PyTorch {torch.__version__} cannot translate this network: {reason}") from None


def open(folder: Path, outputs: Sequence[str], device: str, threads: int) -> Run:  # noqa: A001 - as formats call it
    """Open a network in ONNX Runtime.

    Raises:
        ModelError: ONNX Runtime is not installed, cannot use the device, or cannot read the file.
    """
    runtime = needed("onnxruntime", EXTRA, "an ONNX artifact")
    if _PROVIDERS[device] not in runtime.get_available_providers():
        raise ModelError(
            f"an ONNX artifact on {device}: this onnxruntime has {', '.join(runtime.get_available_providers())}; "
            "install onnxruntime-gpu in its place, or answer without GPUs"
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that wait busily take the cores from decoding, which goes on beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(_content(folder), options, [_PROVIDERS[device]])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own kinds share no parent
        raise ModelError(f"{folder / FILE}: ONNX Runtime cannot open it: {str(error)[:300]}") from None
    wanted = list(outputs)

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        found: Sequence[NDArray[np.float32]] = session.run(wanted, {INPUT: pixels})
        return found

    return run


def compress(folder: Path) -> None:
    """Keep the network of a folder compressed, in place of the file itself."""
    (folder / COMPRESSED).write_bytes(lzma.compress((folder / FILE).read_bytes()))
    (folder / FILE).unlink()


def _content(folder: Path) -> str | bytes:
    """Return a network's file, or what its compressed file holds.

    Raises:
        ModelError: that is not compressed, or holds more than ONNX allows.
    """
    if not (folder / COMPRESSED).is_file():
        return str(folder / FILE)
    try:
        with lzma.open(folder / COMPRESSED) as file:
            content = file.read(_MOST_BYTES)
    except lzma.LZMAError as error:
        raise ModelError(f"{folder / COMPRESSED}: not a compressed network: {error}") from None
    if len(content) == _MOST_BYTES:
        raise ModelError(f"{folder / COMPRESSED}: holds more than {_MOST_BYTES} bytes")
    return content


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    return {torch.ops.thaw.proposed.default: _proposed}


def _proposed(boxes: Any, scores: Any, lengths: Sequence[int], most: int) -> Any:
    """Translate `thaw.tasks._faster_rcnn.proposed`: each map is one of the classes of ONNX's suppression."""
    op: Any = importlib.import_module("onnxscript").opset20
    kept = min(most, sum(lengths))
    own = np.repeat(np.arange(len(lengths)), lengths) == np.arange(len(lengths))[:, None]
    nothing = _constant(2 * _NOTHING)
    sides = op.Sub(*(op.Slice(boxes, _constant([at]), _constant([at + 2]), _constant([2])) for at in (2, 0)))
    is_box = op.Greater(op.ReduceMin(sides, _constant([2]), keepdims=0), _constant(LEAST))
    sure = op.Where(is_box, scores, nothing)
    by_map = op.Where(_constant(own[None]), op.Unsqueeze(sure, _constant([1])), nothing)
    found = op.NonMaxSuppression(boxes, by_map, _constant([most]), _constant(OVERLAP), _constant(_NOTHING))
    places = op.Gather(found, _constant([0, 2]), axis=1)
    ones = op.Expand(_constant(True), op.Slice(op.Shape(places), _constant([0]), _constant([1])))
    chosen = op.ScatterND(op.Expand(_constant(False), op.Shape(scores)), places, ones)
    best, rows = op.TopK(op.Where(chosen, sure, nothing), _constant([kept]), axis=1)
    real = op.Cast(op.Greater(best, _constant(_NOTHING)), to=_FLOAT)
    wide = op.Expand(op.Unsqueeze(rows, _constant([2])), _constant([1, 1, 4]))
    picked = op.Mul(op.GatherElements(boxes, wide, axis=1), op.Unsqueeze(real, _constant([2])))
    padded = op.Pad(picked, _constant([0, 0, 0, 0, most - kept, 0]))
    return padded, op.Pad(real, _constant([0, 0, 0, most - kept]))


def _constant(value: Any) -> Any:
    """Return a value as a constant of a graph: whole numbers as int64, others as float32."""
    onnx_ir, op = importlib.import_module("onnx_ir"), importlib.import_module("onnxscript").opset20
    given = np.asarray(value)
    array = given.astype(np.float32) if given.dtype.kind == "f" else given
    return op.Constant(value=onnx_ir.tensor(array))
