"""Fixtures for tests in a browser: one Chromium, and one endpoint on a port of this machine, for all of them."""

from dataclasses import replace

import chrome
import numpy as np
import pytest
import torch
from before import CARD, Before
from PIL import Image

from asking import served
from in_process import InProcess, every_kind
from thaw import bundle, predictor
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.serving.api.app import build_app
from thaw.tasks.contract import Answering

SIZE = (120, 160)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = chrome.found()
    if program is None:
        pytest.skip(f"no Chromium: none of {', '.join(chrome.NAMES)} is on the PATH, and THAW_CHROMIUM is not set")
    with chrome.started(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="session")
def pixels():
    """A photograph: noise, which an untrained model finds many things in."""
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def photo(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "board 1.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def model():
    """A bundle with a head of every kind that abstains, and is sure of some boxes and not of others."""
    plain = every_kind()
    boxes = plain.model.heads["things"]
    with torch.no_grad():
        boxes.get_parameter("head.regression_head.bbox_reg.bias").fill_(1.0)  # small ones, of which many are kept
        boxes.get_parameter("head.classification_head.cls_logits.bias").fill_(-2.0)
        torch.manual_seed(1)
        torch.nn.init.normal_(boxes.get_parameter("head.classification_head.cls_logits.weight"), std=0.1)
    answering = {
        "verdict": Answering(thresholds={"no": 0.99, "yes": 0.99}),
        "tags": Answering(thresholds={"a": 0.1, "b": 0.9, "c": 0.5}, unsure=0.03),
        "things": Answering(thresholds={"cup": 0.5, "pen": 0.5}),
    }
    described = plain.description.model_copy(update={"answering": answering})
    return replace(plain, description=described, tasks=bundle.build_tasks(described.tasks, described.labels, answering))


@pytest.fixture(scope="session")
def answers(model, pixels):
    return predictor.answer(model, [pixels])[0]


@pytest.fixture(scope="session")
def endpoint(model):
    return InProcess(model, settings=Serve(limits=Limits(max_bytes=200_000, max_pixels=1_000_000)), cards={7: CARD})


@pytest.fixture(scope="session")
def url(endpoint):
    with served(build_app(endpoint)) as address:
        yield address


@pytest.fixture(scope="session")
def before(endpoint):
    return Before(build_app(endpoint))


@pytest.fixture(scope="session")
def guarded_url(before):
    with served(before) as address:
        yield address
