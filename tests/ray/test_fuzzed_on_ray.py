"""A thousand requests that nobody would write, against all of an endpoint: the proxy, a replica and its model."""

import psutil
import pytest

import fuzzing
from in_process import every_kind
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.config.watch import PredictionLog
from thaw.registry import store
from thaw.serving import on_ray as serving
from thaw.storage import open_root

SETTINGS = Serve(
    port=8190,
    limits=Limits(max_bytes=fuzzing.MOST_BYTES, max_pixels=1_000_000),
    max_images=4,
    log=PredictionLog(share=1),
)
CASES = 1000


@pytest.fixture
def url(tmp_path):
    """An endpoint whose model has a head of every kind, and as many versions as requests may name."""
    root, lineage = tmp_path / "store", store.Lineage(run_id="fuzzed", dataset_fingerprint="none")
    (folder := tmp_path / "bundle").mkdir()
    every_kind().save(folder)
    for _ in range(fuzzing.VERSION):
        store.register(open_root(str(root)), fuzzing.MODEL, folder, lineage)
    with serving.endpoint(f"{fuzzing.MODEL}/{fuzzing.VERSION}", str(root), SETTINGS) as address:
        yield address


def replicas():
    """Return process id -> resident MiB of the processes that answer."""
    ours = psutil.Process().children(recursive=True)
    return {
        one.pid: one.memory_info().rss / 2**20
        for one in ours
        if one.is_running() and "Replica" in " ".join(one.cmdline())
    }


@pytest.mark.slow
def test_a_thousand_requests_and_all_wild_ones_are_answered_as_documented_by_a_process_that_lives_on(url):
    before = replicas()
    seen = fuzzing.ask_all(url, CASES)
    print(sorted(seen.items()))
    assert sum(seen.values()) >= CASES
    assert {200, 304, 400, 404, 413, 415, 422} <= seen.keys()
    for name, sent in fuzzing.wild().items():
        told = fuzzing.raw(url, sent)
        fuzzing.leaks(told.decode("latin-1"))
        assert not told or int(told.split(b" ", 2)[1]) < 500, f"{name}: {told[:300]!r}"
    after = replicas()
    print(before, after)
    assert before.keys() == after.keys()
