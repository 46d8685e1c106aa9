"""Fuzzing: requests made of an endpoint's own OpenAPI document, right and wrong ones, and what must hold of responses.

The model that answers is called ``tiny`` and has a version 7, so that not every request asks for one that there is not.
"""

import base64
import functools
import gzip
import io
import re
import socket
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import BaseSchema

import hostile
import thaw

MODEL, VERSION = "tiny", 7
MOST_BYTES = 200_000

_PLACES = {str(Path(thaw.__file__).parents[2]), str(Path.home()), str(Path(np.__file__).parents[1])}
_LEAKS = re.compile(
    r"Traceback|\.py\b|site-packages| at 0x[0-9a-f]{6}|\bthaw\.[a-z]|\bray::|"
    + "|".join(re.escape(f"{place}/") for place in sorted({*_PLACES, tempfile.gettempdir()}) if len(place) > 1)
)
"""What tells of the inside: of places on a disk, of code, and of objects in memory."""
_ODD = (
    b"0",
    b"-1",
    b"1",
    b"1e9",
    b"9" * 400,
    b"soon",
    b"\xff\xfe",
    b"a b",
    b"*",
    b'"',
    b"text/html",
    b"gzip",
    b"x" * 9000,
)
_NAMES = (
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "cookie",
    "if-none-match",
    "origin",
    "range",
    "x-deadline-ms",
    "x-forwarded-for",
    "x-request-id",
    "x-route-key",
)
_FAULTS = (500, 502)
"""Statuses that no request may come to; 503 and 504 say that too much waits, or that a deadline has passed."""


def ask_all(url: str, count: int) -> Counter[int]:
    """Send so many requests to an endpoint; return how many came to which status.

    Raises:
        AssertionError, BaseExceptionGroup: of a response does not hold what must; it is told which request that was.
    """
    load_all_checks()
    unfit = CHECKS.get_by_names(["positive_data_acceptance", "not_a_server_error"])  # random bytes are no picture
    seen: Counter[int] = Counter()
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, pictures())
    cases = _cases(schemathesis.openapi.from_url(f"{url}/openapi.json"))

    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=cases, headers=_headers())
    def ask(case: schemathesis.Case, headers: dict[str, bytes]) -> None:
        case.headers, headers = _passable(case.headers or {}), _passable(headers)
        response = case.call(session=session, headers=headers, timeout=60)
        seen[response.status_code] += 1
        assert response.status_code not in _FAULTS, f"{case.as_curl_command()}: {response.text[:500]}"
        leaks(f"{response.headers} {response.text}")
        case.validate_response(response, excluded_checks=unfit, headers=headers)

    with requests.Session() as session:
        ask()
    return seen


def leaks(told: str) -> None:
    """Fail where a response tells of the inside."""
    found = _LEAKS.search(told)
    assert not found, told[max(0, found.start() - 100) : found.end() + 100]


def raw(url: str, sent: bytes) -> bytes:
    """Send bytes over a connection of their own, and return what comes back until it ends or nothing more does."""
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 80), timeout=5) as connection:
        connection.settimeout(1)
        told = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                told += chunk
        except OSError:
            pass
    return told


