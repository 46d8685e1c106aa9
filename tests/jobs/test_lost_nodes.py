"""Work that was submitted to a cluster of three nodes, and loses one: what is lost, and how soon it goes on."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from submitting import Begun, epochs

import local
import tiny
from local import Cluster, Node
from thaw.data.sources import boards
from thaw.registry import record
from thaw.storage import Root, open_root

pytestmark = pytest.mark.slow

IMAGES = 1200
SUBMIT = ("submit", "--json", "--retry", "1", "--shared-path")
WHOLE = "train.cpus_per_worker=2"
"""A worker takes all CPUs of a node, so that no two are on the same one."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local.running(3, cpus=2) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an experiment of several epochs, one of many images, and a storage root."""
    made = tmp_path_factory.mktemp("work")
    plan = {"phases": [{"epochs": 2, "depth": 0}, {"epochs": 8, "depth": 3}], "early_stopping": {"patience": None}}
    small = {**tiny.EXPERIMENT, "finetune": plan, "storage": {"root": str(made / "store")}}
    data = {
        "source": {"type": "boards", "images": IMAGES, "size": 64},
        "split": {"val": 0.05, "test": 0.85},
        "image": {"size": 224},
        "shard_images": 32,
        "allow": ["copies_across_splits"],
    }
    large = {**small, "name": "large", "data": data, "finetune": {"phases": [{"epochs": 1}]}, "evaluate": {"batch": 8}}
    (made / "small.yaml").write_text(yaml.safe_dump(small))
    (made / "large.yaml").write_text(yaml.safe_dump(large))
    return made


