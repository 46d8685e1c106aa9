"""Storage keeps its promises on a local disk and on S3: whole files, no way out of the root."""

import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from thaw import lock, storage
from thaw.errors import StorageError
from thaw.storage import MissingError, Root

ESCAPES = ["../x", "a/../../x", "/etc/passwd", "a/..", "..", "a\\..\\x", "a\0b"]
KEY, SECRET = "AKIAEXAMPLE", "wJalrXUtnFEMI"


def test_what_is_written_is_read(root):
    root.write_bytes("a/b/c.bin", b"\0one")
    root.write_bytes("a/b/c.bin", b"two")
    root.write_bytes("a/empty", b"")
    assert root.read_bytes("a/b/c.bin") == b"two"
    assert root.read_bytes("a/empty") == b""
    assert (root.size("a/b/c.bin"), root.size("a/empty")) == (3, 0)


def test_content_is_never_unpacked_by_its_name(root):
    root.write_bytes("a.gz", b"not gzip")
    assert root.size("a.gz") == 8
    assert root.read_bytes("a.gz") == b"not gzip"


def test_list_gives_the_sorted_names_of_children(root):
    for path in ("x/b", "x/a/deep", "x/c"):
        root.write_bytes(path, b"1")
    assert root.list("x") == ["a", "b", "c"]
    assert root.list("") == ["x"]
    assert root.list("missing/folder") == []


def test_exists_knows_files_and_folders(root):
    root.write_bytes("x/a", b"1")
    assert root.exists("x")
    assert root.exists("x/a")
    assert not root.exists("x/b")
    assert not root.exists("x/a/b")


