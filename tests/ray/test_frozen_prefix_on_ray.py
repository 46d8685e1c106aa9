"""What frozen layers make of images is kept in the object store, for all workers and the next worker too."""

import csv
import io

import numpy as np
import pytest
import ray
import torch

from actors import killed
from thaw.config.experiment import Cache
from thaw.storage import open_root
from thaw.training import on_ray as training
from thaw.training.frozen_prefix.blocks import Block
from thaw.training.frozen_prefix.on_ray import SharedStore, shared_store
from tiny import changed


def block(value):
    return Block.of({"pooled": torch.full((4, 50_000), value)}, {"target.kind": np.arange(4)})


def put_from_another_process(store, key):
    """Put a block as a worker that is gone afterwards."""
    made = block(1.0)  # here, for the other process cannot import this file
    process = ray.remote(num_cpus=0, max_calls=1)(lambda: store.put(key, 0, made))
    ray.get(process.remote())


def test_what_a_worker_put_outlives_it_and_is_read_in_place(one_ray):
    with shared_store(Cache(max_bytes=10**7)) as store:
        put_from_another_process(store, "a")
        assert store.places("a") == {0}
        found = store.get("a")[0]
        assert (found.arrays["cut.pooled"] == 1).all()
        assert not found.arrays["cut.pooled"].flags.writeable  # a view of the store's own memory
        assert store.get("b") == {}


def test_the_budget_holds_and_is_half_of_a_nodes_store_where_none_is_set(one_ray):
    with shared_store(Cache(max_bytes=10**6)) as store:
        store.put("a", 0, block(1.0))
        store.put("b", 0, block(2.0))
        assert store.places("a") == set()
        assert store.places("b") == {0}
        store.put("b", 1, block(2.0))
        assert store.places("b") == {0}
    with shared_store(Cache()) as store:
        [memory] = [node["Resources"]["object_store_memory"] for node in ray.nodes() if node["Alive"]]
        assert isinstance(store, SharedStore)
        assert store.max_bytes == int(memory / 2)
    with shared_store(Cache(use="never")) as store:
        assert store is None


def test_without_its_keeper_a_store_has_nothing_and_takes_nothing(one_ray):
    with shared_store(Cache(max_bytes=10**7)) as store:
        store.put("a", 0, block(1.0))
        killed(store._keeper, "places", "a")
        assert store.get("a") == {}
        assert store.places("a") == set()
        store.put("a", 0, block(1.0))
        assert store.claim("one", [("a", 0)]) == [("a", 0)]
        store.release("one")


def curve(experiment, run):
    text = open_root(experiment.storage.root).read_bytes(f"runs/{run.id}/metrics.csv").decode()
    kinds = ("train_loss", "val_loss")
    return [
        {name: float(value) for name, value in row.items() if name.startswith(kinds)}
        for row in csv.DictReader(io.StringIO(text))
    ]


@pytest.mark.slow
def test_a_run_with_the_cache_learns_what_one_without_it_does(experiment, prepared, capfd):
    phases = [{"epochs": 3, "depth": 0, "views": 2}, {"epochs": 2, "depth": 2, "views": 1}]
    chosen = changed(experiment, finetune__phases=phases, model__dropout=0.0)
    plain = training.train(changed(chosen, train__cache={"use": "never"}), prepared)
    for workers in (1, 2):
        always = changed(chosen, train__cache={"use": "always"}, train__workers=workers)
        kept = training.train(always, prepared)
        told = capfd.readouterr().err
        assert "cache: used in phase 1 (depth 0)" in told
        assert "cache: used in phase 2 (depth 2)" in told
        for one, other in zip(curve(always, kept), curve(chosen, plain), strict=True):
            assert one == pytest.approx(other, abs=1e-3)
