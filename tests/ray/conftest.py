"""One Ray for all tests of this folder, and the smallest experiments that are still real."""

import pytest
import torch

import tiny
from thaw import on_ray
from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import on_ray as data


@pytest.fixture(scope="session", autouse=True)
def one_ray():
    """Start Ray once; everything below joins it."""
    torch.set_num_threads(1)
    with on_ray.cluster(cpus=3):
        yield


@pytest.fixture(scope="session")
def experiment(tmp_path_factory) -> Experiment:
    """Two heads on a tiny network, in a storage root of its own."""
    root = tmp_path_factory.mktemp("store")
    return load.parse({**tiny.EXPERIMENT, "storage": {"root": str(root)}}, "test")


@pytest.fixture(scope="session")
def prepared(experiment):
    """The experiment's dataset."""
    return data.prepare(experiment)
