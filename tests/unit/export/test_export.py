"""From a stored model to an artifact that answers as it does, or to the evidence why there is none."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

import stored as made
from stored import Stored
from thaw import bundle, cli, golden, predictor
from thaw.backbones import family
from thaw.backends import artifact as backends
from thaw.backends import load as loading
from thaw.backends.artifact import Settings
from thaw.errors import ConfigError, ModelError, StorageError
from thaw.export import export, gate, making, measure
from thaw.export.export import Outcome, Request
from thaw.export.gate import Tolerance
from thaw.registry import artifacts, store

FEW = Tolerance(drop=0.005, flips=0.02)


@pytest.fixture(scope="module", autouse=True)
def _one_batch() -> Iterator[None]:
    """Measure for next to no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure.cost, "_ENOUGH_S", 0.0)
        patch.setattr(measure, "BATCHES", (1, 32))
        yield


@pytest.fixture(scope="module")
def exported(stored: Stored, written: Path) -> Outcome:
    """The model as ONNX, made of the file that is there already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making.onnx, "write", lambda _network, folder: shutil.copy(written / "model.onnx", folder))
        return export.export(stored.root.uri, stored.reference, Request(Settings(to="onnx"), FEW))


def _folder(stored: Stored, exported: Outcome) -> Path:
    return Path(stored.root.path_of(exported.path))


def test_an_artifact_is_a_folder_that_says_what_it_is_and_was_found_to_be(stored: Stored, exported: Outcome) -> None:
    assert exported.verdict.passed
    assert exported.path == f"models/{stored.reference}/artifacts/onnx"
    folder = _folder(stored, exported)
    described = backends.describe(folder)
    assert {*described.files, "artifact.json"} == {file.name for file in folder.iterdir()}
    assert described.files.keys() == {"bundle.json", "golden.parquet", "model.onnx", "usage.json"}
    assert (described.parent, described.settings.to) == (stored.reference, "onnx")
    assert described.bytes == (folder / "model.onnx").stat().st_size
    assert described.parameters == sum(one.numel() for one in stored.bundle.model.parameters())
    assert described.gate["images"] == made.IMAGES
    assert described.cost.p50_ms.keys() == described.parent_cost.p95_ms.keys() == {"1", "32"}
    assert all(0 < described.cost.p50_ms[batch] <= described.cost.p95_ms[batch] for batch in ("1", "32"))
    assert bundle.describe(folder) == stored.bundle.description


def test_it_answers_as_its_parent_in_batches_of_any_size(stored: Stored, exported: Outcome) -> None:
    found = store.resolve(stored.root, stored.reference)
    network = loading.load(stored.root, found, exported.name)
    images = [made.image(seed) for seed in range(200, 205)]
    for some in (images, images[:1]):
        for one, other in zip(predictor.answer(network, some), predictor.answer(stored.bundle, some), strict=True):
            assert all(one[task].distance(other[task]) < 1e-5 for task in one)
    assert predictor.answer(network, []) == []


def _broken(stored: Stored, exported: Outcome, tmp_path: Path) -> Path:
    shutil.copytree(_folder(stored, exported), tmp_path / "artifact")
    return tmp_path / "artifact"


def _edited(folder: Path, **values: Any) -> None:
    told = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps({**told, **values}))


def test_a_file_that_nobody_registered_is_refused(stored: Stored, exported: Outcome, tmp_path: Path) -> None:
    folder = _broken(stored, exported, tmp_path)
    (folder / "model.onnx.xz").write_bytes(b"another network")
    with pytest.raises(ModelError, match=r"artifact\.json does not name model\.onnx\.xz; remove what is strange"):
        backends.load(folder)


def test_a_file_that_was_changed_is_refused(stored: Stored, exported: Outcome, tmp_path: Path) -> None:
    folder = _broken(stored, exported, tmp_path)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"model\.onnx: not the file that was registered"):
        backends.load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read"):
        backends.load(folder)


def test_a_folder_that_holds_something_else_is_refused(stored: Stored, exported: Outcome, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no artifact"):
        backends.load(tmp_path)
    folder = _broken(stored, exported, tmp_path)
    settings = json.loads((folder / "artifact.json").read_text())["settings"]
    _edited(folder, settings={**settings, "to": "tensorrt"})
    with pytest.raises(ModelError, match=r"settings\.to: 'tensorrt' is not one of executorch, onnx, openvino, program"):
        backends.load(folder)
    _edited(folder, settings={**settings, "to": "program"})
    with pytest.raises(ModelError, match="does not load one from a store"):
        backends.load(folder)
    (folder / "model.onnx").write_bytes(b"no network")
    files = json.loads((folder / "artifact.json").read_text())["files"]
    _edited(folder, settings=settings, files={**files, "model.onnx": backends.sha256(folder / "model.onnx")})
    with pytest.raises(ModelError, match="ONNX Runtime cannot open it"):
        backends.load(folder)


def test_one_that_answers_otherwise_here_is_refused(stored: Stored, exported: Outcome, tmp_path: Path) -> None:
    folder = _broken(stored, exported, tmp_path)
    other = made.stored(tmp_path)
    with torch.no_grad():
        other.bundle.model.heads["colour"][1].bias[0] += 8
    golden.write(other.bundle, golden.draw(other.root, other.prepared, 0), folder)
    files = json.loads((folder / "artifact.json").read_text())["files"]
    _edited(folder, files={**files, golden.FILE: backends.sha256(folder / golden.FILE)})
    with pytest.raises(ModelError, match="does not answer here as it did when it was made"):
        backends.load(folder)


def test_a_name_is_taken_once_it_is_registered(stored: Stored, exported: Outcome) -> None:
    with pytest.raises(StorageError, match="exists already"):
        export.export(stored.root.uri, stored.reference, Request(Settings(to="onnx"), FEW))


def _swap_channels(weights: dict[str, np.ndarray]) -> None:
    """As if images were given as blue, green and red."""
    weights["model.backbone.body.conv1.0.weight"] = weights["model.backbone.body.conv1.0.weight"][:, ::-1]


def _swap_classes(weights: dict[str, np.ndarray]) -> None:
    for name in ("weight", "bias"):
        weights[f"model.heads.colour.1.{name}"] = np.roll(weights[f"model.heads.colour.1.{name}"], 1, axis=0)


def _normalise_wrongly(weights: dict[str, np.ndarray]) -> None:
    """As if it were left out; mean and std of this network are equal, and one tensor in the file."""
    weights["model.mean"] = np.ones_like(weights["model.mean"])


def _planted(written: Path, folder: Path, breaks: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Write the model as ONNX with something wrong in it."""
    network = onnx.load(written / "model.onnx")
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in network.graph.initializer}
    breaks(weights)
    for one in network.graph.initializer:
        one.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(weights[one.name]), one.name))
    onnx.save(network, folder / "model.onnx")


