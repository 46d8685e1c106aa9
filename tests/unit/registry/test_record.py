"""A run's record says all that tells two runs apart, survives storage, and a broken one is named."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from thaw import storage
from thaw.errors import ConfigError, StorageError
from thaw.registry import record
from thaw.registry.record import RunRecord
from thaw.storage import Root

FIELDS = {
    "id": "boards-20260102-030405-0a1b",
    "stage": "evaluated",
    "created": "2026-01-02T03:04:05+00:00",
    "git_commit": "0" * 40,
    "thaw_version": "0.1.0",
    "experiment": {"name": "boards", "finetune": {"phases": [{"epochs": 2, "depth": 0}]}},
    "dataset": "datasets/boards-f00d",
    "dataset_fingerprint": "f00d",
    "label_fingerprints": {"kind": "beef"},
    "weights": {"source": "timm", "sha256": "ab"},
    "environment": {"device": "cpu", "workers": 2, "memory_gib": 1.5},
    "metrics": {"val": {"kind": {"accuracy": 0.75, "loss": 1.0}}},
    "epochs_run": 2,
    "wall_s": 12.5,
    "bundle": "models/boards/3",
}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return storage.open_root(str(tmp_path / "root"))


def made(**changes: object) -> RunRecord:
    return RunRecord.model_validate(FIELDS | changes)


def test_a_record_comes_back_as_it_was(root_uri):
    root = storage.open_root(root_uri)
    record.save(root, made(stage="running", bundle=None))
    record.save(root, made())
    loaded = record.load(root, FIELDS["id"])
    assert loaded == made()
    assert {key: type(value) for key, value in loaded.environment.items()} == {
        "device": str,
        "workers": int,
        "memory_gib": float,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../escape"},
        {"stage": "done"},
        {"created": "2026-01-02 03:04:05"},
        {"created": "2026-01-02T03:04:05+02:00"},
        {"epochs_run": "2"},
        {"epochs_run": -1},
        {"wall_s": float("inf")},
        {"metrics": {"val": {"kind": {"accuracy": float("nan")}}}},
        {"environment": {"device": None}},
        {"colour": "red"},
    ],
)
def test_a_wrong_field_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        made(**wrong)


def test_a_record_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        made().stage = "failed"


def test_utc_now_is_what_created_wants():
    assert made(created=record.utc_now())


def test_run_ids_are_new_and_legal():
    ids = {record.new_run_id("boards") for _ in range(20)}
    assert len(ids) > 15  # 4 hex digits may meet
    for run_id in ids:
        assert re.fullmatch(r"boards-\d{8}-\d{6}-[0-9a-f]{4}", run_id)
        assert made(id=run_id)


def test_a_missing_run_is_answered_with_the_nearest(root):
    record.save(root, made())
    with pytest.raises(StorageError, match=r"no run 'boards-20260102-030405-0a1c'.*did you mean '.*-0a1b'"):
        record.load(root, "boards-20260102-030405-0a1c")
    with pytest.raises(StorageError, match=r"no run '\.\./x'"):
        record.load(root, "../x")


def test_runs_are_listed_newest_first_and_broken_ones_named(root):
    for day in (2, 9, 5):
        record.save(root, made(id=f"day-{day}", created=f"2026-01-0{day}T00:00:00+00:00"))
    root.write_bytes("runs/broken/record.json", b'{"id": ')
    root.write_json("runs/old/record.json", FIELDS | {"id": "old", "stage": "done"})
    root.write_bytes("runs/no-record/metrics.csv", b"")
    found = record.runs(root)
    assert [run.id for run in found.records] == ["day-9", "day-5", "day-2"]
    assert len(found.unreadable) == 2
    assert "runs/broken/record.json" in found.unreadable[0]
    assert re.search(r"runs/old/record\.json: stage: .*'running'", found.unreadable[1])


def test_an_empty_root_has_no_runs(root_uri):
    assert record.runs(storage.open_root(root_uri)) == ([], [])


def test_git_commit_tells_the_commit_and_whether_it_was_changed(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert record.git_commit(tmp_path) is None
    git("init", "-q")
    assert record.git_commit(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "first", "--no-verify")
    commit = git("rev-parse", "HEAD")
    assert record.git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert record.git_commit(tmp_path) == f"{commit}+dirty"
    (tmp_path / "a").write_text("1")
    (tmp_path / "added").write_text("1")
    assert record.git_commit(tmp_path) == f"{commit}+dirty"


def test_git_commit_is_none_without_git_or_folder(tmp_path, monkeypatch):
    assert record.git_commit(tmp_path / "nowhere") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record.git_commit(Path.cwd()) is None


def test_a_run_of_a_name_known_beforehand_is_there_once_it_has_a_record(root):
    assert not record.exists(root, FIELDS["id"])
    record.save(root, made())
    assert record.exists(root, FIELDS["id"])


@pytest.mark.parametrize("wrong", ["", "../escape", "a b", "-first", "x" * 101])
def test_what_cannot_be_an_id_is_refused_before_anything_is_begun(wrong, root):
    with pytest.raises(ConfigError, match="not an id"):
        record.exists(root, wrong)
