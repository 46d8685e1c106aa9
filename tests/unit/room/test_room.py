"""Slots: whether nodes can hold several of them, each on one node."""

import pytest

from thaw.room.slot import Node, Slot, had, hold, meets, told

GPU = Node({"CPU": 8, "GPU": 1})
CPU = LABELLED = Node({"CPU": 4}, {"role": "data"})
LABELLED_GPU = Node({"CPU": 4, "GPU": 1}, {"role": "data"})


@pytest.mark.parametrize(
    ("nodes", "slots", "held"),
    [
        ([], [Slot.of(cpus=1)], False),
        ([CPU], [Slot.of(cpus=4)], True),
        ([CPU, CPU], [Slot.of(cpus=8)], False),  # what one node lacks another cannot give
        ([CPU, CPU], [Slot.of(cpus=3), Slot.of(cpus=3)], True),
        ([CPU, CPU], [Slot.of(cpus=3)] * 3, False),
        ([GPU, CPU], [Slot.of(cpus=1), Slot.of(cpus=8, gpus=1)], True),  # the dearest is placed first
        ([GPU, CPU], [Slot.of(cpus=1, labels={"role": "data"})] * 4, True),
        ([GPU, CPU], [Slot.of(cpus=1, labels={"role": "data"})] * 5, False),
        ([GPU], [Slot.of(gpus=0.5)] * 2, True),
        ([Node({"CPU": 0.3})], [Slot.of(cpus=0.1)] * 3, True),
        ([GPU], [Slot.of(cpus=1, decoder=0.1)], False),
        ([Node({"GPU": 2})], [Slot.of(gpus=0.6)] * 2, True),
        ([Node({"GPU": 2})], [Slot.of(gpus=0.6)] * 3, False),  # what two GPUs have left makes no third part
        ([Node({"GPU": 2})], [Slot.of(gpus=1 / 3)] * 6, True),
        ([LABELLED_GPU, LABELLED], [Slot.of(cpus=4, gpus=1), Slot.of(cpus=1, labels={"role": "data"})], True),
        ([Node({"CPU": 4, "dec": 1}), Node({"CPU": 4})], [Slot.of(cpus=4), Slot.of(cpus=1, dec=1)], True),
    ],
)
def test_slots_are_held_by_nodes_each_by_one(nodes, slots, held):
    assert hold(nodes, slots) == held


@pytest.mark.parametrize(
    ("label", "wanted", "met"),
    [
        ("data", "data", True),
        (None, "data", False),
        ("data", "!data", False),
        (None, "!data", True),
        ("b", "in(a, b)", True),
        ("b", "!in(a, b)", False),
    ],
)
def test_labels_meet_what_selectors_ask_for(label, wanted, met):
    assert meets(label, wanted) == met


def test_slots_and_nodes_are_told_in_words():
    wanted = [Slot.of(cpus=2, gpus=1), Slot.of(cpus=2, gpus=1), Slot.of(cpus=1, labels={"role": "data"})]
    assert told(wanted) == "2 x (2 CPUs and 1 GPU), 1 CPU and role: data"
    assert had([GPU, CPU]) == "12 CPUs and 1 GPU on 2 node(s)"
