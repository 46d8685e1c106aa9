"""Every format and precision answers as its bundle does, as nearly as its arithmetic allows, and takes fewer bytes."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx as library
import pytest

import stored as made
from stored import Stored
from thaw import predictor
from thaw.backends import artifact as backends
from thaw.backends.artifact import Settings
from thaw.backends.formats import executorch, onnx, openvino, program
from thaw.backends.network import Network
from thaw.errors import ModelError
from thaw.export import export, making, measure, quantize
from thaw.export.export import Request
from thaw.export.gate import Tolerance
from thaw.registry import artifacts, store


def _farthest(stored: Stored, folder: Path, to: str) -> float:
    """Return how far an exported network's answers are from the bundle's at most, in batches of five and of one."""
    network = backends.opened(folder, to, stored.bundle.description)
    images = [made.image(seed) for seed in range(100, 105)]
    wanted = predictor.answer(stored.bundle, images)
    alone = [predictor.answer(network, [image])[0] for image in images]
    pairs = zip((*predictor.answer(network, images), *alone), (*wanted, *wanted), strict=True)
    return max(one[task].distance(other[task]) for one, other in pairs for task in one)


def _to_fp16(written: Path, folder: Path) -> None:
    quantize.to_fp16(written / onnx.FILE, folder / onnx.FILE)


def _compressed(written: Path, folder: Path) -> None:
    shutil.copy(written / onnx.FILE, folder)
    onnx.compress(folder)
    assert not (folder / onnx.FILE).exists()


def _to_openvino(written: Path, folder: Path) -> None:
    openvino.convert(written / onnx.FILE, folder, half=False)


@pytest.mark.parametrize(
    ("to", "write", "off"),
    [("onnx", _to_fp16, 0.02), ("onnx", _compressed, 1e-4), ("openvino", _to_openvino, 1e-3)],
)
def test_what_is_made_of_the_onnx_file_answers_the_same(
    stored: Stored, written: Path, tmp_path: Path, to: str, write: Callable[[Path, Path], None], off: float
) -> None:
    write(written, tmp_path)
    assert _farthest(stored, tmp_path, to) < off


def test_fp16_takes_half_the_bytes_and_is_given_the_same_pixels(written: Path, tmp_path: Path) -> None:
    _to_fp16(written, tmp_path)
    sizes = [(folder / onnx.FILE).stat().st_size for folder in (tmp_path, written)]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_program_is_written_for_others_and_answers_the_same(stored: Stored, tmp_path: Path) -> None:
    program.write(Network(stored.bundle), tmp_path)
    assert _farthest(stored, tmp_path, "program") < 1e-5


def test_executorch_answers_the_same_image_by_image(tmp_path: Path) -> None:
    pytest.importorskip("executorch.exir", reason="executorch is an extra of its own")
    one = made.stored(tmp_path, "test_efficientnet")
    executorch.write(Network(one.bundle), tmp_path)
    assert _farthest(one, tmp_path, "executorch") < 1e-4


def test_a_file_that_is_damaged_is_refused(written: Path, tmp_path: Path) -> None:
    _compressed(written, tmp_path)
    file = tmp_path / onnx.COMPRESSED
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(ModelError, match="not a compressed network"):
        onnx.open(tmp_path, [], "cpu", 1)


def test_what_is_not_installed_is_told_with_what_brings_it(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        ModelError, match=r"--to onnx: onnxscript is not installed; `pip install 'thaw-vision\[export\]'"
    ):
        onnx.write(Network(stored.bundle), tmp_path)


def test_8_bits_are_calibrated_on_validation_images_and_no_test_image_is_read(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.onnx, "write", lambda _network, folder: shutil.copy(written / onnx.FILE, folder))
    monkeypatch.setattr(measure.cost, "_ENOUGH_S", 0.0)
    one = made.stored(tmp_path)
    for file in Path(one.root.path_of(one.prepared.path)).glob("test-*"):
        file.unlink()
    asked = Request(Settings(to="onnx", precision="int8"), Tolerance(drop=0.1, flips=0.1))
    found = export.export(one.root.uri, one.reference, asked)
    assert found.verdict.passed, found.verdict.reasons
    assert found.told["settings"]["calibration"].startswith(("minmax", "percentile", "entropy"))
    assert found.told["bytes"] < 0.5 * found.told["parent_bytes"]
    [name] = artifacts.names(one.root, store.resolve(one.root, one.reference))
    assert name == "onnx-int8"
    graph = library.load(Path(one.root.path_of(found.path)) / onnx.FILE).graph
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 5
