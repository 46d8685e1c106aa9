"""Requests that nobody would write: each is answered or refused as the OpenAPI document says, and tells nothing."""

import pytest

import fuzzing
from asking import served
from in_process import InProcess, every_kind
from thaw.config.limits import Limits
from thaw.config.serving import Serve
from thaw.config.watch import PredictionLog
from thaw.serving.api.app import build_app

SETTINGS = Serve(
    limits=Limits(max_bytes=fuzzing.MOST_BYTES, max_pixels=1_000_000),
    max_images=4,
    log=PredictionLog(share=1),
    cors=("https://app.example.com",),
)


@pytest.fixture(scope="module")
def url():
    """A real server before a model with a head of every kind."""
    endpoint = InProcess(every_kind(), settings=SETTINGS, cards={7: "# tiny"})
    with served(build_app(endpoint, keep=lambda model, truths, by: None)) as address:
        yield address.rstrip("/")


def test_what_is_made_of_the_document_is_answered_as_it_says(url):
    seen = fuzzing.ask_all(url, 60)
    assert sum(seen.values()) >= 60
    assert {200, 400, 404, 415, 422} <= seen.keys()


@pytest.mark.filterwarnings("ignore:.*Unclosed file.*:ResourceWarning")  # Starlette's, of a form without an end
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile")
@pytest.mark.parametrize("name", sorted(fuzzing.wild()))
def test_what_no_library_sends_is_refused_and_tells_nothing(url, name):
    told = fuzzing.raw(url, fuzzing.wild()[name])
    fuzzing.leaks(told.decode("latin-1"))
    assert b"root:" not in told
    if told:
        status = int(told.split(b" ", 2)[1])
        print(name, status, told[:80])
        assert status < 500
    assert b" 200 " in fuzzing.raw(url, b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