def test_json_comes_back_in_the_order_given(root):
    value = {"zebra": 1, "ape": [1.5, None, "é"]}
    root.write_json("v.json", value)
    assert list(root.read_json("v.json").items()) == list(value.items())
    assert root.read_bytes("v.json").decode() == (
        '{\n  "zebra": 1,\n  "ape": [\n    1.5,\n    null,\n    "é"\n  ]\n}\n'
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_json_does_not_have(root, number):
    with pytest.raises(StorageError, match=r"v\.json: cannot be written as JSON"):
        root.write_json("v.json", {"loss": number})
    assert not root.exists("v.json")


def test_a_file_that_is_not_json_is_named(root):
    root.write_bytes("v.json", b'{"a": ')
    with pytest.raises(StorageError, match=r"v\.json.*not JSON"):
        root.read_json("v.json")


def test_reading_stops_at_the_limit(root):
    root.write_bytes("a", b"12345")
    assert root.read_bytes("a", max_bytes=5) == b"12345"
    with pytest.raises(StorageError, match="larger than the 4 bytes"):
        root.read_bytes("a", max_bytes=4)


@pytest.mark.parametrize("most", [0, 3, 5, 9, -1])
def test_of_a_large_file_only_what_is_asked_for_is_read(root, most):
    root.write_bytes("a", b"12345")
    assert root.read_first("a", most) == (b"12345"[:most] if most >= 0 else b"12345")


@pytest.mark.parametrize("read", [Root.read_bytes, Root.read_first, Root.size, Root.read_json])
def test_a_missing_file_is_named(root, read):
    with pytest.raises(MissingError, match=r"no/such\.json.*no such file"):
        read(root, "no/such.json")


def test_remove_takes_files_and_folders_and_what_is_missing(root):
    for path in ("x/a", "x/y/b", "z"):
        root.write_bytes(path, b"1")
    for path in ("x/y", "x/a", "missing/too"):
        root.remove(path)
    assert [root.exists(path) for path in ("x/a", "x/y", "z")] == [False, False, True]


@pytest.mark.parametrize("path", ["", ".", "./"])
def test_the_root_itself_is_not_removed(root, path):
    root.write_bytes("a", b"1")
    with pytest.raises(StorageError, match="root itself"):
        root.remove(path)
    assert root.exists("a")


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize(
    "use",
    [
        Root.exists,
        Root.is_file,
        Root.is_folder,
        lambda root, path: root.stamps([path]),
        Root.files_below,
        Root.read_first,
        Root.list,
        Root.size,
        Root.read_bytes,
        Root.read_json,
        Root.remove,
        Root.uri_of,
        Root.path_of,
        lambda root, path: root.write_bytes(path, b""),
        lambda root, path: root.write_json(path, 1),
        lambda root, path: root.download(path, Path("unused")),
        lambda root, path: lock.hold(root, path).__enter__(),
    ],
)
def test_no_path_leaves_the_root(tmp_path, use, path):
    with pytest.raises(StorageError, match="no path inside a storage root"):
        use(Root(str(tmp_path)), path)


def test_folders_go_up_and_come_down_whole(root, tmp_path):
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    large = random.Random(0).randbytes(9 * 2**20)
    (source / "large.bin").write_bytes(large)
    (source / "deep" / "er" / "sm all.txt").write_text("é")
    (source / "left.out").write_text("x")
    root.upload(source, "up", leave_out=["left.out"])
    root.download("up", tmp_path / "back")
    assert (tmp_path / "back/large.bin").read_bytes() == large
    assert (tmp_path / "back/deep/er/sm all.txt").read_text() == "é"
    assert root.list("up") == ["deep", "large.bin"]


def test_a_file_can_have_a_second_place_that_outlives_the_first(root):
    root.write_bytes("old/shard", b"content")
    root.copy("old/shard", "new/folder/shard")
    root.copy("old/shard", "new/folder/shard")  # again, as after an interruption
    root.write_bytes("old/shard", b"another")
    assert root.read_bytes("new/folder/shard") == b"content"
    root.remove("old")
    assert root.read_bytes("new/folder/shard") == b"content"
    assert root.list("new/folder") == ["shard"]
    with pytest.raises(StorageError, match="old/shard"):
        root.copy("old/shard", "new/other")


def test_what_cannot_be_copied_is_named(root, tmp_path):
    with pytest.raises(StorageError, match="no such folder"):
        root.upload(tmp_path / "nowhere", "x")
    with pytest.raises(StorageError, match="no such folder"):
        root.download("nowhere", tmp_path / "back")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="pipe: cannot upload: not a regular file"):
        root.upload(tmp_path, "x")


