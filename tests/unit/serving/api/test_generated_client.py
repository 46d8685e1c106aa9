"""A client that a generator makes of the OpenAPI document: its functions and types have plain names, and it works."""

import importlib
import io
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from asking import served
from in_process import InProcess, every_kind
from thaw.serving.api.app import build_app

PACKAGE = "thaw_tiny_client"


@pytest.fixture(scope="module")
def url():
    with served(build_app(InProcess(every_kind()))) as address:
        yield address.rstrip("/")


@pytest.fixture(scope="module")
def made(url, tmp_path_factory):
    """The client's package, and what the document is called in it."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_bytes(httpx.get(f"{url}/openapi.json").content)
    program = Path(sys.executable).with_name("openapi-python-client")
    subprocess.run([program, "generate", "--path", "openapi.json"], cwd=folder, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / PACKAGE.replace("_", "-")))
        yield importlib.import_module(PACKAGE)


@pytest.fixture(scope="module")
def part(made):
    """Return what is in a module of the client."""
    return lambda name: importlib.import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="module")
def client(made, url):
    with made.Client(base_url=url) as opened:
        yield opened


def image(made, part, content=None):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    file = io.BytesIO(buffer.getvalue() if content is None else content)
    return part("types").File(payload=file, file_name="part.png", mime_type="image/png")


def test_an_image_gets_a_typed_answer_from_every_task(client, made, part):
    models, predict = part("models"), part("api.answers.predict")
    told = predict.sync(client=client, body=image(made, part), x_request_id="mine")
    assert isinstance(told, models.Answered)
    assert (told.model, told.version, told.request_id) == ("tiny", 7, "mine")
    assert told.answers.verdict.label in told.answers.verdict.scores.additional_properties
    assert isinstance(told.answers.things.boxes[0], models.FoundBox)
    assert isinstance(told.answers.ground, models.SegmentationAnswer)
    for masks, kind in (("png", models.SegmentationPicture), ("none", models.SegmentationAreas)):
        shown = predict.sync(client=client, body=image(made, part), masks=models.PredictMasks(masks))
        assert isinstance(shown.answers.ground, kind)


def test_several_images_are_typed_one_by_one_and_refusals_too(client, made, part):
    models, predict = part("models"), part("api.answers.predict")
    files = models.ImageFiles(images=[image(made, part), image(made, part, b"no image")])
    good, bad = predict.sync(client=client, body=files).images
    assert isinstance(good, models.AnsweredImage)
    assert isinstance(bad, models.Problem)
    refused = predict.sync_detailed(client=client, body=image(made, part, b"no image"))
    assert (refused.status_code, refused.parsed.error) == (415, "not_an_image")


def test_what_is_known_of_a_model_is_typed(client, part):
    told = part("api.inference.model_metadata").sync("tiny", client=client)
    assert (told.name, told.versions) == ("tiny", ["7"])
    assert part("api.models.facts").sync(client=client).tasks["verdict"].classes == ["no", "yes"]
    assert part("api.health.server_ready").sync(client=client).ready
    assert part("api.inference.model_ready").sync("other", client=client).error == "no_such_model"


def test_names_are_those_of_the_protocol_and_ours_and_nothing_made_of_paths(made, part):
    assert {path.stem for path in Path(made.__path__[0], "api").glob("*/*.py")} - {"__init__"} == {
        "predict",
        "facts",
        "card",
        "health",
        "server_live",
        "server_ready",
        "server_metadata",
        "model_metadata",
        "model_version_metadata",
        "model_ready",
        "model_version_ready",
        "model_infer",
        "model_version_infer",
    }
    assert max(map(len, dir(part("models")))) < 40
