"""From a trained model to an answer over HTTP: what is served is what was scored."""

import functools
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

import hostile
from reading import Reader
from thaw import bundle, golden, predictor
from thaw.backends.artifact import Settings
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data import dataset, quality, split_file
from thaw.data import on_ray as data
from thaw.data.sources import boards
from thaw.errors import DataError, StorageError
from thaw.evaluation import kept, ledger
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.answering import on_ray as answering
from thaw.evaluation.comparing import on_ray as comparing
from thaw.evaluation.ledger import Look
from thaw.evaluation.predict import predict
from thaw.export import export
from thaw.export.export import Request
from thaw.export.gate import Tolerance
from thaw.predictor import as_json
from thaw.probe import cost
from thaw.registry import record, store
from thaw.serving import on_ray as serving
from thaw.storage import local_cache, open_root
from thaw.training import on_ray as training
from tiny import changed

IMAGES = 72


@pytest.fixture(scope="module")
def experiment(experiment, tmp_path_factory):
    """A head of every kind on a table whose labels are partly missing."""
    folder = tmp_path_factory.mktemp("table")
    rows = [json.dumps(_drawn(folder, place)) for place in range(IMAGES)]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    tasks = {
        "verdict": {"type": "classification"},
        "tags": {"type": "multilabel"},
        "defects": {"type": "detection", "convs": 1, "min_score": 0.01},
        "copper": {"type": "segmentation", "channels": 8},
    }
    source = {"type": "table", "path": str(folder), "mask_values": {0: "board", 1: "copper"}}
    model = {**experiment.model.model_dump(mode="json"), "pyramid": 16}
    return changed(experiment, name="partial", tasks=tasks, data__source=source, model=model)


def _drawn(folder, place):
    board = boards.draw(0, place, 64)
    Image.fromarray(board.image).save(folder / f"{place:03d}.png")
    tags = [board.layout, *(["tall"] if place % 2 else [])]
    Image.fromarray(board.copper).save(folder / f"{place:03d}_mask.png")
    corners = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in board.boxes.tolist()]
    defects = {"bbox": corners, "categories": list(board.kinds)}
    return {
        "file_name": f"{place:03d}.png",
        "verdict": board.verdict if place % 4 else None,
        "tags": tags if place % 4 != 2 else None,
        "defects": defects if place % 4 != 1 else None,
        "copper_file_name": f"{place:03d}_mask.png" if place % 4 != 3 else None,
    }


@pytest.fixture(scope="module")
def prepared(experiment):
    return data.prepare(experiment)


@pytest.fixture(scope="module")
def trained(experiment, prepared):
    return training.train(experiment, prepared)


@pytest.fixture(scope="module")
def reference(trained):
    return trained.bundle.removeprefix("models/")


@pytest.fixture(scope="module")
def scores(experiment, reference):
    return evaluation.evaluate(experiment, reference)


@pytest.fixture(scope="module")
def stored(experiment, scores):
    """Image id -> the answer that was scored."""
    table = pq.read_table(open_root(experiment.storage.root).path_of(scores.answers))
    return {row["id"]: json.loads(row["answer"]) for row in table.to_pylist()}


@pytest.fixture(scope="module")
def images(experiment, prepared):
    """Image id -> encoded bytes of the test split."""
    root = open_root(experiment.storage.root)
    shards = [dataset.read_shard(root, f"{prepared.path}/{shard.file}") for shard in prepared.splits["test"]]
    return {row["id"]: row["image"] for shard in shards for row in shard.to_pylist()}


@pytest.fixture(scope="module")
def url(experiment, reference):
    limits = Limits(max_bytes=2_000_000, max_pixels=4_000_000)
    with serving.endpoint(reference, experiment.storage.root, Serve(port=8123, limits=limits)) as address:
        yield address


