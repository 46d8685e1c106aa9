"""A run's pulse reaches whoever scrapes the node, under the names that alerts ask for."""

import re
import time
import urllib.request

import pytest
import ray

from thaw.training.pulse.on_ray import GAUGES, Pulse
from thaw.training.state import Epoch

EPOCH = {"phase": 0, "depth": 0, "metrics": {}, "score": 0.0, "seconds": 1.0, "images_per_s": 3.0, "waiting": 0.2}


@ray.remote(num_cpus=1)
class Worker:
    def __init__(self):
        self.pulse = Pulse("runs/scraped")

    def train(self, val_loss):
        self.pulse.step(7)
        self.pulse.epoch(Epoch(epoch=1, step=7, train_loss={"kind": 1.0}, val_loss={"kind": val_loss}, **EPOCH))

    def lose(self):
        self.pulse.lost()


def scraped():
    """Return what the node exports of the run."""
    node = ray.nodes()[0]
    with urllib.request.urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as answer:
        text = answer.read().decode()
    lines = [line for line in text.splitlines() if 'run="runs/scraped"' in line]
    return {re.match(r"\w+", line)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def wait_for(name, value):
    for _ in range(60):
        if scraped().get(name) == value:
            return scraped()
        time.sleep(1)
    return scraped()


@pytest.mark.slow  # Ray exports every ten seconds
def test_what_a_run_says_is_scraped():
    worker = Worker.remote()
    ray.get(worker.train.remote(1.0))
    expected = {"step": 7.0, "images_per_second": 3.0, "waiting_ratio": 0.2, "loss_finite": 1.0}
    assert wait_for("ray_thaw_training_step", 7.0) == {
        f"ray_thaw_training_{name}": told for name, told in expected.items()
    }
    assert {f"ray_{name}" for name in GAUGES} == set(scraped())
    ray.get(worker.train.remote(float("nan")))
    assert wait_for("ray_thaw_training_loss_finite", 0.0)["ray_thaw_training_loss_finite"] == 0.0
    ray.get(worker.train.remote(1.0))
    assert wait_for("ray_thaw_training_loss_finite", 1.0)["ray_thaw_training_loss_finite"] == 1.0
    ray.get(worker.lose.remote())
    assert wait_for("ray_thaw_training_loss_finite", 0.0)["ray_thaw_training_loss_finite"] == 0.0
