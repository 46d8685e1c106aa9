"""What is said of answers is checked against the model's classes, and is in the store once it is taken."""

import dataclasses
import re

import jsonschema
import pytest
import torch

from asking import asking
from in_process import InProcess
from thaw import bundle
from thaw.config import load
from thaw.config.serving import Serve
from thaw.config.watch import PredictionLog
from thaw.data import logged
from thaw.data.labels import LabelSchema
from thaw.errors import StorageError
from thaw.serving import keys
from thaw.serving.api.app import build_app
from thaw.serving.keys import Keyring
from thaw.serving.watch import feedback
from thaw.storage import open_root

TASKS = {"verdict": "classification", "tags": "multilabel", "things": "detection", "ground": "segmentation"}
LABELS = {
    "verdict": LabelSchema(kind="class", names=("no", "yes")),
    "tags": LabelSchema(kind="classes", names=("a", "b", "c")),
    "things": LabelSchema(kind="boxes", names=("cup", "pen")),
    "ground": LabelSchema(kind="mask", names=("grass", "road")),
}
GOOD = [
    {"request_id": "r1", "task": "verdict", "label": "yes"},
    {"request_id": "r1", "task": "tags", "label": ["a", "c"]},
    {"request_id": "r2", "task": "tags", "label": []},
    {"request_id": "r2", "task": "things", "label": {"boxes": [[1, 2, 3.5, 9]], "names": ["cup"]}},
    {"request_id": "r3", "task": "things", "label": {"boxes": [], "names": []}},
]


@pytest.fixture(scope="module")
def endpoint():
    experiment = load.parse(
        {
            "name": "tiny",
            "data": {"source": {"type": "boards"}, "image": {"size": 32}},
            "tasks": {name: {"type": kind} for name, kind in TASKS.items()},
            "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
        },
        "test",
    )
    torch.manual_seed(0)
    return InProcess(bundle.create(experiment, LABELS), settings=Serve(log=PredictionLog(share=1)))


@pytest.fixture
def store(tmp_path):
    return open_root(str(tmp_path))


@pytest.fixture
def ask(endpoint, store):
    return asking(build_app(endpoint, keep=lambda *told: feedback.keep(store, *told)))


def said(ask, truths, **told):
    return ask("POST", "/feedback", json={"truths": truths, **told})


def test_what_is_said_is_in_the_store_when_the_answer_comes(ask, store):
    response = said(ask, GOOD)
    assert response.status_code == 200, response.text
    assert response.json() == {"model": "tiny", "kept": 5}
    assert logged.truths(store, "tiny") == {
        "r1": {"verdict": "yes", "tags": ("a", "c")},
        "r2": {"tags": (), "things": {"boxes": [[1, 2, 3.5, 9]], "names": ["cup"]}},
        "r3": {"things": {"boxes": [], "names": []}},
    }


def test_what_is_said_last_counts(ask, store):
    for label in ("yes", "no"):
        said(ask, [{"request_id": "r1", "task": "verdict", "label": label}], model="tiny")
    assert logged.truths(store, "tiny") == {"r1": {"verdict": "no"}}


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        ({"task": "verdikt", "label": "yes"}, "the model's tasks are .*; did you mean 'verdict'"),
        ({"task": "verdict", "label": "yess"}, "no class 'yess'; the classes are no, yes; did you mean 'yes'"),
        ({"task": "verdict", "label": ["yes"]}, "its label is one class name"),
        ({"task": "tags", "label": "a"}, "its label is a list of class names"),
        ({"task": "tags", "label": ["a", "z"]}, "no class 'z'"),
        ({"task": "things", "label": "cup"}, "its label is boxes and as many names"),
        ({"task": "things", "label": {"boxes": [[1, 2, 3, 4]], "names": []}}, "1 boxes and 0 names"),
        ({"task": "things", "label": {"boxes": [[3, 2, 1, 4]], "names": ["cup"]}}, "0 <= x0 < x1"),
        ({"task": "things", "label": {"boxes": [[0, 0, 1, 1]] * 1001, "names": []}}, "at most 1000"),
        ({"task": "ground", "label": "road"}, "what is said of pixels is not taken here"),
        ({"task": "tags", "label": ["bright"] * 1001}, "at most 1000"),
        ({"task": "verdict", "label": None}, "needs a class name, a list of class names, or boxes with names"),
        ({"task": "verdict"}, "truths.1..label"),
        ({"task": "verdict", "label": "yes", "request_id": "a b"}, "request_id"),
        ({"task": "verdict", "label": "yes", "more": 1}, "truths.1..more"),
    ],
)
def test_all_is_refused_where_one_cannot_be_true_and_it_is_said_which(ask, store, truth, told):
    response = said(ask, [GOOD[0], {"request_id": "r2", **truth}])
    assert (response.status_code, response.json()["error"]) == (422, "bad_feedback")
    assert "[1]" in response.json()["detail"]
    assert re.search(told, response.json()["detail"]), response.json()["detail"]
    assert logged.truths(store, "tiny") == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"truths": []}', b"\xff", b"[" * 100_000])
def test_what_is_no_feedback_is_a_problem(ask, body):
    assert ask("POST", "/feedback", content=body).status_code == 422


def test_a_body_that_is_too_large_is_not_read(ask):
    assert ask("POST", "/feedback", content=b"x" * (2**20 + 1)).status_code == 413


def test_another_model_than_those_that_answer_is_refused(ask):
    assert said(ask, GOOD, model="other").status_code == 404


def test_nothing_is_taken_where_nothing_is_logged(endpoint, store):
    silent = dataclasses.replace(endpoint, settings=Serve())
    ask = asking(build_app(silent, keep=lambda *told: feedback.keep(store, *told)))
    assert said(ask, GOOD).status_code == 409


def test_a_store_that_takes_nothing_is_a_fault_that_tells_nothing(endpoint):
    def full(*_):
        raise StorageError("/some/secret/place: cannot write")

    response = said(asking(build_app(endpoint, keep=full)), GOOD)
    assert response.status_code == 500
    assert "secret" not in response.text


def test_who_said_it_is_kept_by_the_name_of_the_key(endpoint, store):
    token = keys.add(store, "line-2", "predict")
    ask = asking(build_app(endpoint, Keyring(store), lambda *told: feedback.keep(store, *told)))
    assert said(ask, GOOD).status_code == 401
    headers = {"authorization": f"Bearer {token}"}
    assert ask("POST", "/feedback", json={"truths": GOOD}, headers=headers).status_code == 200
    [path] = logged.files(store, logged.FEEDBACK, "tiny", logged.Span())
    assert set(logged.read(store, path, ["by"])["by"].to_pylist()) == {"line-2"}


def test_the_document_describes_what_is_posted(ask):
    document = ask("GET", "/openapi.json").json()
    shape = {
        **document,
        **document["paths"]["/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"],
    }
    jsonschema.validate({"truths": GOOD}, shape)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"truths": [{"task": "verdict"}]}, shape)
