"""ExecuTorch: one file for phones and boards, lowered to XNNPACK; it takes one image at a time.

Of any number of images XNNPACK could not tell shapes, so batches are answered image by image.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from thaw.backends.formats.contract import Run, needed
from thaw.backends.network import Network
from thaw.errors import ModelError

FILE = "model.pte"
UNSAFE = None
EXTRA = "thaw-vision[executorch]"


def write(network: Network, folder: Path) -> None:
    """Write a network into an existing folder.

    Raises:
        ModelError: ExecuTorch is not installed, or cannot translate the network.
    """
    exir = needed("executorch.exir", EXTRA, "--to executorch")
    xnnpack = needed("executorch.backends.xnnpack.partition.xnnpack_partitioner", EXTRA, "--to executorch")
    try:
        edge = exir.to_edge_transform_and_lower(network.program(batch=1), partitioner=[xnnpack.XnnpackPartitioner()])
        (folder / FILE).write_bytes(edge.to_executorch().buffer)
    except Exception as error:  # noqa: BLE001 - its passes fail with kinds of their own
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"--to executorch: it cannot translate this network: {reason}") from None


def open(folder: Path, outputs: Sequence[str], device: str, threads: int) -> Run:  # noqa: A001, ARG001 - see contract
    """Open a network in ExecuTorch's runtime.

    Raises:
        ModelError: ExecuTorch is not installed, the device is no CPU, or it cannot read the file.
    """
    runtime = needed("executorch.runtime", EXTRA, "an ExecuTorch artifact")
    if device != "cpu":
        raise ModelError(f"an ExecuTorch artifact on {device}: it is run on CPUs alone; answer without GPUs")
    try:
        program = runtime.Runtime.get().load_program(
            folder / FILE, verification=runtime.Verification.InternalConsistency
        )
        method = program.load_method("forward")
    except RuntimeError as error:
        raise ModelError(f"{folder / FILE}: ExecuTorch cannot open it: {str(error)[:300]}") from None

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        try:
            each = [[one.numpy().copy() for one in method.execute([torch.from_numpy(row[None])])] for row in pixels]
        except RuntimeError as error:  # XNNPACK finds out only here what it cannot compute
            raise ModelError(f"{folder / FILE}: ExecuTorch cannot run it: {str(error)[:300]}") from None
        return [np.concatenate(rows) for rows in zip(*each, strict=True)]

    return run
