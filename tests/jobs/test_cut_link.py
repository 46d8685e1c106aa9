"""Training over two hosts whose link is cut: for a moment, and for so long that they take each other for dead."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hosts
import pytest
import yaml
from hosts import Host
from submitting import Begun, epochs

import tiny
from local import Cluster
from thaw.registry import record
from thaw.storage import Root, open_root

pytestmark = pytest.mark.slow

_MOMENT_S, _LONG_S = 5, 90


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Host, Host]]:
    with hosts.two() as (here, there), tempfile.TemporaryDirectory(prefix="thaw", ignore_cleanup_errors=True) as short:
        cluster = hosts.head(Path(short), here, cpus=3)
        try:
            hosts.join(cluster, there)
            yield cluster, here, there
        finally:
            cluster.end()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return open_root(str(tmp_path_factory.mktemp("linked") / "store"))


def training(cluster: Cluster, here: Host, root: Root, run: str) -> Begun:
    """Begin a run of two workers that no host has the CPUs for alone."""
    plan = {"phases": [{"epochs": 2, "depth": 0}, {"epochs": 12, "depth": 3}], "early_stopping": {"patience": None}}
    folder = Path(root.uri).parent
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**tiny.EXPERIMENT, "finetune": plan}))
    command = ("train", "tiny.yaml", "train.workers=2", "train.cpus_per_worker=2", "--run", run, "--storage", root.uri)
    return Begun(folder, *command, "--json", through=here.through, **cluster.environment)


@pytest.mark.parametrize(("run", "seconds"), [("blinked", _MOMENT_S), ("parted", _LONG_S)])
def test_training_goes_on_after_the_link_is_back(
    run: str,
    seconds: int,
    pair: tuple[Cluster, Host, Host],
    root: Root,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster, here, there = pair
    with training(cluster, here, root, run) as begun:
        begun.wait_until(lambda: len(epochs(root, run)) >= 3)
        there.cut()
        since = time.monotonic()
        time.sleep(seconds)
        known = len(epochs(root, run))
        there.mend()
        mended = time.monotonic()
        if seconds == _LONG_S:  # a host that was taken for dead comes back as a new one, as a pod does
            cluster.nodes[-1].kill()
            hosts.join(cluster, there)
        begun.wait_until(lambda: len(epochs(root, run)) > known)
        told = {
            "cut_s": round(mended - since),
            "epochs_before": known,
            "seconds_from_mended_to_next_epoch": round(time.monotonic() - mended, 1),
        }
        begun.ended()
    record_property(run, told)
    with capsys.disabled():
        print(f"\n{run}: {told}")
    assert [int(row["epoch"]) for row in epochs(root, run)] == list(range(1, 15))
    assert record.load(root, run).epochs_run == 14