def test_an_upload_that_fails_leaves_no_part(root, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").symlink_to("/proc/self/mem")  # a regular file whose reading fails
    with pytest.raises(StorageError, match="cannot"):
        root.upload(tmp_path / "source", "up")
    assert not root.exists("up/a")
    assert root.list("up") == []


def test_what_a_store_refuses_for_a_while_is_written_in_the_end(tmp_path):
    root, told = storage.open_root(str(tmp_path)), []
    (tmp_path / "folder").write_text("in the way")

    def make_way(line):
        told.append(line)
        (tmp_path / "folder").unlink()

    storage.patiently(lambda: root.write_bytes("folder/file", b"1"), make_way, pauses_s=(0.001, 0.001))
    assert root.read_bytes("folder/file") == b"1"
    [line] = told
    assert "folder/file: cannot write" in line
    assert "trying again for 0.002 s" in line


def test_what_a_store_refuses_for_good_is_raised_after_every_pause(tmp_path):
    root, tried = storage.open_root(str(tmp_path)), []
    (tmp_path / "folder").write_text("in the way")

    def write():
        tried.append(1)
        root.write_bytes("folder/file", b"1")

    with pytest.raises(StorageError, match="cannot write"):
        storage.patiently(write, lambda line: None, pauses_s=(0.001, 0.001))
    assert len(tried) == 3


def test_a_reader_never_sees_a_part(root):
    writing = threading.Event()
    writing.set()
    root.write_json("v.json", {"text": "", "length": 0})

    def write() -> None:
        lengths = random.Random(1)
        for turn in range(200):
            length = lengths.randrange(20_000)
            root.write_json("v.json", {"turn": turn, "text": "x" * length, "length": length})
        writing.clear()

    reads = 0
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        while writing.is_set() and not writer.done():
            value = root.read_json("v.json")
            assert len(value["text"]) == value["length"]
            reads += 1
        writer.result()
    assert reads > 20


def test_a_root_crosses_to_another_process(root):
    root.write_json("a.json", {"x": 1})
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read_json('a.json'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(root),
        capture_output=True,
        check=True,
        env=_environment(),
    )
    assert done.stdout.decode().strip() == "{'x': 1}"
    assert len(pickle.dumps(root)) < 300


def test_uri_of_opens_the_same_place(root):
    root.write_bytes("a b/c", b"1")
    assert storage.open_root(root.uri_of("a b")).read_bytes("c") == b"1"


def test_pyarrow_reads_and_writes_through_the_filesystem(root):
    root.write_bytes("d/mark", b"")
    table = pa.table({"x": [1, 2]})
    parquet.write_table(table, root.path_of("d/t.parquet"), filesystem=root.filesystem)
    assert parquet.read_table(root.path_of("d/t.parquet"), filesystem=root.filesystem).equals(table)


def test_a_local_root_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert storage.open_root("store/x/").uri == str(tmp_path / "store/x")
    assert storage.open_root("~/store").uri == str(tmp_path / "home/store")
    assert storage.open_root(f"file://{tmp_path}/a%20b").uri == str(tmp_path / "a b")
    with pytest.raises(StorageError, match="open_root"):
        Root("store/x")


@pytest.mark.parametrize(
    "uri",
    ["", " ", "http://host/x", "hdfs://host/x", "s3:/bucket", "s3://", "file://rel/x", "s3://b/x?colour=red"],
)
def test_a_uri_that_cannot_be_opened_tells_what_can(uri):
    with pytest.raises(StorageError, match=r"file:///folder, s3://bucket/folder or gs://bucket/folder"):
        storage.open_root(uri)


def test_a_missing_bucket_is_refused(s3_uri):
    with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket'"):
        storage.open_root(f"s3://no-such-bucket/x?{s3_uri.partition('?')[2]}")


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{KEY}:{SECRET}@bucket/x?colour=red",
        f"s3://{KEY}:{SECRET}/{SECRET}@bucket/x?region=us-east-1",
        f"s3://{KEY}:{SECRET} {SECRET}@bucket/x",
        f"s3://{KEY}:a?{SECRET}@bucket/x",
        f"http://bucket/x?secret_key={SECRET} {SECRET}",
        f"s3://bucket/x?session_token={SECRET}&region=us-east-1",
    ],
)
def test_no_error_shows_credentials(uri):
    with pytest.raises(StorageError) as caught:
        storage.open_root(uri)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("quoted", ["K-EY", "s/cret", "s%2Fcret", "tok en"])
def test_a_store_that_quotes_a_credential_is_not_repeated(quoted):
    uri = "s3://K-EY:s%2Fcret@bucket/x?session_token=tok%20en"
    assert storage._reason(OSError(f"refused:\n{quoted}"), uri) == "refused: ***"


@pytest.mark.parametrize("use", [str, repr, lambda root: _error(lambda: root.read_bytes("bucket"))])
def test_a_root_that_is_shown_hides_its_credentials(s3_uri, use: Callable[[Root], str]):
    root = storage.open_root(s3_uri.replace("s3://", f"s3://{KEY}:{SECRET}@"))
    shown = use(root)
    assert KEY not in shown
    assert SECRET not in shown
    assert "bucket" in shown or "endpoint_override=127.0.0.1" in shown
    assert SECRET in root.uri_of("a")


def _error(use: Callable[[], object]) -> str:
    with pytest.raises(StorageError) as caught:
        use()
    return str(caught.value)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