def flat(value, place=""):
    """Return place -> number or word of nested plain values."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {where: leaf for key, inner in value.items() for where, leaf in flat(inner, f"{place}/{key}").items()}
    return {place: value}


def same(one, other):
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for place, value in one.items():
        if isinstance(value, float):
            assert abs(value - other[place]) <= (1e-3 if "/box/" in place else 1e-6), place  # boxes are in pixels
        else:
            assert value == other[place], place


def test_every_test_image_is_answered_once_and_scored(experiment, prepared, scores, stored, images, trained):
    assert stored.keys() == images.keys()
    assert scores.images == len(images)
    run = record.load(open_root(experiment.storage.root), trained.id)
    assert run.stage == "evaluated"
    assert run.metrics["test"] == scores.metrics
    labelled = prepared.report.labelled["test"]
    table = np.array(scores.confusions["verdict"].counts)
    assert table.sum() == labelled["verdict"] < len(images)
    assert scores.metrics["verdict"]["accuracy"] == pytest.approx(np.trace(table) / table.sum())
    assert scores.metrics["tags"]
    assert {"map50", "precision"} <= set(scores.metrics["defects"])
    assert {"miou", "iou_board", "iou_copper"} <= set(scores.metrics["copper"])
    assert any(answer["defects"]["boxes"] for answer in stored.values())


def test_a_model_carries_eight_validation_images_with_its_settled_answers(experiment, prepared, reference):
    root = open_root(experiment.storage.root)
    loaded = bundle.load(store.fetch(root, store.resolve(root, reference), local_cache()))
    kept = golden.read(loaded, store.fetch(root, store.resolve(root, reference), local_cache()))
    assert len(kept) == golden.IMAGES
    assert {one.id for one in kept} <= set(dataset.ids_of(root, prepared, "val"))
    again = predictor.answer(loaded, [quality.decode(one.image, Limits()) for one in kept])
    for one, answers in zip(kept, again, strict=True):
        same(as_json(one.answers), as_json(answers))


def test_anchors_read_off_the_boxes_are_kept_with_run_and_bundle(experiment, trained, reference):
    root = open_root(experiment.storage.root)
    kept = record.load(root, trained.id).experiment["tasks"]["defects"]["anchors"]
    assert all(size > 0 for size in kept["sizes"])
    bundle = root.read_json(f"models/{reference}/bundle.json")
    assert bundle["tasks"]["defects"]["anchors"] == kept


def test_an_artifact_is_measured_and_served_in_its_bundles_place(
    experiment, reference, trained, scores, stored, images, monkeypatch
):
    """Before the bundle is served: a cluster serves one application."""
    monkeypatch.setattr(cost, "_ENOUGH_S", 0.0)
    place = experiment.storage.root
    made = export.export(place, reference, Request(Settings(to="onnx"), Tolerance()))
    assert made.verdict.passed, made.verdict.reasons
    before = record.load(open_root(place), trained.id)
    found = evaluation.evaluate(experiment, reference, artifact="onnx")
    assert (found.artifact, found.looks) == ("onnx", scores.looks + 1)
    assert found.answers == f"runs/{trained.id}/evaluation/artifacts/onnx/test.parquet"
    assert record.load(open_root(place), trained.id) == before
    with serving.endpoint(reference, place, Serve(port=8123), "onnx") as address:
        for image_id, image in list(images.items())[:3]:
            served = httpx.post(f"{address}/predict", files={"image": image}).json()["answers"]
            assert served["verdict"]["scores"] == pytest.approx(stored[image_id]["verdict"]["scores"], abs=1e-4)
    with pytest.raises(StorageError, match="has no artifact 'onnx-int8'"):
        evaluation.evaluate(experiment, reference, artifact="onnx-int8")


def test_http_gives_the_answer_that_was_scored(url, stored, images):
    for image_id, image in images.items():
        response = httpx.post(f"{url}/predict", content=image, headers={"content-type": "image/png"})
        same(response.json()["answers"], stored[image_id])


def test_answers_do_not_depend_on_which_requests_came_together(url, stored, images):
    def ask(image_id):
        return httpx.post(f"{url}/predict", files={"image": images[image_id]}).json()["answers"]

    with ThreadPoolExecutor(12) as people:
        for image_id, answers in zip(images, people.map(ask, images), strict=True):
            same(answers, stored[image_id])


def test_predict_gives_the_answer_that_was_scored(experiment, reference, stored, images, tmp_path):
    paths = []
    for image_id, image in images.items():
        paths.append(tmp_path / image_id)
        paths[-1].write_bytes(image)
    paths.append(tmp_path / "none.png")
    found = predict(experiment.storage.root, reference, paths, Limits())
    assert list(found.refused) == [str(paths[-1])]
    for path, answer in found.answers.items():
        same(as_json(answer), stored[path.rsplit("/", 1)[1]])
    with pytest.raises(DataError, match=r"none of 1 images can be answered; the first: .*none\.png: unreadable"):
        predict(experiment.storage.root, reference, paths[-1:], Limits())


def test_hostile_bodies_are_refused_and_the_replica_lives_on(url, images):
    for name, (content, reason) in hostile.files().items():
        response = httpx.post(f"{url}/predict", content=content, headers={"content-type": "image/jpeg"})
        assert (response.status_code == 200) == (reason is None) or response.status_code == 413, name
        assert response.status_code < 500, name
        assert "detail" in response.json() or "answers" in response.json()
    last = httpx.post(f"{url}/predict", content=next(iter(images.values())), headers={"content-type": "image/png"})
    assert last.status_code == 200


def test_health_and_readiness(url):
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/v2/health/ready").json() == {"ready": True}


def test_a_taken_port_gives_the_next_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < serving.free_port("127.0.0.1", port) <= port + 100


def test_a_model_that_does_not_exist_is_refused_before_anything_starts(experiment):
    with pytest.raises(StorageError, match="nothing"), serving.endpoint("nothing", experiment.storage.root, Serve()):
        pass


def test_a_dataset_with_other_classes_cannot_measure_a_model(experiment, reference, prepared):
    other = prepared.labels["verdict"].model_copy(update={"names": ("a", "b")})
    strange = prepared.model_copy(update={"labels": {**prepared.labels, "verdict": other}})
    with pytest.raises(DataError, match="task verdict knows the classes"):
        evaluation.evaluate(experiment, reference, strange)


def test_ray_makes_an_application_of_what_a_config_file_says(experiment, reference):
    given = {"model": reference, "storage": experiment.storage.root, "serve": {"auth": "none"}}
    assert isinstance(call_user_app_builder_with_args_if_necessary(serving.build, given), Application)


def test_a_shard_that_is_gone_is_named(experiment, reference, prepared):
    [shard] = prepared.splits["test"]
    gone = {**prepared.splits, "test": (shard.model_copy(update={"file": "gone.parquet"}),)}
    root = open_root(experiment.storage.root)
    network = functools.partial(answering.loaded, root, store.resolve(root, reference), None)
    with pytest.raises(StorageError, match="gone.parquet"):
        answering.answers(root, network, prepared.model_copy(update={"splits": gone}), "test", experiment)


def test_an_alias_serves_what_it_points_at(experiment, reference):
    root = open_root(experiment.storage.root)
    name, version = reference.split("/")
    assert store.set_alias(root, name, "champion", int(version)) is None
    assert store.resolve(root, name).version == int(version)


def test_every_look_at_the_test_images_is_counted(experiment, prepared, scores, reference, trained):
    root = open_root(experiment.storage.root)
    folder = ledger.place(open_root(experiment.storage.root), prepared)
    before = len(root.list(folder))
    assert scores.looks == 1
    again = evaluation.evaluate(experiment, reference)
    assert (again.looks, again.metrics) == (before + 1, scores.metrics)
    last = Look.model_validate(root.read_json(f"{folder}/{max(root.list(folder))}"))
    assert (last.model, last.run_id) == (reference, trained.id)
    on_val = changed(experiment, evaluate__split="val")
    assert evaluation.evaluate(on_val, reference).looks == 0
    assert len(root.list(folder)) == before + 1


def test_two_splits_measured_at_once_are_both_kept(experiment, reference, trained):
    root = open_root(experiment.storage.root)
    record.save(root, record.load(root, trained.id).model_copy(update={"metrics": {}}))
    each = [changed(experiment, evaluate__split=split) for split in ("val", "test")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(evaluation.evaluate, each, [reference] * 2))
    assert record.load(root, trained.id).metrics.keys() == {"val", "test"}


def test_figures_have_intervals_around_what_was_scored(scores):
    for task, metrics in scores.metrics.items():
        for name, interval in scores.figures[task].metrics.items():
            assert interval.value == pytest.approx(metrics[name], abs=1e-6), (task, name)
            assert interval.low <= interval.value <= interval.high, (task, name)


def test_a_page_shows_every_task_with_the_images_answered_worst(experiment, scores):
    page = open_root(experiment.storage.root).read_bytes(scores.report).decode()
    read = Reader(page)
    assert read.open == []
    assert all(f"<h2>{task}</h2>" in page for task in scores.metrics)
    assert "data:image/jpeg;base64," in page
    assert "no picture" not in page


def test_a_model_is_as_good_as_itself(experiment, scores, reference, prepared):
    root = open_root(experiment.storage.root)
    before = len(root.list(ledger.place(root, prepared)))
    found, page = comparing.compare(experiment.storage.root, reference, reference, "test")
    assert len(root.list(ledger.place(root, prepared))) == before + 1
    assert reference in Reader(open_root(experiment.storage.root).read_bytes(page).decode()).text
    assert set(found.tasks) == set(scores.metrics)
    for one in found.tasks.values():
        assert (one.fixed, one.broken) == ((), ())
        assert {figure.difference.high for figure in one.metrics.values()} == {0}


def test_images_that_a_model_has_learnt_from_are_no_test_in_another_dataset_either(experiment, reference):
    other = data.prepare(changed(experiment, name="shuffled", data__split={"given": False, "test": 0.4}))
    before = len(open_root(experiment.storage.root).list(ledger.FOLDER))
    with pytest.raises(DataError, match="has learnt from .* test images"):
        evaluation.evaluate(experiment, reference, other)
    assert len(open_root(experiment.storage.root).list(ledger.FOLDER)) == before


def test_a_look_at_another_dataset_leaves_the_record_as_it_was(experiment, prepared, reference, trained, tmp_path):
    root = open_root(experiment.storage.root)
    before = record.load(root, trained.id).metrics
    sides = {one: split for split in prepared.splits for one in dataset.ids_of(root, prepared, split)}
    moved = dataset.ids_of(root, prepared, "val")[:3]
    split_file.write(str(tmp_path / "split.csv"), {**sides, **dict.fromkeys(moved, "test")})
    split = {"file": str(tmp_path / "split.csv")}
    other = data.prepare(changed(experiment, name="other", data__split=split))
    elsewhere = evaluation.evaluate(experiment, reference, other)
    assert elsewhere.answers.startswith(f"runs/{trained.id}/evaluation/other-")
    assert record.load(root, trained.id).metrics == before
    assert kept.stored(root, trained.id, "test").dataset != elsewhere.dataset
    assert kept.stored(root, trained.id, "test", other) == elsewhere
