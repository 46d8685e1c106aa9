"""A cluster that begins with a head without CPUs, and an autoscaler that starts nodes for what is asked of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from submitting import Begun, epochs

import local
import tiny
from local import Cluster, Kind
from thaw.storage import open_root

pytestmark = pytest.mark.slow

KINDS = {"cpu": Kind({"CPU": 2, "object_store_memory": 200_000_000}, most=2)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local.running(1, cpus=0, dashboard=False, grows=KINDS) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("work")
    left_out = {**tiny.EXPERIMENT, "train": {"batch": 8, "precision": "fp32", "cpus_per_worker": 1}}
    (made / "tiny.yaml").write_text(yaml.safe_dump({**left_out, "storage": {"root": str(made / "store")}}))
    return made


def test_what_is_not_there_is_refused_at_once_where_nothing_is_waited_for(cluster: Cluster, folder: Path) -> None:
    with Begun(folder, "prepare", "tiny.yaml", "cluster.wait_s=0", **cluster.environment) as begun:
        assert "the cluster has 0 CPUs and 0 GPUs on 1 node(s), and no room for 1 CPU" in begun.ended(2)["told"]


def test_training_waits_for_nodes_and_takes_what_kinds_there_are(
    cluster: Cluster, folder: Path, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    since = time.monotonic()
    train = ("train", "tiny.yaml", "train.workers=2", "--run", "grown", "--json")  # and decoding: more than one node
    with Begun(folder, *train, **cluster.environment) as begun:
        begun.wait_until(lambda: "waiting up to 1800 s" in begun.told)
        begun.wait_until(lambda: epochs(open_root(str(folder / "store")), "grown"))
        seconds = round(time.monotonic() - since, 1)
        told = begun.ended()
    record_property("seconds_to_first_epoch", seconds)
    with capsys.disabled():
        print(f"\n{seconds} s from no node to the first epoch")
    assert (told["stage"], told["experiment"]["train"]["device"]) == ("trained", "cpu")


@pytest.mark.parametrize("asked", [("train.device=gpu",), ("train.workers=4",)])
def test_what_no_kind_of_node_could_ever_hold_is_refused(
    asked: tuple[str, ...], cluster: Cluster, folder: Path
) -> None:
    with Begun(folder, "train", "tiny.yaml", *asked, **cluster.environment) as begun:
        assert "its autoscaler may start no nodes that would hold that" in begun.ended(2)["told"]
