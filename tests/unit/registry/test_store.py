"""The model store: whole versions with numbers of their own, and aliases nobody loses."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thaw import storage
from thaw.errors import StorageError
from thaw.registry import store
from thaw.registry.store import Lineage, ModelVersion
from thaw.storage import Root

REGISTER = """
import sys
from pathlib import Path
from thaw import storage
from thaw.registry import store
root, folder, run = storage.open_root(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
print(store.register(root, "boards", folder, store.Lineage(run_id=run, dataset_fingerprint="f00d")))
"""


@pytest.fixture
def stocked(root: Root, tmp_path: Path) -> Root:
    """A root with boards/1, boards/2 = champion, boards/3 = candidate."""
    return stock(root, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Root:
    """The same on a local disk only, where the filesystem makes no difference."""
    return stock(storage.open_root(str(tmp_path / "local")), tmp_path)


def stock(root: Root, tmp_path: Path) -> Root:
    for turn in (1, 2, 3):
        register(root, tmp_path, f"run-{turn}")
    store.set_alias(root, "boards", "champion", 2)
    store.set_alias(root, "boards", "candidate", 3)
    return root


def bundle(tmp_path: Path, run: str) -> Path:
    """Write a bundle whose every file names the run."""
    folder = tmp_path / run
    folder.mkdir()
    (folder / "bundle.json").write_text(json.dumps({"run": run}))
    (folder / "model.safetensors").write_text(run)
    return folder


def register(root: Root, tmp_path: Path, run: str) -> int:
    lineage = Lineage(run_id=run, dataset_fingerprint="f00d", git_commit="c0de")
    return store.register(root, "boards", bundle(tmp_path, run), lineage)


def start_register(root: Root, folder: Path, run: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", REGISTER, root.uri, str(folder), run]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def runs_in(root: Root, version: int) -> set[str]:
    """Return the runs that the files of a version name: one, unless versions were mixed."""
    folder = f"models/boards/{version}"
    return {
        root.read_json(f"{folder}/bundle.json")["run"],
        root.read_bytes(f"{folder}/model.safetensors").decode(),
        root.read_json(f"{folder}/lineage.json")["run_id"],
    }


def test_versions_are_counted_from_one(stocked):
    assert store.names(stocked) == ["boards"]
    assert store.versions(stocked, "boards") == [1, 2, 3]
    assert [runs_in(stocked, version) for version in (1, 2, 3)] == [{"run-1"}, {"run-2"}, {"run-3"}]


def test_an_empty_root_has_no_models(root):
    assert store.names(root) == []
    assert store.versions(root, "boards") == []
    assert store.aliases(root, "boards") == {}


def test_versions_are_sorted_as_numbers(root):
    for version in (2, 10, 1):
        root.write_bytes(f"models/boards/{version}/bundle.json", b"{}")
    root.write_bytes("models/boards/03/bundle.json", b"{}")
    root.write_bytes("models/boards/draft/bundle.json", b"{}")
    assert store.versions(root, "boards") == [1, 2, 10]


def test_lineage_names_the_champion_of_its_time_as_parent(local, tmp_path):
    register(local, tmp_path, "run-4")
    first = store.lineage(local, store.resolve(local, "boards/1"))
    fourth = store.lineage(local, store.resolve(local, "boards/4"))
    assert (first.parent, first.run_id, first.git_commit) == (None, "run-1", "c0de")
    assert (fourth.parent, fourth.run_id, fourth.dataset_fingerprint) == ("boards/2", "run-4", "f00d")
    assert fourth.created is not None
    assert first.created is not None
    assert fourth.created >= first.created


def test_a_bundle_from_another_store_gets_a_lineage_of_its_own(root, tmp_path):
    folder = bundle(tmp_path, "copied")
    for name in ("lineage.json", ".claim"):
        (folder / name).write_text("of the other store")
    store.register(root, "boards", folder, Lineage(run_id="new", dataset_fingerprint="f"))
    assert store.lineage(root, store.resolve(root, "boards/1")).run_id == "new"
    assert b"other" not in root.read_bytes("models/boards/1/.claim")


def test_a_file_that_is_left_out_is_no_part_of_the_version(local, tmp_path):
    folder = bundle(tmp_path, "run-4")
    (folder / "notes.txt").write_text("not for serving")
    lineage = Lineage(run_id="run-4", dataset_fingerprint="f00d")
    version = store.register(local, "boards", folder, lineage, leave_out=["notes.txt"])
    assert local.list(f"models/boards/{version}") == [
        ".claim",
        "bundle.json",
        "lineage.json",
        "model.safetensors",
    ]


def test_what_is_no_bundle_takes_no_number(root, tmp_path):
    lineage = Lineage(run_id="r", dataset_fingerprint="f")
    with pytest.raises(StorageError, match=r"not a bundle: it has no bundle\.json"):
        store.register(root, "boards", tmp_path, lineage)
    with pytest.raises(StorageError, match="not a legal model name"):
        store.register(root, "../boards", bundle(tmp_path, "r"), lineage)
    assert root.list("models") == []


def test_threads_and_processes_register_distinct_whole_versions(root, tmp_path):
    processes = [start_register(root, bundle(tmp_path, f"p{i}"), f"p{i}") for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        threads = list(pool.map(lambda i: register(root, tmp_path, f"t{i}"), range(8)))
    others = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(threads + others) == list(range(1, 13)) == store.versions(root, "boards")
    mixed = [runs_in(root, version) for version in range(1, 13)]
    assert sorted(run for runs in mixed for run in runs) == sorted(
        [f"p{i}" for i in range(4)] + [f"t{i}" for i in range(8)]
    )


def test_a_killed_upload_leaves_no_version_and_its_number_unused(root, tmp_path):
    folder = bundle(tmp_path, "killed")
    (folder / "a-first").write_text("small")
    with (folder / "model.safetensors").open("wb") as weights:
        weights.truncate(64 * 2**30)  # no disk would hold it, so it is still going up when the kill comes
    process = start_register(root, folder, "killed")
    while not root.exists("models/boards/1/a-first"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert root.list("models/boards/1") == [".claim", "a-first"]
    assert store.versions(root, "boards") == []
    assert store.names(root) == []
    assert register(root, tmp_path, "next") == 2
    assert store.versions(root, "boards") == [2]
    assert root.list("models/boards/2") == [".claim", "bundle.json", "lineage.json", "model.safetensors"]
    assert runs_in(root, 2) == {"next"}


def test_the_bundle_file_comes_last(root, tmp_path):
    folder = bundle(tmp_path, "broken")
    (folder / "z").symlink_to("/proc/self/mem")  # a regular file whose reading fails
    with pytest.raises(StorageError, match="cannot"):
        store.register(root, "boards", folder, Lineage(run_id="r", dataset_fingerprint="f"))
    assert root.exists("models/boards/1/model.safetensors")
    assert store.versions(root, "boards") == []


def test_set_alias_returns_where_it_pointed_before(stocked):
    assert store.set_alias(stocked, "boards", "champion", 3) == 2
    assert store.set_alias(stocked, "boards", "shadow", 1) is None
    assert store.aliases(stocked, "boards") == {"candidate": 3, "champion": 3, "shadow": 1}


@pytest.mark.parametrize("alias", ["", "Champion", "3", "a/b", "a b", "../a", "a" * 65])
def test_an_illegal_alias_is_refused(local, alias):
    with pytest.raises(StorageError, match="not a legal alias"):
        store.set_alias(local, "boards", alias, 1)


def test_an_alias_of_a_missing_version_is_refused(local):
    with pytest.raises(StorageError, match="no complete version 9; it has 1, 2, 3"):
        store.set_alias(local, "boards", "champion", 9)
    assert store.aliases(local, "boards")["champion"] == 2


def test_concurrent_aliases_are_all_kept(root, tmp_path):
    register(root, tmp_path, "run-1")
    wanted = {f"alias-{i}": 1 for i in range(6)}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda alias: store.set_alias(root, "boards", alias, 1), wanted))
    assert store.aliases(root, "boards") == wanted


def test_a_reader_never_sees_broken_aliases(stocked):
    stop = threading.Event()

    def read() -> int:
        turns = 0
        while not stop.is_set():
            assert store.resolve(stocked, "boards@candidate").version == 3
            turns += 1
        return turns

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for turn in range(8):
            store.set_alias(stocked, "boards", f"{'long' * (turn % 5)}{'x' * turn}y", 1 + turn % 3)
        stop.set()
        assert reader.result() > 3


@pytest.mark.parametrize("content", [b"[]", b'{"champion": "2"}', b'{"champion": true}', b"{"])
def test_aliases_that_are_no_aliases_are_named(local, content):
    local.write_bytes("models/boards/aliases.json", content)
    with pytest.raises(StorageError, match=r"models/boards/aliases\.json: not"):
        store.aliases(local, "boards")


@pytest.mark.parametrize(
    ("reference", "version", "aliases"),
    [("boards", 2, ("champion",)), ("boards@candidate", 3, ("candidate",)), ("boards/1", 1, ())],
)
def test_a_reference_is_resolved(local, reference, version, aliases):
    expected = ModelVersion("boards", version, f"models/boards/{version}", aliases)
    assert store.resolve(local, reference) == expected


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("bords", r"no model 'bords'; the models are boards; did you mean 'boards'"),
        ("boards/9", r"no complete version 9; it has 1, 2, 3"),
        (
            "boards@champoin",
            r"no alias 'champoin': it has candidate, champion; did you mean 'champion'.*thaw promote",
        ),
        ("boards@3", r"write NAME, NAME@alias or NAME/version"),
        ("boards/0", r"write NAME, NAME@alias or NAME/version"),
        ("../boards", r"write NAME, NAME@alias or NAME/version"),
        ("", r"write NAME, NAME@alias or NAME/version"),
    ],
)
def test_a_wrong_reference_is_answered_with_what_exists(local, reference, message):
    with pytest.raises(StorageError, match=message):
        store.resolve(local, reference)


def test_a_plain_name_without_champion_asks_to_promote_one(root, tmp_path):
    register(root, tmp_path, "run-1")
    with pytest.raises(StorageError, match=r"no alias 'champion': it has none\. Its versions: 1;.*`thaw promote`"):
        store.resolve(root, "boards")


def test_fetch_gives_a_local_folder_once(stocked, tmp_path):
    found = store.resolve(stocked, "boards")
    folder = store.fetch(stocked, found, tmp_path / "cache")
    assert json.loads((folder / "bundle.json").read_text()) == {"run": "run-2"}
    assert (folder / "model.safetensors").read_text() == "run-2"
    if stocked.is_local:
        assert folder == Path(stocked.path_of("models/boards/2"))
        assert not (tmp_path / "cache").exists()
    else:
        (folder / "used-again").touch()
        assert (store.fetch(stocked, found, tmp_path / "cache") / "used-again").exists()


def test_concurrent_fetches_agree_and_a_failed_one_leaves_nothing(s3_uri, tmp_path):
    bucket, _, query = s3_uri.partition("?")
    root = storage.open_root(f"{bucket}/fetched?{query}")
    register(root, tmp_path, "run-1")
    found = store.resolve(root, "boards/1")
    with ThreadPoolExecutor(4) as pool:
        (folder,) = set(pool.map(lambda _: store.fetch(root, found, tmp_path / "cache"), range(4)))
    with pytest.raises(StorageError, match="no such file or folder"):
        store.fetch(root, ModelVersion("boards", 9, "models/boards/9", ()), tmp_path / "cache")
    assert (folder / "model.safetensors").read_text() == "run-1"
    assert [child.name for child in folder.parent.iterdir()] == ["1"]


def test_stores_that_share_a_cache_are_kept_apart(s3_uri, tmp_path):
    bucket, _, query = s3_uri.partition("?")
    for run in ("one", "two"):
        root = storage.open_root(f"{bucket}/apart-{run}?{query}")
        register(root, tmp_path, run)
        folder = store.fetch(root, store.resolve(root, "boards/1"), tmp_path / "cache")
        assert (folder / "model.safetensors").read_text() == run


def test_the_version_of_a_run_is_found_by_its_lineage(stocked):
    assert store.of_run(stocked, "boards", "run-2") == 2
    assert store.of_run(stocked, "boards", "run-9") is None
    assert store.of_run(stocked, "none", "run-2") is None
