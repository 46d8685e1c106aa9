"""A replica logs what it answers, with the vector that the answer is made of, and takes feedback that joins it."""

import asyncio
import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from asking import asking
from stored import Stored, image, png, stored
from thaw import predictor
from thaw.config.serving import Serve
from thaw.data import logged
from thaw.data.logged import ANSWERS, LOG, Span
from thaw.registry.store import aliases, set_alias
from thaw.serving.answering import Answering
from thaw.serving.api.app import build_app
from thaw.serving.api.contract import Asked
from thaw.serving.guarding import Guarding
from thaw.serving.loaded import Key
from thaw.serving.watch.metrics import Metrics, exposed
from thaw.storage import MissingError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Stored:
    return stored(tmp_path_factory.mktemp("watched"))


def answering(made: Stored, counted: Metrics | None = None, **settings) -> tuple[Answering, Guarding]:
    chosen = Serve.model_validate({"max_batch": 2, **settings})
    return Answering(made.root, chosen, Key("colours", 1), 1), Guarding.of(
        made.root, chosen, "colours", counted or Metrics()
    )


def test_in_bf16_the_vector_is_logged_too_and_what_is_logged_is_counted(made):
    counted = Metrics()
    inner, guarding = answering(made, counted, precision="bf16", log={"share": 1, "embedding": True})
    told = asyncio.run(guarding.watched(inner).answer(Asked(png(image(5)), "bf16", "bf16")))
    guarding.close()
    placed = predictor.place(made.bundle.description.preprocess, image(5))
    [(_, vector)] = predictor.answer_and_embed(made.bundle, [placed])
    assert told.embedding == pytest.approx(vector.astype(float), rel=0.1, abs=0.05)
    assert b'thaw_logged_total{outcome="kept"} 1.0' in exposed(counted.snapshot())


def test_what_is_answered_is_logged_with_the_vector_that_the_heads_were_given(made):
    inner, guarding = answering(made, log={"share": 1, "image": "full", "embedding": True})
    content = png(image(5))
    told = asyncio.run(guarding.watched(inner).answer(Asked(content, "r5", "r5")))
    guarding.close()
    paths = logged.files(made.root, LOG, "colours", Span())
    every = [row for path in paths for row in logged.read(made.root, path, ANSWERS.names).to_pylist()]
    [row] = [row for row in every if row["request_id"] == "r5"]
    assert (row["request_id"], row["version"], row["image"], row["whole"]) == ("r5", 1, content, True)
    placed = predictor.place(made.bundle.description.preprocess, image(5))
    [(answers, vector)] = predictor.answer_and_embed(made.bundle, [placed])
    assert row["embedding"] == pytest.approx(vector.astype(float).tolist(), rel=1e-2, abs=1e-3)
    assert told.found["colour"].distance(answers["colour"]) < 1e-4
    assert row["decided"][0]["label"] == told.found["colour"].label


def test_the_vector_is_that_of_the_backbone_and_answers_are_those_without_it(made):
    placed = [predictor.place(made.bundle.description.preprocess, image(seed)) for seed in range(3)]
    alone = predictor.answer_placed(made.bundle, placed)
    together = predictor.answer_and_embed(made.bundle, placed)
    assert [predictor.as_json(one) for one, _ in together] == [predictor.as_json(one) for one in alone]
    assert np.stack([vector for _, vector in together]).shape == (3, made.bundle.model.backbone.num_features)
    assert predictor.answer_and_embed(made.bundle, []) == []


def test_nothing_is_logged_and_no_vector_is_made_where_nobody_asked(made):
    inner, guarding = answering(made)
    assert guarding.log is None
    assert guarding.keyring is None
    assert guarding.watched(inner) is inner
    assert asyncio.run(inner.answer(Asked(png(image(1)), "r1", "r1"))).embedding is None


def test_a_logged_answer_and_what_is_said_of_it_meet_by_the_id_of_the_request(made):
    inner, guarding = answering(made, log={"share": 1})
    ask = asking(build_app(guarding.watched(inner), guarding.keyring, guarding.keep))
    sent = ask("POST", "/predict", content=png(image(4)), headers={"content-type": "image/png"})
    truth = {"request_id": sent.json()["request_id"], "task": "colour", "label": "green"}
    assert ask("POST", "/feedback", json={"truths": [truth]}).status_code == 200
    guarding.close()
    rows = [
        row for _, found in logged.answers(made.root, "colours", Span(), ["request_id"]) for row in found.to_pylist()
    ]
    assert {"request_id": truth["request_id"]} in rows
    assert logged.truths(made.root, "colours")[truth["request_id"]] == {"colour": "green"}


def test_the_alias_that_is_followed_can_be_moved_and_no_other(made, caplog):
    caplog.set_level(logging.INFO, "thaw.audit")
    set_alias(made.root, "colours", "champion", 1)
    guarding = Guarding.of(made.root, Serve(), "colours", Metrics(), "staging")
    assert guarding.promote is not None
    assert [guarding.promote(1, "boss"), guarding.promote(1, "boss")] == [("staging", None), ("staging", 1)]
    with pytest.raises(MissingError):
        guarding.promote(9, "boss")
    assert aliases(made.root, "colours") == {"champion": 1, "staging": 1}
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "thaw.audit"]
    assert [(one["action"], one["by"], one["version"], one["before"]) for one in lines] == [
        ("promote", "boss", 1, None),
        ("promote", "boss", 1, 1),
    ]
    assert Guarding.of(made.root, Serve(), "colours", Metrics()).promote is None


def test_an_image_that_is_asked_again_in_a_request_is_logged_once(made):
    inner, guarding = answering(made, log={"share": 1})
    asked = Asked(png(image(3)), "once", "once")

    async def both():
        watched = guarding.watched(inner)
        await watched.answer(asked)
        await watched.answer(replace(asked, version=1, again=True))

    asyncio.run(both())
    guarding.close()
    kept = [found for _, found in logged.answers(made.root, "colours", logged.Span(), ["request_id"])]
    rows = [row for found in kept for row in found.to_pylist()]
    assert rows.count({"request_id": "once"}) == 1
