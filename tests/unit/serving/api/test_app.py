"""The HTTP interface, in this process: a real bundle answers behind the real application."""

import asyncio
import base64
import io
import json
import time

import jsonschema
import numpy as np
import pytest
from PIL import Image

import hostile
from asking import asking
from in_process import InProcess, every_kind
from thaw import predictor
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.data import quality, rle
from thaw.serving.api import bodies
from thaw.serving.api.app import build_app

LIMITS = Limits(max_bytes=200_000, max_pixels=1_000_000)


@pytest.fixture(scope="module")
def endpoint():
    """An endpoint with a head of every kind."""
    return InProcess(every_kind(), settings=Serve(limits=LIMITS))


@pytest.fixture(scope="module")
def ask(endpoint):
    """Send one request to the application and return its response."""
    return asking(build_app(endpoint))


def picture(kind="PNG", size=(40, 30)):
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_one_request_answers_every_task_with_model_version_and_request_id(ask):
    response = ask("POST", "/predict", content=picture(), headers={"content-type": "image/png", "x-request-id": "me-1"})
    told = response.json()
    assert response.status_code == 200
    assert (told["model"], told["version"], told["request_id"]) == ("tiny", 7, "me-1")
    assert response.headers["x-request-id"] == "me-1"
    assert set(told["answers"]) == {"verdict", "tags", "things", "ground"}
    assert told["answers"]["verdict"]["label"] in ("no", "yes")


def test_a_form_and_a_raw_body_get_the_same_answer(ask):
    raw = ask("POST", "/predict", content=picture(), headers={"content-type": "application/octet-stream"})
    form = ask("POST", "/predict", files={"image": ("board.png", picture())})
    assert raw.json()["answers"] == form.json()["answers"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "näh", "<script>"])
def test_a_request_id_that_is_no_plain_word_is_replaced(ask, sent):
    headers = {b"content-type": b"image/png", b"x-request-id": sent.encode()}
    told = ask("POST", "/predict", content=picture(), headers=headers).json()
    assert told["request_id"] != sent
    assert len(told["request_id"]) == 32


def answered(ask, masks=None):
    params = {} if masks is None else {"masks": masks}
    response = ask("POST", "/predict", content=picture(), headers={"content-type": "image/png"}, params=params)
    assert response.status_code == 200
    return response.json()


def test_masks_come_as_run_lengths_as_one_picture_or_not_at_all(ask, endpoint):
    [answers] = predictor.answer(endpoint.bundle, [quality.decode(picture(), LIMITS)])
    ground = answers["ground"]
    told = {masks: answered(ask, masks)["answers"] for masks in ("rle", "png", "none")}
    assert told["rle"] == answered(ask)["answers"]
    assert told["rle"]["ground"] == ground.model_dump(mode="json")
    assert told["none"]["ground"] == {"size": [40, 30], "areas": ground.areas}
    masks = told["png"]["ground"].pop("masks")
    assert told["png"]["ground"] == told["none"]["ground"]
    assert masks["names"] == ["grass", "road", "sky"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(masks["png"]))))
    assert len(ground.masks) > 1
    assert pixels.shape == (40, 30)
    for place, name in enumerate(masks["names"]):
        found = rle.decode(ground.masks[name]) if name in ground.masks else np.zeros((40, 30), bool)
        assert np.array_equal(pixels == place, found)
    for task in ("verdict", "tags", "things"):
        assert told["png"][task] == told["none"][task] == told["rle"][task]


@pytest.mark.parametrize("masks", ["rle", "png", "none"])
def test_every_answer_is_as_the_openapi_document_says(ask, masks):
    document = ask("GET", "/openapi.json").json()
    operation = document["paths"]["/predict"]["post"]
    told = answered(ask, masks)
    shape = {**document, **operation["responses"]["200"]["content"]["application/json"]["schema"]}
    jsonschema.validate(told, shape)
    parameter = next(one for one in operation["parameters"] if one["name"] == "masks")
    jsonschema.validate(masks, parameter["schema"])
    told["answers"]["ground"]["strange"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, shape)


@pytest.mark.parametrize("masks", ["PNG", "", "coco", "rle,png", "x" * 1000])
def test_masks_in_an_unknown_form_are_refused_with_what_is_allowed(ask, masks):
    headers = {"content-type": "image/png"}
    response = ask("POST", "/predict", content=picture(), headers=headers, params={"masks": masks})
    assert problem(response) == (422, "bad_parameter")
    assert all(form in response.json()["detail"] for form in ("query.masks", "'rle'", "'png'", "'none'"))
    assert len(response.json()["detail"]) < 200


