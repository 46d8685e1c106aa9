"""Locks: on a local disk and on S3 alike."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from thaw import lock
from thaw.errors import StorageError
from thaw.storage import Root


def test_a_lock_lets_one_in_at_a_time(root):
    inside = itertools.count()

    def count_up() -> None:
        for _ in range(2):
            with lock.hold(root, "counter"):
                value = root.read_json("counter")
                assert next(inside) == value
                root.write_json("counter", value + 1)

    root.write_json("counter", 0)
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(count_up) for _ in range(5)]:
            done.result()
    assert root.read_json("counter") == 10
    assert root.list("") == ["counter"]


def test_a_lock_is_let_go_when_the_block_fails(root):
    with pytest.raises(KeyError), lock.hold(root, "a/b"):
        raise KeyError
    assert root.list("a") == []


def test_a_lock_not_had_in_time_names_what_to_remove(root):
    with (
        lock.hold(root, "a/b"),
        pytest.raises(StorageError, match=r"a/b: locked .*a/b\.claim-[0-9a-f]{32}.*by hand"),
        lock.hold(root, "a/b", timeout_s=0.2),
    ):
        pass
    assert root.list("a") == []


def test_the_claim_of_a_dead_owner_is_cleared_when_it_is_stale(root):
    root.write_bytes("a/b.claim-0", b"host pid 1\n")
    with pytest.raises(StorageError, match="locked"), lock.hold(root, "a/b", timeout_s=0.2):
        pass
    time.sleep(1.1)
    with lock.hold(root, "a/b", timeout_s=5, stale_s=1):
        assert not root.exists("a/b.claim-0")


def test_a_claim_that_waited_too_long_is_renewed_before_it_wins(tmp_path):
    root = Root(str(tmp_path))
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.hold(root, "a"):
            taken.set()
            let_go.wait()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        taken.wait()
        threading.Timer(1.5, let_go.set).start()
        with lock.hold(root, "a", timeout_s=20, stale_s=1.6):
            claims = [name for name in root.list("") if name.startswith("a.claim-")]
            age_s = time.time() - root.filesystem.get_file_info(root.path_of(claims[0])).mtime.timestamp()
        holder.result()
    assert len(claims) == 1
    assert age_s < 1.2  # it wins below 0.8 s, and above 1.4 s were it not renewed
