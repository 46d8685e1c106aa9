"""On a Ray that has a GPU: training, evaluation, sweeps, probes, the doctor and an endpoint use it."""

import io
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from thaw import on_ray
from thaw.config import load
from thaw.config.experiment import Experiment, Weights
from thaw.config.serving import Serve
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.doctor import on_ray as doctor
from thaw.doctor import report
from thaw.doctor.on_ray import Question
from thaw.errors import ClusterError
from thaw.evaluation import on_ray as evaluation
from thaw.probe import on_ray as probing
from thaw.probe.candidates import Candidate
from thaw.probe.on_ray import Request
from thaw.registry.record import RunRecord
from thaw.serving import on_ray as serving
from thaw.training import on_ray as training
from thaw.tuning import on_ray as tuning
from thaw.tuning.study import Study
from tiny import changed


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    """One Ray for all, with the GPUs of this machine."""
    with on_ray.cluster(cpus=3):
        yield


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Two heads on a tiny network; where it trains and how precisely is left out."""
    root = str(tmp_path_factory.mktemp("store"))
    train = {"batch": 8, "cpus_per_worker": 0.5}
    values: dict[str, Any] = {**tiny.EXPERIMENT, "train": train, "evaluate": {"gpus": 0.5}, "storage": {"root": root}}
    return load.parse(values, "test")


@pytest.fixture(scope="module")
def prepared(experiment: Experiment) -> Dataset:
    """The experiment's dataset."""
    return data.prepare(experiment)


@pytest.fixture(scope="module")
def trained(experiment: Experiment, prepared: Dataset) -> RunRecord:
    """A run that nothing was said to about devices."""
    return training.train(experiment, prepared)


def test_a_cluster_with_a_gpu_trains_on_it(trained: RunRecord) -> None:
    assert trained.environment["device"] == torch.cuda.get_device_name()
    assert trained.environment["precision"] == "bf16"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_precisions_train_too(experiment: Experiment, prepared: Dataset, precision: str) -> None:
    found = training.train(changed(experiment, train__precision=precision, finetune__ema={"decay": 0.9}), prepared)
    assert found.environment["precision"] == precision


def test_a_gpu_scores_what_a_cpu_scores(experiment: Experiment, trained: RunRecord) -> None:
    reference = str(trained.bundle).removeprefix("models/")
    on_gpu = evaluation.evaluate(experiment, reference)
    on_cpu = evaluation.evaluate(changed(experiment, evaluate__gpus=0), reference)
    for task, figures in on_gpu.metrics.items():
        assert figures == pytest.approx(on_cpu.metrics[task], abs=0.02)


def test_more_gpus_than_there_are_are_refused(experiment: Experiment, prepared: Dataset) -> None:
    with pytest.raises(ClusterError, match="no room for 99 x"):
        training.train(changed(experiment, train__workers=99, train__device="gpu"), prepared)


def test_two_trials_share_a_gpu(experiment: Experiment) -> None:
    study = Study.model_validate(
        {
            "name": "tiny",
            "dimensions": {"finetune.phases[1].rates.head": {"log": [1e-4, 1e-1]}},
            "search": {"by": "random", "trials": 3},
            "budget": {"concurrent": 2, "gpus_per_trial": 0.5},
        }
    )
    found = tuning.search(changed(experiment, name="swept"), study, experiment.storage.root)
    assert {trial.stage for trial in found.trials} <= {"finished", "stopped"}
    assert found.record.environment["device"] == torch.cuda.get_device_name()


def test_backbones_are_ranked_on_a_gpu(experiment: Experiment, prepared: Dataset) -> None:
    found = probing.rank(experiment, Request([Candidate("test_resnet", Weights(source="none"))]), prepared)
    assert found.rows[0].left_out is None
    assert found.rows[0].latency_ms


def test_the_doctor_sees_gpus_and_finds_nothing_wrong_with_them(experiment: Experiment) -> None:
    found = report.findings(doctor.examine(Question(experiment.storage.root, training=False)))
    assert found["gpus"].state == "ok"
    assert torch.cuda.get_device_name() in found["gpus"].what
    assert found["exchange"].state == "ok"


def test_an_endpoint_answers_on_a_gpu(experiment: Experiment, trained: RunRecord) -> None:
    reference = str(trained.bundle).removeprefix("models/")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(buffer, "PNG")
    with serving.endpoint(reference, experiment.storage.root, Serve(port=8123, gpus=0.5)) as address:
        answered = [0] * 4

        def ask(caller: int) -> None:
            for _ in range(5):
                request = urllib.request.Request(f"{address}/predict", buffer.getvalue(), {"content-type": "image/png"})
                with urllib.request.urlopen(request, timeout=60) as answer:
                    answered[caller] += answer.status == 200

        callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(len(answered))]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert answered == [5] * 4
