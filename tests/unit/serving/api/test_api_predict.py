"""Requests beside their images: several in one form, headers, and callers who leave."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from asking import asking
from in_process import InProcess, every_kind
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.serving.api.app import build_app
from thaw.serving.api.contract import Refused

SETTINGS = Serve(limits=Limits(max_bytes=50_000), max_images=4, timeout_s=20)
PNG = {"content-type": "image/png"}


class Watched(InProcess):
    """An endpoint that can be made to wait, and knows what was cancelled."""

    wait_s = 0.0
    cancelled = 0

    async def answer(self, asked):
        try:
            await asyncio.sleep(self.wait_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.wait_s:
            raise Refused(503, "overloaded", "too much", retry_after=7)
        return await super().answer(asked)


@pytest.fixture(scope="module")
def bundle():
    return every_kind()


@pytest.fixture
def endpoint(bundle):
    return Watched(bundle, settings=SETTINGS)


def ask(endpoint, **request):
    return asking(build_app(endpoint))("POST", "/predict", **request)


def picture(seed=0):
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_several_files_are_answered_in_order_and_a_bad_one_harms_no_other(endpoint):
    files = [("images", ("a.png", picture(1))), ("images", ("b.png", b"no image")), ("other", ("c.png", picture(2)))]
    told = ask(endpoint, files=files, headers={"x-request-id": "me"}).json()
    assert (told["model"], told["version"], told["request_id"]) == ("tiny", 7, "me")
    first, bad, last = told["images"]
    assert [one["request_id"] for one in told["images"]] == ["me-0", "me-1", "me-2"]
    assert bad["error"] == "not_an_image"
    for answered, seed in ((first, 1), (last, 2)):
        alone = ask(endpoint, content=picture(seed), headers=PNG).json()
        assert answered["version"] == 7
        assert answered["answers"]["verdict"] == alone["answers"]["verdict"]


def test_where_no_file_can_be_answered_the_request_is_refused_as_the_first_one(endpoint):
    files = [("images", ("a.png", b"no image")), ("images", ("b.png", b""))]
    response = ask(endpoint, files=files)
    assert (response.status_code, response.json()["error"]) == (415, "not_an_image")


def test_too_many_files_or_bytes_are_refused(endpoint):
    assert ask(endpoint, files=[("images", ("a.png", picture()))] * 5).json()["error"] == "bad_form"
    assert ask(endpoint, files=[("images", ("a.png", b"x" * 30_000))] * 2).json()["error"] == "too_large"
    assert not endpoint.asked


def test_a_route_key_and_a_deadline_reach_the_endpoint(endpoint):
    ask(endpoint, content=picture(), headers={**PNG, "x-request-id": "me"})
    ask(endpoint, content=picture(), headers={**PNG, "x-route-key": "customer-7", "x-deadline-ms": "2000"})
    plain, given = endpoint.asked
    assert (plain.route_key, given.route_key) == ("me", "customer-7")
    assert 2 < plain.left_s <= 20
    assert given.left_s <= 2


@pytest.mark.parametrize(
    "header",
    [
        {"x-deadline-ms": "0"},
        {"x-deadline-ms": "soon"},
        {"x-deadline-ms": "-5"},
        {"x-deadline-ms": ""},
        {"x-route-key": "a b"},
        {"x-route-key": ""},
    ],
)
def test_headers_that_say_nothing_are_refused(endpoint, header):
    response = ask(endpoint, content=picture(), headers=PNG | header)
    assert (response.status_code, response.json()["error"]) == (400, "bad_header")
    assert next(iter(header)) in response.json()["detail"]


def test_a_refusal_says_when_to_come_again(endpoint):
    endpoint.wait_s = 0.001
    response = ask(endpoint, content=picture(), headers=PNG)
    assert (response.status_code, response.json()["error"], response.headers["retry-after"]) == (503, "overloaded", "7")


def test_what_nobody_waits_for_any_more_is_cancelled(endpoint):
    endpoint.wait_s = 600.0
    app, sent = build_app(endpoint), []
    came = [{"type": "http.request", "body": picture(), "more_body": False}, {"type": "http.disconnect"}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
    }

    async def receive():
        return came.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 60))
    assert endpoint.cancelled == 1
    assert sent[0]["status"] == 499


def test_urls_are_not_taken_unless_hosts_are_named(endpoint):
    response = ask(endpoint, json={"url": "https://example.com/a.png"})
    assert (response.status_code, response.json()["error"]) == (415, "unsupported_media_type")


def test_a_url_of_another_host_or_none_is_refused(bundle):
    endpoint = Watched(bundle, settings=SETTINGS.model_copy(update={"urls": ("images.example.com",)}))
    for body, expected in (
        ({"url": "https://other.example.com/a.png"}, (403, "url_not_allowed")),
        ({"url": "http://images.example.com/a.png"}, (400, "bad_url")),
        ({"url": 7}, (400, "bad_request")),
        ({"uri": "x"}, (400, "bad_request")),
        ([], (400, "bad_request")),
    ):
        response = ask(endpoint, json=body)
        assert (response.status_code, response.json()["error"]) == expected
