"""An artifact is there whole or not at all, is never changed, and what was refused is none."""

import json
from pathlib import Path

import pytest

from thaw.errors import StorageError
from thaw.registry import artifacts, store
from thaw.registry.store import ModelVersion
from thaw.storage import Root, open_root


@pytest.fixture
def found(root: Root, tmp_path: Path) -> ModelVersion:
    """A version of a model in a root on each kind of filesystem."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    store.register(root, "boards", folder, store.Lineage(run_id="run", dataset_fingerprint="f"))
    return store.resolve(root, "boards/1")


def _made(tmp_path: Path, name: str, content: str = "network") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "artifact.json").write_text(json.dumps({"name": name, "content": content}))
    (folder / "model.onnx").write_text(content)
    return folder


def test_an_artifact_is_listed_read_and_fetched(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    assert artifacts.names(root, found) == []
    assert artifacts.register(root, found, "onnx", _made(tmp_path, "onnx")) == "models/boards/1/artifacts/onnx"
    assert artifacts.names(root, found) == ["onnx"]
    assert artifacts.read(root, found, "onnx")["content"] == "network"
    folder = artifacts.fetch(root, found, "onnx", tmp_path / "cache")
    assert (folder / "model.onnx").read_text() == "network"
    assert store.versions(root, "boards") == [1]


def test_a_copy_of_the_version_is_without_its_artifacts(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    artifacts.register(root, found, "onnx", _made(tmp_path, "onnx"))
    folder = store.fetch(root, found, tmp_path / "cache")
    if not root.is_local:
        assert {file.name for file in folder.iterdir()} >= {"bundle.json", "model.safetensors"}
        assert not (folder / "artifacts").exists()


def test_a_taken_or_illegal_name_is_refused(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    artifacts.register(root, found, "onnx", _made(tmp_path, "onnx"))
    with pytest.raises(StorageError, match="exists already"):
        artifacts.register(root, found, "onnx", _made(tmp_path, "other"))
    for name in ("", "../x", "A", "a/b", "a" * 65):
        with pytest.raises(StorageError, match="not a legal artifact name"):
            artifacts.check_free(root, found, name)


def test_what_has_no_description_is_no_artifact(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with pytest.raises(StorageError, match=r"it has no artifact\.json"):
        artifacts.register(root, found, "half", tmp_path / "half")
    root.write_bytes(f"{found.path}/artifacts/half/model.onnx", b"a part")
    assert artifacts.names(root, found) == []
    with pytest.raises(StorageError, match=r"has no artifact 'half'; it has none; `thaw export` makes one"):
        artifacts.fetch(root, found, "half", tmp_path)


def test_an_upload_that_breaks_off_leaves_no_artifact(
    root: Root, found: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Root._upload_file

    def break_off(self: Root, source: Path, path: str) -> None:
        if source.name == "model.onnx":
            raise ConnectionError(path)
        upload(self, source, path)

    monkeypatch.setattr(Root, "_upload_file", break_off)
    with pytest.raises(ConnectionError):
        artifacts.register(root, found, "onnx", _made(tmp_path, "onnx"))
    assert artifacts.names(root, found) == []


def test_what_a_broken_upload_left_is_no_part_of_the_next_one(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    root.write_bytes(f"{found.path}/artifacts/onnx/model.onnx.xz", b"another network")
    artifacts.register(root, found, "onnx", _made(tmp_path, "onnx"))
    assert "model.onnx.xz" not in root.files_below(f"{found.path}/artifacts/onnx")


def test_a_missing_artifact_names_the_nearest(root: Root, found: ModelVersion, tmp_path: Path) -> None:
    artifacts.register(root, found, "onnx-int8", _made(tmp_path, "onnx-int8"))
    with pytest.raises(StorageError, match=r"it has onnx-int8; did you mean 'onnx-int8'\?"):
        artifacts.read(root, found, "onnx-in8")


def test_what_was_refused_leaves_its_evidence_alone(root: Root, found: ModelVersion) -> None:
    path = artifacts.refuse(root, found, "onnx", {"reasons": ["swapped"]})
    assert path.startswith("models/boards/1/refused/onnx-")
    assert root.read_json(path) == {"reasons": ["swapped"]}
    assert artifacts.names(root, found) == []


def test_an_artifact_made_anew_under_an_old_name_is_not_the_cached_one(s3_uri: str, tmp_path: Path) -> None:
    bucket, _, query = s3_uri.partition("?")
    root = open_root(f"{bucket}/anew?{query}")
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    store.register(root, "boards", folder, store.Lineage(run_id="run", dataset_fingerprint="f"))
    found = store.resolve(root, "boards/1")
    artifacts.register(root, found, "onnx", _made(tmp_path, "onnx", "old"))
    artifacts.fetch(root, found, "onnx", tmp_path / "cache")
    root.remove(f"{found.path}/artifacts/onnx")
    artifacts.register(root, found, "onnx", _made(tmp_path, "new", "new"))
    assert (artifacts.fetch(root, found, "onnx", tmp_path / "cache") / "model.onnx").read_text() == "new"