@functools.cache
def picture(side: int = 24) -> bytes:
    """Return a good PNG."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def pictures() -> st.SearchStrategy[bytes]:
    """Return good pictures, hostile ones, good ones with bytes changed, and bytes that are none."""
    names = [name for name, (content, _) in hostile.files().items() if len(content) < MOST_BYTES]
    files = st.sampled_from(names).map(lambda name: hostile.files()[name][0])
    good = st.sampled_from([1, 24, 33]).map(picture)
    changed = st.builds(_changed, good, st.integers(0), st.binary(min_size=1, max_size=8))
    return st.one_of(good, files, changed, st.binary(max_size=300), st.just(MOST_BYTES + 1).map(bytes))


def _changed(content: bytes, at: int, by: bytes) -> bytes:
    at %= len(content)
    return content[:at] + by + content[at + len(by) :]


def _cases(schema: BaseSchema) -> st.SearchStrategy[schemathesis.Case]:
    known: dict[str, Any] = {"name": MODEL, "version": VERSION}
    ways = [schema, schema["/predict"], schema["/feedback"]]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    made = [way.as_strategy(generation_mode=mode) for way in ways for mode in modes]
    for place in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        there = {name: value for name, value in known.items() if f"{{{name}}}" in place}
        made += [schema[f"{place}/infer"]["POST"].as_strategy(mode, path_parameters=there) for mode in modes]
        made += [schema[f"{place}{end}"]["GET"].as_strategy(path_parameters=there) for end in ("", "/ready")]
        made.append(_inferences().flatmap(lambda body, at=place, to=there: _with(schema, f"{at}/infer", to, body)))
    return st.one_of(made)


def _with(schema: BaseSchema, place: str, there: dict[str, Any], body: Any) -> st.SearchStrategy[schemathesis.Case]:
    way: st.SearchStrategy[schemathesis.Case] = schema[place]["POST"].as_strategy(path_parameters=there, body=body)
    return way


def _inferences() -> st.SearchStrategy[dict[str, Any]]:
    """Return requests for tensors, of few images and with few mistakes."""
    images = st.lists(pictures().map(lambda content: base64.b64encode(content).decode()), min_size=1, max_size=2)
    names = st.sampled_from(["verdict.scores", "ground.size", "things.count", "verdict", ""])
    outputs = st.lists(st.builds(lambda name: {"name": name}, names), max_size=2)
    return st.builds(_inference, images, st.just(None) | outputs, st.sampled_from([0, 0, 0, 1, -1]))


def _inference(images: list[str], outputs: list[dict[str, str]] | None, off: int) -> dict[str, Any]:
    sent = {"name": "image", "shape": [len(images) + off], "datatype": "BYTES", "data": images}
    return {"inputs": [sent]} | ({} if outputs is None else {"outputs": outputs})


def _headers() -> st.SearchStrategy[dict[str, bytes]]:
    """Return headers with odd values; none in three of four cases."""
    values = st.sampled_from(_ODD) | st.binary(max_size=20).map(_sendable)
    some = st.dictionaries(st.sampled_from(_NAMES), values, min_size=1, max_size=2)
    return st.one_of(st.just({}), st.just({}), st.just({}), some)


def _sendable(value: bytes) -> bytes:
    return bytes(one for one in value if one >= 32 and one != 127).strip()


def _passable(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers without an id that is not ASCII: Ray Serve's proxy answers 500 to some before we see them."""
    return {name: value for name, value in headers.items() if name.lower() != "x-request-id" or value.isascii()}


@functools.cache
def wild() -> dict[str, bytes]:
    """Return what no library sends, by name: broken heads, bodies and paths, as they go over the wire."""
    return {name: made for group in (_heads(), _paths(), _bodies()) for name, made in group.items()}


def _heads() -> dict[str, bytes]:
    sent = {
        "null_in_a_header": b"x-request-id: a\0b",
        "null_in_the_route_key": b"x-route-key: \0",
        "no_colon": b"nothing",
        "no_name": b": value",
        "folded": b"x-request-id: a\r\n b",
        "not_ascii": b"x-route-key: \xc3\xa4\xff",
        "bare_line_feed": b"x-request-id: a\nx-evil: b",
        "large": b"x-request-id: " + b"a" * 200_000,
        "many": b"\r\n".join(b"x-%d: y" % number for number in range(5000)),
        "two_lengths": b"content-length: 5\r\ncontent-length: 6",
        "length_below_0": b"content-length: -1",
        "length_without_end": b"content-length: " + b"9" * 5000,
        "length_no_number": b"content-length: many",
        "length_and_chunks": b"content-length: 5\r\ntransfer-encoding: chunked",
        "unknown_transfer": b"transfer-encoding: xyz",
        "upgrade": b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13",
        "expect": b"expect: 100-continue\r\ncontent-length: 3",
        "two_hosts": b"host: a\r\nhost: b",
        "two_deadlines": b"x-deadline-ms: 5\r\nx-deadline-ms: soon",
        "range": b"range: bytes=0-0,-1,5-2",
    }
    return {f"head_{name}": _request("POST", "/predict", head) for name, head in sent.items()} | {
        "head_none": b"\r\n\r\n",
        "head_garbage": bytes(range(256)) * 8,
        "head_tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(64),
        "head_http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "head_http_0.9": b"GET /healthz\r\n",
        "head_http_9": b"GET /healthz HTTP/9.9\r\n\r\n",
        "head_cut": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-le",
    }