@pytest.fixture(scope="module")
def root(folder: Path) -> Root:
    return open_root(str(folder / "store"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Tells what was measured."""

    def tell(**measured: object) -> None:
        for name, value in measured.items():
            record_property(name, value)
        with capsys.disabled():
            print(f"\n{measured}")

    return tell


def lose(cluster: Cluster, title: str) -> float:
    """Kill a node on which something is at work, and return when."""
    lost = next(node for node in working(cluster, title) if node is not cluster.nodes[0])
    since = time.monotonic()
    lost.kill()
    return since


def kill_driver(cluster: Cluster, script: str) -> None:
    """Kill the process that a job's command is."""
    for node in cluster.nodes:
        for one in node.family():
            with suppress(psutil.NoSuchProcess):  # others come and go meanwhile
                if one.name().startswith("python") and script in " ".join(one.cmdline()):
                    one.kill()


def working(cluster: Cluster, title: str) -> list[Node]:
    return [node for node in reversed(cluster.nodes) if node.is_working(title)]


def test_preparing_goes_on_and_comes_to_the_same(
    cluster: Cluster, folder: Path, root: Root, tell: Callable[..., None]
) -> None:
    with Begun(folder, *SUBMIT, "prepare", "large.yaml", **cluster.environment) as begun:
        known = begun.wait_until(lambda: begun.count("checking images"))
        since = lose(cluster, "MapBatches")
        cluster.add()
        begun.wait_until(lambda: begun.count("checking images") > known or begun.count("writing images"))
        tell(prepare_checked=known, prepare_seconds_to_next_line=round(time.monotonic() - since, 1))
        shaken = begun.ended()
    assert (shaken["status"], shaken["code"]) == ("SUCCEEDED", 0)
    elsewhere = ("prepare", "large.yaml", f"storage.root={folder / 'calm'}")
    with Begun(folder, *SUBMIT, *elsewhere, **cluster.environment) as calm:
        assert calm.ended()["fingerprint"] == shaken["fingerprint"]


def test_training_goes_on_from_its_last_checkpoint(
    cluster: Cluster, folder: Path, root: Root, tell: Callable[..., None]
) -> None:
    train = ("train", "small.yaml", "train.workers=2", WHOLE, "--run", "shaken")
    with Begun(folder, *SUBMIT, *train, **cluster.environment) as begun:
        begun.wait_until(lambda: len(epochs(root, "shaken")) >= 3)
        known = len(epochs(root, "shaken"))
        since = lose(cluster, "RayTrainWorker")
        cluster.add()
        begun.wait_until(lambda: len(epochs(root, "shaken")) > known)
        tell(train_epochs=known, train_seconds_to_next_epoch=round(time.monotonic() - since, 1))
        told = begun.ended()
    assert (told["code"], told["status"], told["run"], told["stage"]) == (0, "SUCCEEDED", "shaken", "trained")
    assert [int(row["epoch"]) for row in epochs(root, "shaken")] == list(range(1, 11))
    assert record.load(root, "shaken").epochs_run == 10


def test_a_job_whose_driver_is_killed_is_tried_again_with_the_same_run(
    cluster: Cluster, folder: Path, root: Root
) -> None:
    with Begun(folder, *SUBMIT, "train", "small.yaml", "--run", "twice", **cluster.environment) as begun:
        begun.wait_until(lambda: len(epochs(root, "twice")) >= 3)
        kill_driver(cluster, "jobs/train.py")
        told = begun.ended()
    assert told["run"] == "twice"
    assert [int(row["epoch"]) for row in epochs(root, "twice")] == list(range(1, 11))


def test_a_sweep_goes_on_and_every_trial_comes_to_its_end(
    cluster: Cluster, folder: Path, root: Root, tell: Callable[..., None]
) -> None:
    space = {
        "name": "tiny",
        "dimensions": {"finetune.phases[1].rates.head": {"log": [1e-4, 1e-1]}},
        "search": {"by": "random", "trials": 4},
        "scheduler": {"by": "none"},
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    slow = ("data.image.size=224", "finetune.phases[1].epochs=28")
    tune = ("tune", "small.yaml", WHOLE, *slow, "--space", "space.yaml", "--run", "shaken-sweep")
    with Begun(folder, *SUBMIT, *tune, **cluster.environment) as begun:
        begun.wait_until(lambda: len({number for number, _ in reports(root)}) >= 3)
        since = lose(cluster, "ImplicitFunc")
        known, all_of_them = reports(root), running(root)
        cluster.add()
        # those that were left alone go on at once, so that the lost one has once none waits any more
        begun.wait_until(lambda: not all_of_them & running(root) - {number for number, _ in reports(root) - known})
        tell(tune_epochs=len(known), tune_seconds_to_next_epoch=round(time.monotonic() - since, 1))
        told = begun.ended()
    assert (told["status"], told["sweep"]["id"]) == ("SUCCEEDED", "shaken-sweep")
    assert [trial["stage"] for trial in told["trials"]] == ["finished"] * 4
    assert all([one["epoch"] for one in trial["reports"]] == list(range(1, 31)) for trial in told["trials"])


def trials(root: Root) -> Iterator[dict[str, Any]]:
    """Yield every trial of the sweep as it is written down."""
    for number in root.list("sweeps/shaken-sweep/trials"):
        place = f"sweeps/shaken-sweep/trials/{number}/trial.json"
        if root.exists(place):
            yield root.read_json(place)


def running(root: Root) -> set[int]:
    """Return the numbers of the trials that are not over."""
    return {one["number"] for one in trials(root) if one["stage"] == "running"}


def reports(root: Root) -> set[tuple[int, int]]:
    """Return trial and epoch of every report."""
    return {(one["number"], report["epoch"]) for one in trials(root) for report in one["reports"]}


def trained(cluster: Cluster, folder: Path, *command: str) -> str:
    """Return the version that an experiment comes to."""
    with Begun(folder, *SUBMIT, "train", *command, **cluster.environment) as begun:
        return str(begun.ended()["bundle"]).removeprefix("models/")


@pytest.fixture(scope="module")
def large(cluster: Cluster, folder: Path) -> str:
    return trained(cluster, folder, "large.yaml")


@pytest.fixture(scope="module")
def small(cluster: Cluster, folder: Path) -> str:
    return trained(cluster, folder, "small.yaml", "finetune.phases=[{epochs: 1}]")


def ended_without_a_node(begun: Begun, cluster: Cluster, name: str, tell: Callable[..., None]) -> Any:
    """Take a node from a command that answers images, give another one, and return what the command comes to."""
    known = begun.wait_until(lambda: begun.count("answering images"))
    since = lose(cluster, "MapBatches")
    cluster.add()
    begun.wait_until(lambda: begun.count("answering images") > known)
    tell(**{f"{name}_answered": known, f"{name}_seconds_to_next_line": round(time.monotonic() - since, 1)})
    return begun.ended()


def test_evaluating_goes_on_and_comes_to_the_same(
    cluster: Cluster, folder: Path, large: str, tell: Callable[..., None]
) -> None:
    evaluate = (*SUBMIT, "evaluate", "large.yaml", "--model", large)
    with Begun(folder, *evaluate, **cluster.environment) as begun:
        shaken = ended_without_a_node(begun, cluster, "evaluate", tell)
    assert (shaken["status"], shaken["images"]) == ("SUCCEEDED", round(IMAGES * 0.85))
    with Begun(folder, *evaluate, **cluster.environment) as begun:
        calm = begun.ended()
    assert (shaken["metrics"], shaken["confusions"]) == (calm["metrics"], calm["confusions"])


def test_answering_a_folder_goes_on_and_every_image_is_answered_once(
    cluster: Cluster, folder: Path, small: str, tell: Callable[..., None]
) -> None:
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for place in range(IMAGES):
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{place}.png")
    (folder / "images" / "broken.png").write_text("no image")
    places = (str(folder / "images"), "--out", str(folder / "answers"), "--storage", str(folder / "store"))
    predict = (*SUBMIT, "predict", small, *places, "--batch", "4")
    with Begun(folder, *predict, **cluster.environment) as begun:
        shaken = ended_without_a_node(begun, cluster, "predict", tell)
    assert (shaken["images"], shaken["refused"]) == (IMAGES + 1, {"not_an_image": 1})
    tables = [pq.read_table(file) for file in (folder / "answers").glob("*.parquet")]
    answered = [name for table in tables for name in table["image"].to_pylist()]
    assert sorted(answered) == sorted(path.name for path in (folder / "images").iterdir())
    with Begun(folder, *predict, **cluster.environment) as begun:
        again = begun.ended()
    assert (again["parts_kept"], again["parts"]) == (shaken["parts"], shaken["parts"])


@dataclass
class Caller:
    """Somebody who asks steadily, with a connection for each request."""

    url: str
    image: bytes
    over: threading.Event = field(default_factory=threading.Event)
    came: list[tuple[float, float, str]] = field(default_factory=list)
    """When each request was made, how long it took, and its status or the error."""

    def ask(self) -> str:
        with suppress(httpx.HTTPError):
            return str(httpx.post(f"{self.url}/predict", content=self.image, headers=_PNG, timeout=30).status_code)
        return "none"

    def go_on(self) -> None:
        while not self.over.wait(0.05):
            since = time.monotonic()
            told = self.ask()
            self.came.append((since, time.monotonic() - since, told))


_PNG = {"content-type": "image/png"}


def test_an_endpoint_goes_on_answering_and_has_all_replicas_again(
    cluster: Cluster, folder: Path, small: str, tell: Callable[..., None]
) -> None:
    serve = ("submit", "--shared-path", "serve", small, "--replicas", "2", "--storage", str(folder / "store"))
    with Begun(folder, *serve, **cluster.environment) as begun:
        begun.wait_until(lambda: "answers at" in begun.told)
        caller = Caller(begun.told.partition("answers at ")[2].split()[0], drawn())
        asking = [threading.Thread(target=caller.go_on, daemon=True) for _ in range(2)]
        before = begun.wait_until(lambda: answering if len(answering := replicas(cluster)) == 2 else None)
        for thread in asking:
            thread.start()
        time.sleep(5)
        since = lose(cluster, "Endpoint")
        cluster.add()
        begun.wait_until(lambda: len(answering := replicas(cluster)) == 2 and answering != before)
        again = time.monotonic() - since
        time.sleep(5)
        caller.over.set()
        for thread in asking:
            thread.join()
        failed = [(round(at - since, 1), round(took, 1), told) for at, took, told in caller.came if told != "200"]
        tell(
            serve_asked=len(caller.came),
            serve_failed=failed,
            serve_replicas_again_after_s=round(again, 1),
            serve_slowest_s=round(max(took for _, took, _ in caller.came), 1),
        )
        stop(cluster)
        begun.ended(130)
    with Begun(folder, *serve, **cluster.environment) as begun:
        begun.wait_until(lambda: "answers at" in begun.told)


def test_an_endpoint_whose_driver_is_killed_is_found_again_and_misses_no_request(
    cluster: Cluster, folder: Path, small: str, tell: Callable[..., None]
) -> None:
    serve = (*SUBMIT, "serve", small, "--storage", str(folder / "store"))
    with Begun(folder, *serve, **cluster.environment) as begun:
        begun.wait_until(lambda: "answers at" in begun.told)
        caller = Caller(begun.told.partition("answers at ")[2].split()[0], drawn())
        asking = threading.Thread(target=caller.go_on, daemon=True)
        asking.start()
        kill_driver(cluster, "jobs/serve.py")
        begun.wait_until(lambda: "an earlier try of this job began the endpoint" in begun.told)
        begun.wait_until(lambda: begun.told.count(f"answers at {caller.url}") == 2)  # each try's own line, and no other
        caller.over.set()
        asking.join()
        tell(serve_asked_without_driver=len(caller.came))
        with Begun(folder, *serve, **cluster.environment) as other:
            other.ended(2)
            assert "Ray Serve runs on this cluster already" in other.told
        assert {told for _, _, told in caller.came} == {"200"}
        stop(cluster)
        assert begun.ended(130)["status"] == "STOPPED"
    assert not asked(cluster, "GET", "/api/serve/applications/")["applications"]


def drawn() -> bytes:
    """Return an image as PNG."""
    file = io.BytesIO()
    Image.fromarray(boards.draw(0, 0, 64).image).save(file, "PNG")
    return file.getvalue()


def replicas(cluster: Cluster) -> set[str]:
    """Return the replicas that Ray Serve takes for running."""
    [application] = asked(cluster, "GET", "/api/serve/applications/")["applications"].values()
    every = application["deployments"]["Endpoint"]["replicas"]
    return {one["replica_id"] for one in every if one["state"] == "RUNNING"}


def stop(cluster: Cluster) -> None:
    """Stop the job that runs."""
    [job] = [one["submission_id"] for one in asked(cluster, "GET", "/api/jobs/") if one["status"] == "RUNNING"]
    asked(cluster, "POST", f"/api/jobs/{job}/stop")


def asked(cluster: Cluster, method: str, path: str) -> Any:
    """Return what the dashboard answers."""
    shown = {"Authorization": f"Bearer {cluster.token.read_text()}"} if cluster.token else {}
    return httpx.request(method, f"{cluster.dashboard}{path}", headers=shown, timeout=30).json()
