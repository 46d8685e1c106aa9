"""Each check of a cluster is content with a sound one, and says of a broken one where it is broken and what to do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from thaw import catalog
from thaw.doctor import report
from thaw.doctor.finding import Finding
from thaw.doctor.material import Exchanged, Material, Node
from thaw.doctor.node import Disk, Gpu, Seen
from thaw.doctor.tally import Tally, apart

GIB = 2**30
VERSIONS = {"thaw": "0.1.0", "python": "3.11.9", "ray": "2.60.0"}
SEEN = Seen(
    versions=VERSIONS,
    package="/app/platform/thaw",
    shm=8 * GIB,
    disks=(Disk("/tmp/ray", 100 * GIB, 60 * GIB, ""),),
    gpus=(Gpu("H100", 81559, "580.65"),),
    auth="token",
    weights="",
)
NODE = Node("10.0.0.1", gpus=1, object_store=4 * GIB, seen=SEEN, offset_s=0.01, written="", shares=True)
MOVED = {"head.weight": np.array([[0.5, -0.1]], np.float32)}
ONE = Tally(1, 10.0, digests=("aa",), losses=(0.7, 0.5), moved=MOVED)
TWO = Tally(2, 12.0, digests=("bb", "bb"), losses=(0.7, 0.50001), moved={"head.weight": MOVED["head.weight"] + 1e-5})
SOUND = Material(
    here=VERSIONS,
    nodes=(NODE, replace(NODE, name="10.0.0.2")),
    storage="s3://bucket/thaw",
    stranger=401,
    exchanged=Exchanged("nccl", 2, {1024: 1e-4, 2**24: 2e-3}),
    weights="the package of lite0's weights",
    trained=(ONE, TWO),
)


def with_node(**changes: Any) -> Material:
    """Return the sound cluster with another second node."""
    seen = {key: changes.pop(key) for key in list(changes) if not hasattr(NODE, key)}
    node = replace(SOUND.nodes[1], **changes)
    return replace(SOUND, nodes=(NODE, replace(node, seen=replace(SEEN, **seen)) if node.seen else node))


def found(check: str, material: Material) -> Finding:
    return catalog.part(report.FOLDER, check).check(material)


@pytest.mark.parametrize("check", catalog.names(report.FOLDER))
def test_every_check_is_content_with_a_sound_cluster(check: str) -> None:
    told = found(check, SOUND)
    assert (told.state, told.advice) == ("ok", "")


FULL = Disk("/tmp/ray", 100 * GIB, 4 * GIB, "")
FILLING = Disk("/tmp/ray", 100 * GIB, 10 * GIB, "")
READ_ONLY = Disk("/caches", 100 * GIB, 60 * GIB, "Read-only file system")
SLOW = Exchanged("gloo", 2, {1024: 1e-3, 2**24: 0.5})
DRIFTED = replace(TWO, digests=("bb", "cc"))
OTHER = replace(TWO, losses=(0.7, 0.6))
CRASHED = Tally(2, 3.0, failure="the workers' weights have drifted apart")


@pytest.mark.parametrize(
    ("check", "material", "state", "said"),
    [
        ("nodes", with_node(seen=None, silence="no answer in 120 s"), "failed", "10.0.0.2 (no answer"),
        ("versions", with_node(versions=VERSIONS | {"ray": "2.59.0"}), "failed", "ray 2.60.0 on driver"),
        ("versions", replace(SOUND, here=VERSIONS | {"thaw": "0.2.0"}), "failed", "0.1.0 on 10.0.0.1, 10.0.0.2"),
        ("clock", with_node(offset_s=-3.0), "warning", "10.0.0.2 by -3.0 s"),
        ("clock", with_node(offset_s=600.0), "failed", "10.0.0.2 by +600.0 s"),
        ("ports", with_node(unreachable=("head at 10.0.0.1:6379 (refused)",)), "failed", "10.0.0.2 -> head"),
        ("auth", replace(SOUND, stranger=200), "failed", "answers strangers"),
        ("auth", with_node(auth=""), "failed", "not token on 10.0.0.2"),
        ("disk", with_node(disks=(READ_ONLY,)), "failed", "Read-only"),
        ("disk", with_node(disks=(FULL,)), "failed", "96% used"),
        ("disk", with_node(disks=(FILLING,)), "warning", "90% used"),
        ("object_store", with_node(shm=GIB), "failed", "more than /dev/shm has on 10.0.0.2"),
        ("object_store", with_node(object_store=GIB // 8), "warning", "below 0.5 GiB on 10.0.0.2"),
        ("gpus", with_node(gpus=2), "failed", "10.0.0.2"),
        ("gpus", with_node(gpus=0), "warning", "more than Ray offers on 10.0.0.2"),
        ("storage", with_node(written="no such bucket"), "failed", "10.0.0.2: no such bucket"),
        ("storage", with_node(shares=False), "failed", "not one place: 10.0.0.2"),
        ("weights", with_node(weights="lite0 is not installed"), "failed", "10.0.0.2: lite0 is not installed"),
        ("exchange", replace(SOUND, exchanged=SLOW), "warning", "gloo over 2 nodes"),
        ("exchange", replace(SOUND, exchanged=None, alone="failed with nccl: timed out"), "failed", "timed out"),
        ("training", replace(SOUND, trained=(ONE, DRIFTED)), "failed", "not the same on all workers (bb, cc)"),
        ("training", replace(SOUND, trained=(ONE, OTHER)), "failed", "learnt something else than 1"),
        ("training", replace(SOUND, trained=(ONE, CRASHED)), "failed", "drifted apart"),
        ("training", replace(SOUND, trained=(CRASHED, TWO)), "failed", "drifted apart"),
    ],
)
def test_what_is_broken_is_told_with_its_place_and_what_to_do(
    check: str, material: Material, state: str, said: str
) -> None:
    told = found(check, material)
    assert told.state == state
    assert said in told.what
    assert told.advice


def test_the_driver_of_gpus_is_one() -> None:
    told = found("gpus", with_node_gpu("570.0"))
    assert (told.state, "driver 570.0, 580.65" in told.what) == ("warning", True)


def with_node_gpu(driver: str) -> Material:
    other = replace(SOUND.nodes[1], seen=replace(SEEN, gpus=(Gpu("H100", 81559, driver),)))
    return replace(SOUND, nodes=(NODE, other))


@pytest.mark.parametrize("check", ["gpus", "storage", "weights", "exchange", "training", "auth"])
def test_what_is_not_there_is_passed_over_with_the_reason(check: str) -> None:
    bare = replace(NODE, gpus=0, seen=replace(SEEN, gpus=(), auth=""))
    told = found(check, Material(here=VERSIONS, nodes=(bare,)))
    assert told.state == "skipped"
    assert told.what


def test_how_far_weights_are_apart_is_told_relative_to_how_far_they_moved() -> None:
    losses, weights = apart(ONE, TWO)
    assert losses == pytest.approx(1e-5)
    assert weights == pytest.approx(2e-5, rel=1e-2)
    assert apart(replace(ONE, moved={"head.weight": np.zeros((1, 2), np.float32)}), TWO)[1] == float("inf")


def test_a_table_ends_with_what_failed_and_its_code_is_told() -> None:
    sound, broken = report.findings(SOUND), report.findings(with_node(shares=False, offset_s=3.0))
    assert (report.failed(sound), report.lines(sound)[-1]) == ([], "nothing failed")
    assert report.failed(broken) == ["storage"]
    assert report.lines(broken)[-1] == "1 of 12 checks failed: storage; 1 warning(s)"
    assert list(broken) == list(report.ORDER)
    assert report.values(broken)["checks"]["storage"]["own"] == ["10.0.0.2"]
