"""Who may ask: with a key and not too often, and only what the key is for."""

import json
import logging
import re
from datetime import timedelta

import pytest
import torch

from asking import Ask, asking
from in_process import InProcess
from stored import LABELS
from thaw import bundle
from thaw.config import load
from thaw.config.serving import Serve
from thaw.errors import ConfigError, StorageError
from thaw.serving import keys
from thaw.serving.api.app import build_app
from thaw.serving.keys import Keyring
from thaw.storage import MissingError, Root, open_root

VALUES = {
    "name": "tiny",
    "data": {"source": {"type": "boards"}, "image": {"size": 32}},
    "tasks": {"colour": {"type": "classification"}, "tags": {"type": "multilabel"}},
    "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
}


@pytest.fixture(scope="module")
def endpoint() -> InProcess:
    torch.manual_seed(0)
    made = bundle.create(load.parse(VALUES, "test"), LABELS)
    made.model.eval()
    return InProcess(made)


@pytest.fixture
def store(tmp_path) -> Root:
    return open_root(str(tmp_path))


@pytest.fixture
def guarded(endpoint, store) -> tuple[Ask, Keyring]:
    """An application that asks for keys, with a way to the admin's side, and the keys that it knows."""
    ring = Keyring(store)
    app = build_app(endpoint, ring)

    @app.post("/admin/shelf")
    async def change() -> dict[str, str]:
        return {"done": "yes"}

    return asking(app), ring


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def added(store, ring, *of) -> str:
    token = keys.add(store, *of)
    ring.refresh()
    return token


def problem(response):
    told = response.json()
    assert set(told) == {"error", "detail", "request_id"}
    assert response.headers["x-request-id"] == told["request_id"]
    return response.status_code, told["error"]


def test_without_a_key_nothing_but_health_is_told(guarded, store):
    ask, ring = guarded
    added(store, ring, "shop", "predict")
    for path in ("/", "/docs", "/openapi.json", "/docs/static/swagger-ui.css", "/nothing", "/admin/shelf"):
        response = ask("GET", path)
        assert problem(response) == (401, "no_key")
        assert response.headers["www-authenticate"] == 'Bearer realm="thaw"'
    assert problem(ask("POST", "/predict", content=b"x")) == (401, "no_key")
    assert [ask("GET", path).status_code for path in ("/healthz", "/v2/health/ready")] == [200, 200]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic c2hvcDp4", "thaw_x", "Bearer thaw_x", "Bearer \xff"]
)
def test_what_is_no_key_is_refused_and_never_told_again(guarded, store, header):
    ask, ring = guarded
    added(store, ring, "shop", "predict")
    response = ask("GET", "/", headers={b"authorization": header.encode("latin-1")})
    assert problem(response)[0] == 401
    assert "thaw_x" not in response.text
    if problem(response)[1] == "unknown_key":
        assert response.headers["www-authenticate"] == 'Bearer realm="thaw", error="invalid_token"'


def test_the_page_that_a_person_types_a_key_into_is_there_without_one_and_says_nothing_of_the_model(guarded):
    ask, _ = guarded
    shown = ask("GET", "/", headers={"accept": "text/html,*/*"})
    assert shown.status_code == 200
    assert "colour" not in shown.text
    script = re.search(r'src="(page/[^"]+\.js)"', shown.text)[1]
    assert ask("GET", f"/{script}").status_code == 200
    for path in ("/card", "/predict", "/page/../card"):
        assert ask("GET", path, headers={"accept": "text/html"}).status_code in (401, 404), path
    assert ask("GET", "/").status_code == 401
    assert ask("POST", "/", headers={"accept": "text/html"}).status_code == 401


def test_a_body_is_not_read_before_the_key_is_known(guarded):
    ask, _ = guarded
    sent = []

    async def body():
        for _ in range(100):
            sent.append(1)
            yield b"x"

    assert problem(ask("POST", "/predict", content=body()))[0] == 401
    assert len(sent) <= 1


def test_keys_are_followed_without_a_restart(guarded, store):
    ask, ring = guarded
    first = added(store, ring, "shop", "predict")
    assert ask("GET", "/", headers=bearer(first)).status_code == 200
    second, _ = keys.rotate(store, "shop", timedelta(0))
    assert ask("GET", "/", headers=bearer(second)).status_code == 401
    ring.refresh()
    assert [ask("GET", "/", headers=bearer(one)).status_code for one in (first, second)] == [401, 200]
    keys.revoke(store, "shop")
    ring.refresh()
    assert ask("GET", "/", headers=bearer(second)).status_code == 401


def test_a_store_that_does_not_answer_leaves_the_keys_as_they_were(guarded, store):
    ask, ring = guarded
    token = added(store, ring, "shop", "predict")
    store.write_bytes(keys.FILE, b"broken")
    ring.refresh()
    assert ask("GET", "/", headers=bearer(token)).status_code == 200


