"""What is seen of a node is what is there, and what a node leaves in the storage root is removed."""

import socket
from pathlib import Path

from thaw.doctor import node, visit
from thaw.doctor.node import Wanted
from thaw.doctor.selftest import trial
from thaw.storage import Root


def test_a_node_is_seen_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    seen = node.look([str(tmp_path / "new"), str(tmp_path / "file" / "below")], Wanted(module="thaw"))
    assert set(seen.versions) == {"thaw", "python", *node.PACKAGES}
    writable, refused = seen.disks
    assert (writable.refusal, list((tmp_path / "new").iterdir())) == ("", [])
    assert writable.total > writable.free > 0
    assert refused.refusal
    assert seen.weights == ""


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert node.look([], Wanted(module="no_such_weights")).weights == "no_such_weights is not installed"
    assert "cannot be read" in str(node.look([], Wanted(path=str(tmp_path / "none.safetensors"))).weights)
    (tmp_path / "some.safetensors").write_bytes(b"")
    assert node.look([], Wanted(path=str(tmp_path / "some.safetensors"))).weights == ""
    assert "does not answer" in str(node.look([], Wanted(url="http://127.0.0.1:1/")).weights)
    assert node.look([], None).weights is None


def test_closed_ports_are_told_and_open_ones_are_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert node.unreachable([("head", "127.0.0.1", port)]) == []
    [told] = node.unreachable([("head", "127.0.0.1", port)])
    assert told.startswith(f"head at 127.0.0.1:{port}")


def test_a_visit_writes_reads_sees_the_drivers_file_and_leaves_nothing(root: Root) -> None:
    root.write_bytes("doctor/x/driver", b"driver")
    came = visit.come(root, "doctor/x")
    assert (came.refusal, came.saw_driver) == ("", True)
    assert came.name in root.list("doctor/x")
    assert visit.go(root, "doctor/x", came.name) == ""
    assert root.list("doctor/x") == ["driver"]
    assert not visit.come(root, "doctor/elsewhere").saw_driver


def test_a_store_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in visit.come(Root(str(tmp_path / "file")), "doctor/x").refusal


def test_as_many_workers_train_as_there_are_nodes_or_gpus_and_room() -> None:
    assert trial.sizes(nodes=3, gpus=0, cpus=3) == (1, 2, 3)
    assert trial.sizes(nodes=1, gpus=0, cpus=8) == (1, 2)
    assert trial.sizes(nodes=2, gpus=16, cpus=64) == (1, 2, 16)
    assert trial.sizes(nodes=8, gpus=0, cpus=3) == (1, 2)
    assert trial.sizes(nodes=1, gpus=1, cpus=16) == (1,)
    assert trial.sizes(nodes=1, gpus=0, cpus=1) == ()


def test_all_sizes_learn_from_the_same_images_in_the_same_batches(tmp_path: Path) -> None:
    one, many = (trial.experiment(str(tmp_path), workers, 64) for workers in (1, 64))
    assert one.model_copy(update={"train": many.train}) == many
    assert one.train.batch == many.train.batch >= 64
