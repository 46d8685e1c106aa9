"""The Open Inference Protocol: typed tensors that say what /predict says, and metadata with a tag."""

import base64
import io

import jsonschema
import numpy as np
import pytest
from PIL import Image

from asking import asking
from in_process import InProcess, every_kind
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.serving.api.app import build_app

SETTINGS = Serve(limits=Limits(max_bytes=50_000), max_images=4, cors=("https://app.example.com",))


@pytest.fixture(scope="module")
def endpoint():
    return InProcess(every_kind(), settings=SETTINGS)


@pytest.fixture(scope="module")
def ask(endpoint):
    return asking(build_app(endpoint))


def picture(seed=0, size=(40, 30)):
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def request(*images, **more):
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}]} | more


def arrays(response):
    kinds = {"FP32": np.float32, "INT64": np.int64}
    return {
        one["name"]: np.array(one["data"], kinds[one["datatype"]]).reshape(one["shape"])
        for one in response.json()["outputs"]
    }


def test_tensors_say_what_predict_says(ask):
    images = [picture(seed, (40, 30 + seed)) for seed in range(3)]
    response = ask("POST", "/v2/models/tiny/infer", json=request(*images, id="mine"))
    told, found = response.json(), arrays(response)
    assert (response.status_code, told["model_name"], told["model_version"], told["id"]) == (200, "tiny", "7", "mine")
    assert response.headers["x-model-version"] == "tiny/7"
    for row, image in enumerate(images):
        answers = ask("POST", "/predict", content=image, headers={"content-type": "image/png"}).json()["answers"]
        assert np.allclose(found["verdict.scores"][row], list(answers["verdict"]["scores"].values()), atol=1e-6)
        assert ("no", "yes")[found["verdict.label"][row]] == answers["verdict"]["label"]
        assert found["ground.size"][row].tolist() == answers["ground"]["size"]
        assert found["things.count"][row] == len(answers["things"]["boxes"])


def test_only_the_tensors_asked_for_are_told(ask):
    wanted = {"outputs": [{"name": "tags.scores"}, {"name": "verdict.label"}]}
    response = ask("POST", "/v2/models/tiny/versions/7/infer", json=request(picture(), **wanted))
    assert [one["name"] for one in response.json()["outputs"]] == ["tags.scores", "verdict.label"]
    often = ask("POST", "/v2/models/tiny/infer", json=request(picture(), outputs=[{"name": "tags.scores"}] * 500))
    assert [one["name"] for one in often.json()["outputs"]] == ["tags.scores"]
    refused = ask("POST", "/v2/models/tiny/infer", json=request(picture(), outputs=[{"name": "x.y"}]))
    assert (refused.status_code, refused.json()["error"]) == (400, "no_such_output")


def test_metadata_names_every_tensor_that_comes(ask):
    known = {one["name"]: one for one in ask("GET", "/v2/models/tiny").json()["outputs"]}
    found = arrays(ask("POST", "/v2/models/tiny/infer", json=request(picture())))
    assert known.keys() == found.keys()
    for name, values in found.items():
        assert len(known[name]["shape"]) == values.ndim
        assert all(size in (-1, there) for size, there in zip(known[name]["shape"], values.shape, strict=True))


def test_metadata_has_a_tag_and_is_not_sent_twice(ask):
    first = ask("GET", "/v2/models/tiny/versions/7")
    tag = first.headers["etag"]
    for sent in (tag, f'"other", W/{tag}', "*"):
        again = ask("GET", "/v2/models/tiny/versions/7", headers={"if-none-match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert ask("GET", "/v2/models/tiny/versions/7", headers={"if-none-match": '"other"'}).status_code == 200
    assert first.json()["parameters"]["tasks"]["verdict"]["classes"] == ["no", "yes"]


def test_servers_and_models_tell_that_they_live_and_are_ready(ask):
    assert ask("GET", "/v2").json()["name"] == "thaw"
    assert ask("GET", "/v2/health/live").json() == {"live": True}
    assert ask("GET", "/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
    for path in ("other", "other/ready", "tiny/versions/8", "tiny/versions/8/ready"):
        assert ask("GET", f"/v2/models/{path}").status_code == 404
    assert ask("POST", "/v2/models/other/infer", json=request(picture())).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "bad_request"),
        ([], 400, "bad_request"),
        (request() | {"inputs": []}, 400, "bad_request"),
        (request(picture()) | {"inputs": request(picture())["inputs"] * 2}, 400, "bad_request"),
        ({"inputs": [request(picture())["inputs"][0] | {"shape": [2]}]}, 400, "bad_request"),
        ({"inputs": [request()["inputs"][0] | {"shape": [0], "data": [[]]}]}, 400, "bad_request"),
        ({"inputs": [request(picture())["inputs"][0] | {"datatype": "FP32"}]}, 400, "bad_request"),
        ({"inputs": [request(picture())["inputs"][0] | {"data": ["<no base64>"]}]}, 400, "bad_request"),
        (request(picture(), outputs=[{"name": "tags.scores"}] * 2000), 400, "bad_request"),
        ({"inputs": [request()["inputs"][0] | {"data": [1] * 20_000}]}, 400, "bad_request"),
        ({"inputs": [request()["inputs"][0] | {"data": [[]] * 10_000}]}, 400, "bad_request"),
        (request(*[picture()] * 5), 413, "too_many_images"),
        (request(b"no image"), 415, "not_an_image"),
        (request(picture(), b"no image"), 415, "not_an_image"),
        (request(b"x" * 200_000), 413, "too_large"),
    ],
)
def test_what_is_not_of_the_protocol_is_refused(ask, body, status, error):
    response = ask("POST", "/v2/models/tiny/infer", json=body)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "detail", "request_id"}
    assert len(response.text) < 500


def test_an_answer_is_as_the_openapi_document_says(ask):
    document = ask("GET", "/openapi.json").json()
    operation = document["paths"]["/v2/models/{name}/infer"]["post"]
    told = ask("POST", "/v2/models/tiny/infer", json=request(picture())).json()
    shape = {**document, **operation["responses"]["200"]["content"]["application/json"]["schema"]}
    jsonschema.validate(told, shape)
    sent = {**document, **operation["requestBody"]["content"]["application/json"]["schema"]}
    jsonschema.validate(request(picture()), sent)
    jsonschema.validate(document["components"]["schemas"]["InferenceRequest"]["example"], sent)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"inputs": []}, sent)


def test_every_response_has_its_request_id_and_large_ones_are_compressed_where_that_is_taken(ask):
    for path in ("/v2", "/healthz", "/nothing", "/v2/models/tiny"):
        assert ask("GET", path, headers={"x-request-id": "me-2"}).headers["x-request-id"] == "me-2"
    plain = ask("GET", "/openapi.json", headers={"accept-encoding": "identity"})
    small = ask("GET", "/openapi.json", headers={"accept-encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert small.json() == plain.json()
    assert "content-encoding" not in plain.headers


def test_only_pages_of_the_origins_that_are_named_may_ask(ask):
    told = [
        ask("GET", "/v2", headers={"origin": origin}).headers.get("access-control-allow-origin")
        for origin in ("https://app.example.com", "https://evil.example.com")
    ]
    assert told == ["https://app.example.com", None]


def test_without_origins_no_page_may_ask():
    response = asking(build_app(InProcess(every_kind())))("GET", "/v2", headers={"origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in response.headers