def problem(response):
    told = response.json()
    assert set(told) == {"error", "detail", "request_id"}
    assert response.headers["x-request-id"] == told["request_id"]
    return response.status_code, told["error"]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "image/png", (400, "empty")),
        (b"plain text", "image/png", (415, "not_an_image")),
        (picture()[:300], "image/png", (422, "truncated")),
        (b"x" * 200_001, "image/png", (413, "too_large")),
        (picture(size=(1001, 1000), kind="GIF")[:100_000], "image/png", (413, "too_many_pixels")),
        (picture(), "text/plain", (415, "unsupported_media_type")),
        (picture(), "", (415, "unsupported_media_type")),
        (b"junk", "multipart/form-data; boundary=x", (400, "bad_form")),
        (b"junk", "multipart/form-data", (400, "bad_form")),
        (b"junk", 'multipart/form-data; boundary=x"y', (400, "bad_form")),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 2**17 + b"\r\n--x--",
            "multipart/form-data; boundary=x",
            (400, "bad_form"),
        ),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
            "multipart/form-data; boundary=x",
            (400, "bad_form"),
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_right_status(ask, content, kind, expected):
    assert problem(ask("POST", "/predict", content=content, headers={"content-type": kind})) == expected


@pytest.mark.parametrize("kind", ['boundary="a b"; charset=punycode', "charset=utf-7; boundary=-_'x"])
def test_a_form_is_read_by_its_boundary_alone(ask, kind):
    mark = b"a b" if '"' in kind else b"-_'x"
    part = b"Content-Disposition: form-data; name=image; filename=one.png\r\n\r\n" + picture()
    body = b"--" + mark + b"\r\n" + part + b"\r\n--" + mark + b"--"
    assert (
        ask("POST", "/predict", content=body, headers={"content-type": f"multipart/form-data; {kind}"}).status_code
        == 200
    )
    assert list(bodies._headers(f"multipart/form-data; {kind}").values()) == [
        f'multipart/form-data; boundary="{mark.decode()}"'
    ]


@pytest.mark.parametrize(("field", "status"), [("image", 400), ("images", 400), ("note", 200)])
def test_a_field_that_should_be_an_image_and_is_none_is_refused(ask, field, status):
    response = ask("POST", "/predict", data={field: "1"}, files={"one": ("one.png", picture())})
    assert response.status_code == status


def test_who_leaves_while_sending_is_no_fault(endpoint, caplog):
    told = []

    async def send(message):
        told.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
    scope["headers"] = [(b"content-type", b"image/png")]
    asyncio.run(build_app(endpoint)(scope, receive, send))
    assert told[0]["status"] == 499
    assert caplog.records == []


def test_the_time_that_a_body_takes_counts(ask, endpoint):
    async def slowly():
        yield picture()[:100]
        await asyncio.sleep(0.5)
        yield picture()[100:]

    began = time.monotonic()
    ask("POST", "/predict", content=slowly(), headers={"content-type": "image/png", "x-deadline-ms": "400"})
    assert began < endpoint.asked[-1].deadline < began + 0.8 < time.monotonic() + 0.4


def test_a_body_without_a_length_is_cut_off_at_the_limit(ask):
    async def endless():
        for _ in range(1000):
            sent.append(1)
            yield b"x" * 10_000

    sent = []
    refused = ask("POST", "/predict", content=endless(), headers={"content-type": "image/png"})
    assert problem(refused) == (413, "too_large")


def test_a_form_larger_than_the_limit_is_refused(ask):
    assert problem(ask("POST", "/predict", files={"image": ("a.png", b"x" * 300_000)})) == (413, "too_large")
    assert problem(ask("POST", "/predict", files={"image": ("a.png", b"x" * 200_500)})) == (413, "too_large")


def test_paths_and_methods_that_do_not_exist_are_problems_too(ask):
    assert problem(ask("GET", "/nothing")) == (404, "http_404")
    document = ask("GET", "/openapi.json").json()
    for path, known in document["paths"].items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"} - {one.upper() for one in known}:
            refused = ask(method, path.replace("{version}", "7"))
            assert problem(refused) == (405, "http_405")
            assert refused.headers["allow"] == ", ".join(known).upper()


def test_a_fault_of_the_server_tells_nothing_of_itself(ask):
    response = ask("POST", "/predict", content=b"break", headers={"content-type": "image/png"})
    assert problem(response) == (500, "http_500")
    assert "secret" not in response.text


@pytest.mark.parametrize("name", sorted(hostile.files()))
def test_every_hostile_file_is_answered_or_refused_with_a_reason(ask, name):
    content, reason = hostile.files()[name]
    response = ask("POST", "/predict", content=content, headers={"content-type": "image/jpeg"})
    if response.status_code != 200:
        status, error = problem(response)
        assert 400 <= status < 500
        assert error == reason or error in ("too_large", "too_many_pixels")
    else:
        assert reason is None


def test_health_readiness_and_facts(ask):
    assert ask("GET", "/healthz").json() == {"status": "ok"}
    assert ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert list(ask("GET", "/").json()["tasks"]) == ["verdict", "tags", "things", "ground"]


def test_the_openapi_document_describes_the_answer_of_every_task(ask):
    document = ask("GET", "/openapi.json").json()
    text = json.dumps(document)
    for kind in ("ClassificationAnswer", "MultilabelAnswer", "DetectionAnswer", "SegmentationAnswer"):
        assert kind in text
    assert set(document["paths"]["/predict"]["post"]["responses"]) >= {"200", "400", "413", "415", "422"}


def test_the_documentation_page_needs_no_other_host(ask):
    page = ask("GET", "/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/static/{asset}" in page
        assert ask("GET", f"/docs/static/{asset}").status_code == 200