def _paths() -> dict[str, bytes]:
    paths = {
        "up": "/page/../../../etc/passwd",
        "up_encoded": "/page/x/..%2f..%2f..%2fetc%2fpasswd",
        "up_docs": "/docs/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "up_backslash": "/docs/static/..%5c..%5cetc",
        "null": "/v2/models/%00",
        "null_version": "/v2/models/tiny/versions/%00",
        "not_utf_8": "/v2/models/%ff%fe",
        "surrogate": "/v2/models/%ed%a0%80",
        "newline": "/v2/models/a%0d%0ax-evil:%20b",
        "long": "/v2/models/" + "a" * 50_000,
        "large_version": "/v2/models/tiny/versions/" + "9" * 5000,
        "odd_version": "/v2/models/tiny/versions/%D9%A7",
        "query": "/?version=" + "9" * 5000,
        "query_null": "/card?model=%00",
        "query_twice": "/card?model=a&model=b&version=1&version=x",
        "slashes": "////",
        "absolute": "http://evil.example/v2",
        "masks": "/predict?masks=%00",
    }
    ways = {"star": ("OPTIONS", "*"), "connect": ("CONNECT", "a:80"), "trace": ("TRACE", "/predict")}
    made = {f"path_{name}": _request("GET", path) for name, path in paths.items()}
    return made | {f"way_{name}": _request(*way) for name, way in ways.items()}


def _bodies() -> dict[str, bytes]:
    form, json = "multipart/form-data; boundary=x", "application/json"
    part = b'--x\r\ncontent-disposition: form-data; name="image"; filename="%s"\r\n\r\n'
    packed = gzip.compress(bytes(50_000_000))
    deep = b'{"inputs": ' + b"[" * 60_000
    number = b'{"inputs": [{"name": "image", "shape": [%s], "datatype": "BYTES", "data": [""]}]}'
    sent: dict[str, tuple[str, str, bytes]] = {
        "form_without_end": ("/predict", form, part % b"a.png" + picture()),
        "form_without_boundary": ("/predict", "multipart/form-data", part % b"a.png"),
        "form_long_boundary": ("/predict", f"multipart/form-data; boundary={'x' * 5000}", b"--" + b"x" * 5000),
        "form_odd_boundary": ("/predict", "multipart/form-data; boundary=\xff", b"--\xff\r\n"),
        "form_other_charset": ("/predict", form + "; charset=nothing", part % b"a.png" + b"\r\n--x--"),
        "form_name": ("/predict", form, part % b"../../etc/passwd\0" + picture() + b"\r\n--x--\r\n"),
        "form_many_parts": ("/predict", form, (part % b"a" + b"\r\n") * 1000 + b"--x--\r\n"),
        "form_large_part_head": ("/predict", form, b"--x\r\ncontent-disposition: " + b"a" * 60_000 + b"\r\n\r\n"),
        "form_packed": ("/predict", form + "\r\ncontent-encoding: gzip", packed),
        "picture_packed": ("/predict", "image/png\r\ncontent-encoding: gzip", packed),
        "picture_with_script_type": ("/predict", "image/<script>alert(1)</script>", b"x"),
        "json_packed": ("/v2/models/tiny/infer", json + "\r\ncontent-encoding: gzip", packed),
        "json_deep": ("/v2/models/tiny/infer", json, deep),
        "json_deep_feedback": ("/feedback", json, deep),
        "json_huge_number": ("/v2/models/tiny/infer", json, number % (b"9" * 5000)),
        "json_not_a_number": ("/v2/models/tiny/infer", json, number % b"NaN"),
        "json_surrogate": ("/v2/models/tiny/infer", json, b'{"id": "\\ud800", ' + (number % b"1")[1:]),
        "json_not_utf_8": ("/v2/models/tiny/infer", json, b'{"id": "\xff"}'),
        "json_utf_16": ("/v2/models/tiny/infer", json, '{"id": "a"}'.encode("utf-16")),
        "json_null": ("/v2/models/tiny/infer", json, b"null"),
        "json_null_byte": ("/v2/models/tiny/infer", json, b'{"id": "\\u0000", "inputs": []}\0'),
        "feedback_huge_number": ("/feedback", json, b'{"truths": ' + b"9" * 5000 + b"}"),
        "feedback_surrogate": ("/feedback", json, b'{"model": "\\udfff", "truths": []}'),
    }
    bad = "transfer-encoding: chunked\r\ncontent-type: image/png"
    return {
        name: _request("POST", path, f"content-type: {kind}\r\ncontent-length: {len(body)}".encode("latin-1"), body)
        for name, (path, kind, body) in sent.items()
    } | {
        "chunk_no_number": _request("POST", "/predict", bad.encode(), b"zz\r\nabc\r\n0\r\n\r\n"),
        "chunk_without_end": _request("POST", "/predict", bad.encode(), b"ffffffffffffffff\r\nabc"),
        "chunk_cut": _request("POST", "/predict", bad.encode(), b"5\r\nab"),
        "body_cut": _request("POST", "/predict", b"content-type: image/png\r\ncontent-length: 900", picture()[:99]),
    }


def _request(method: str, path: str, head: bytes = b"", body: bytes = b"") -> bytes:
    start = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n".encode()
    return start + (head + b"\r\n" if head else b"") + b"\r\n" + body