def test_only_an_admin_reaches_what_changes_answers_and_each_time_is_written_down(guarded, store, caplog):
    caplog.set_level(logging.INFO, "thaw.audit")
    ask, ring = guarded
    shop, boss = (added(store, ring, name, scope) for name, scope in (("shop", "predict"), ("boss", "admin")))
    refused = ask("POST", "/admin/shelf", headers=bearer(shop))
    assert problem(refused) == (403, "wrong_scope")
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert ask("POST", "/admin/shelf", headers=bearer(boss)).json() == {"done": "yes"}
    assert ask("GET", "/", headers=bearer(boss)).status_code == 200
    [line] = [json.loads(record.getMessage()) for record in caplog.records if record.name == "thaw.audit"]
    assert (line["action"], line["by"], line["path"], line["status"]) == ("http POST", "boss", "/admin/shelf", 200)
    assert boss not in json.dumps(line)


def test_an_admin_lets_another_version_answer(endpoint, store, caplog):
    caplog.set_level(logging.INFO, "thaw.audit")
    ring, at = Keyring(store), {"champion": 4}

    def promote(version: int, by: str) -> tuple[str, int]:
        assert by == "boss"
        if version == 9:
            raise MissingError("no version 9")
        if version == 8:
            raise StorageError("no route to the store, at /some/place")
        before, at["champion"] = at["champion"], version
        return "champion", before

    ask = asking(build_app(endpoint, ring, promote=promote))
    shop, boss = (bearer(added(store, ring, name, scope)) for name, scope in (("shop", "predict"), ("boss", "admin")))
    assert problem(ask("POST", "/admin/champion", json={"version": 5}, headers=shop)) == (403, "wrong_scope")
    assert at == {"champion": 4}
    told = ask("POST", "/admin/champion", json={"version": 5}, headers=boss)
    assert told.json() == {"model": "tiny", "alias": "champion", "version": 5, "before": 4}
    assert problem(ask("POST", "/admin/champion", json={"version": 9}, headers=boss)) == (404, "no_such_model")
    away = ask("POST", "/admin/champion", json={"version": 8}, headers=boss)
    assert problem(away) == (503, "store_unreachable")
    assert "/some/place" not in away.text
    for wrong in ({}, {"version": 0}, {"version": "x"}, {"version": 5, "more": 1}):
        assert problem(ask("POST", "/admin/champion", json=wrong, headers=boss)) == (422, "bad_request")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "thaw.audit"]
    assert [line["status"] for line in lines] == [200, 404, 503, 422, 422, 422, 422]


def test_without_an_alias_or_without_keys_nothing_is_promoted_over_http(endpoint, store):
    ring = Keyring(store)
    boss = bearer(added(store, ring, "boss", "admin"))
    ask = asking(build_app(endpoint, ring))
    assert problem(ask("POST", "/admin/champion", json={"version": 5}, headers=boss)) == (409, "no_alias")
    open_to_all = asking(build_app(endpoint, promote=lambda version, by: ("champion", 1)))
    assert open_to_all("POST", "/admin/champion", json={"version": 5}).status_code in (404, 405)


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(guarded, store):
    ask, ring = guarded
    slow, free = added(store, ring, "slow", "predict", "2/h"), added(store, ring, "free", "predict")
    answers = [ask("GET", "/", headers=bearer(slow)) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert problem(answers[2])[1] == "too_often"
    assert 1700 <= int(answers[2].headers["retry-after"]) <= 1800
    assert "www-authenticate" not in answers[2].headers
    assert all(ask("GET", "/", headers=bearer(free)).status_code == 200 for _ in range(5))


def test_requests_of_one_key_are_told_apart_so_that_a_share_of_them_can_be_drawn(guarded, store, endpoint):
    ask, ring = guarded
    shown = {**bearer(added(store, ring, "shop", "predict")), "content-type": "image/png"}
    for more in ({}, {}, {"x-route-key": "one"}):
        ask("POST", "/predict", content=b"x", headers={**shown, **more})
    keys = [one.route_key for one in endpoint.asked[-3:]]
    assert (len(set(keys)), keys[-1]) == (3, "one")


def test_the_document_says_how_a_key_is_shown(guarded, store):
    ask, ring = guarded
    document = ask("GET", "/openapi.json", headers=bearer(added(store, ring, "shop", "predict"))).json()
    assert document["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/predict"]["post"]["security"] == [{"HTTPBearer": []}]


def test_an_endpoint_without_keys_is_open(endpoint):
    assert asking(build_app(endpoint))("GET", "/").status_code == 200


def test_behind_haproxy_others_reach_every_replica_so_that_keys_are_asked_for_and_tls_would_promise_too_much():
    assert Serve(proxy="haproxy").asks_for_keys
    assert not Serve(proxy="haproxy", auth="none").asks_for_keys
    with pytest.raises(ValueError, match="end TLS in front of it"):
        Serve.model_validate({"proxy": "haproxy", "tls": {"cert": "c.pem", "key": "k.pem"}})


@pytest.mark.parametrize(
    ("host", "auth", "asks"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("10.0.0.7", None, True),
        ("0.0.0.0", "none", False),
        ("127.0.0.1", "keys", True),
    ],
)
def test_keys_are_asked_for_wherever_others_reach_unless_it_is_said_otherwise(host, auth, asks, store):
    settings = Serve(host=host, auth=auth)
    assert settings.asks_for_keys == asks
    if asks:
        with pytest.raises(ConfigError, match=r"thaw keys add NAME.*serve.auth to none"):
            keys.check(settings, keys.read(store))
    keys.add(store, "shop", "predict")
    keys.check(settings, keys.read(store))