@pytest.mark.parametrize("breaks", [_swap_channels, _swap_classes, _normalise_wrongly])
def test_a_broken_export_is_not_registered_and_leaves_its_evidence(
    stored: Stored,
    written: Path,
    breaks: Callable[[dict[str, np.ndarray]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(making.onnx, "write", lambda _network, folder: _planted(written, folder, breaks))
    command = ["export", stored.reference, "--to", "onnx", "--name", "broken", "--storage", stored.root.uri]
    assert cli.run([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["passed"]
    found = store.resolve(stored.root, stored.reference)
    assert "broken" not in artifacts.names(stored.root, found)
    evidence = stored.root.read_json(told["path"])
    assert any("of what it decides differs" in reason for reason in evidence["gate"]["reasons"])
    assert evidence["cost"]["p50_ms"]["1"] > 0


def test_what_is_planted_in_a_file_is_all_that_is_wrong_with_it(stored: Stored, written: Path, tmp_path: Path) -> None:
    _planted(written, tmp_path, lambda _weights: None)
    unchanged = backends.opened(tmp_path, "onnx", stored.bundle.description)
    assert gate.judge(stored.bundle, unchanged, stored.validation.batches(), FEW).passed


def test_artifacts_are_listed_and_answer_files(
    stored: Stored, exported: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = ["--storage", stored.root.uri]
    assert cli.run(["models", "--artifacts", stored.reference, *storage]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"onnx of {stored.reference}: onnx, fp32; ")
    assert "accuracy" in told
    assert cli.run(["models", "--artifacts", stored.reference, *storage, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["artifacts"].keys() == {"onnx"}
    file = tmp_path / "one.png"
    file.write_bytes(made.png(made.image(7)))
    assert cli.run(["predict", stored.reference, str(file), "--artifact", "onnx", *storage, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["artifact"] == "onnx"
    [wanted] = predictor.answer(stored.bundle, [made.image(7)])
    assert told["answers"][str(file)]["colour"]["label"] == wanted["colour"].label
    assert cli.run(["predict", stored.reference, str(file), "--artifact", "tensor", *storage]) == 2
    assert "has no artifact 'tensor'; it has onnx" in capsys.readouterr().err


@pytest.mark.slow
def test_adapters_are_folded_into_what_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    beneath = tmp_path / "test_vit.safetensors"
    safetensors.torch.save_file(family.of("test_vit").create("test_vit", made.SIZE).body.state_dict(), beneath)
    adapted = made.stored(tmp_path, "test_vit", weights={"source": "path", "path": str(beneath)}, lora={"rank": 2})
    found = export.export(adapted.root.uri, adapted.reference, Request(Settings(to="onnx"), FEW))
    assert found.verdict.passed, found.verdict.reasons
    folder = _folder(adapted, found)
    names = [one.name for one in onnx.load(folder / "model.onnx").graph.initializer]
    assert names
    assert not [name for name in names if "lora" in name]
    beneath.unlink()
    network = backends.load(folder)
    image = made.image(7)
    [answer], [wanted] = (predictor.answer(one, [image]) for one in (network, adapted.bundle))
    assert answer["colour"].distance(wanted["colour"]) < 1e-4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"to": "tensorrt"}, "'tensorrt' is not one of executorch, onnx, openvino, program"),
        ({"to": "program", "precision": "int8"}, "of program only fp32 can be had"),
        ({"to": "onnx", "prune": 0.3, "sparse": 0.3}, "give one of them"),
        ({"to": "onnx", "epochs": 2}, "nothing to learn again"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        export.export("nowhere", "nothing", Request(Settings.model_validate(settings), FEW))


def test_artifacts_are_called_after_how_they_are_made() -> None:
    asked = [
        ({"to": "onnx"}, "onnx"),
        ({"to": "onnx", "precision": "int8"}, "onnx-int8"),
        ({"to": "openvino", "precision": "fp16", "prune": 0.3}, "openvino-fp16-pruned-0.3"),
        ({"to": "onnx", "sparse": 0.5}, "onnx-sparse-0.5"),
    ]
    assert [Request(Settings.model_validate(one), FEW).called for one, _ in asked] == [name for _, name in asked]
    assert Request(Settings(to="onnx"), FEW, name="mine").called == "mine"
