"""What the page at `/` is served as. What it does is tested in a browser (tests/browser)."""

import re
from pathlib import Path

import pytest

import thaw.serving.page
from asking import asking
from in_process import InProcess, every_kind
from reading import Reader
from thaw.serving.api.app import build_app

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
CARD = """---
secret: of the hub
---

# tiny/7

A [link](https://example.org/a) and [a trap](javascript:alert(1)); <script>alert(1)</script> ![x](https://example.org/x)

| metric | value |
|---|---:|
| accuracy | 0.9 <b>or so</b> |
"""


@pytest.fixture(scope="module")
def ask():
    send = asking(build_app(InProcess(every_kind(), cards={7: CARD})))
    return lambda path, **headers: send("GET", path, headers=headers)


def test_browsers_get_a_page_and_programs_get_facts_at_the_same_address(ask):
    page, facts, curl = ask("/", **HTML), ask("/", accept="application/json"), ask("/", accept="*/*")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert facts.json() == curl.json()
    assert (facts.json()["model"], facts.json()["version"]) == ("tiny", 7)
    assert {one.headers["vary"] for one in (page, facts, curl)} == {"accept"}


def test_a_page_may_run_its_own_scripts_and_ask_its_own_host_alone(ask):
    for path in ("/", "/card"):
        allowed = dict(
            one.strip().split(" ", 1) for one in ask(path, **HTML).headers["content-security-policy"].split(";")
        )
        assert allowed.pop("default-src") == "'none'"
        assert set(allowed.values()) == {"'self'", "'none'"}
        assert allowed["frame-ancestors"] == allowed["base-uri"] == allowed["form-action"] == "'none'"


def test_nothing_in_the_page_is_inline_or_from_elsewhere(ask):
    page = ask("/", **HTML).text
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! type=\"module\" src=\"page/)", page)
    assert "//" not in page.replace("<!DOCTYPE html>", "")
    assert Reader(page).open == []
    assert 'data-max-bytes="16777216"' in page


def test_every_file_that_page_and_scripts_name_is_there_and_kept_for_good(ask):
    page = ask("/", **HTML).text
    waiting = [*re.findall(r'(?:href|src)="(page/[^"]+)"', page)]
    assert len(waiting) == 3
    seen = set()
    while waiting:
        path = waiting.pop()
        found = ask(f"/{path}")
        assert found.status_code == 200, path
        assert "immutable" in found.headers["cache-control"]
        assert found.headers["x-content-type-options"] == "nosniff"
        seen.add(path)
        named = re.findall(r'from "\./([^"]+)"|import "\./([^"]+)"', found.text) if path.endswith(".js") else []
        waiting += [f"{path.rpartition('/')[0]}/{one or other}" for one, other in named]
        waiting = [one for one in waiting if one not in seen]
    own = {
        path.name
        for path in Path(thaw.serving.page.__file__).parent.iterdir()
        if path.suffix in (".js", ".css", ".svg")
    }
    assert {path.rpartition("/")[2] for path in seen} == own


def test_files_of_another_version_are_not_kept_and_others_are_not_there(ask):
    assert ask("/page/older/page.js").headers["cache-control"] == "no-store"
    for name in ("index.html", "routes.py", "..%2Froutes.py", "%2e%2e/routes.py", ""):
        assert ask(f"/page/older/{name}").status_code == 404, name


def test_scripts_put_in_text_and_never_markup():
    for path in Path(thaw.serving.page.__file__).parent.glob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), (
            path
        )
        assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", text), path


def test_a_card_is_a_page_for_browsers_and_markdown_for_programs(ask):
    assert ask("/card").text == CARD
    assert ask("/card").headers["content-type"].startswith("text/markdown")
    page = ask("/card?model=tiny&version=7", **HTML).text
    assert Reader(page).open == []
    assert "<h1>tiny/7</h1>" in page
    assert "<td>accuracy</td>" in page
    assert "secret" not in page


def test_markup_in_a_card_is_shown_and_not_obeyed(ask):
    page = ask("/card", **HTML).text
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;or so" in page
    assert 'href="javascript' not in page
    assert "<img" not in page
    assert "style=" not in page


@pytest.mark.parametrize("query", ["?version=8", "?model=other", "?version=many"])
def test_a_card_that_there_is_not_is_a_problem(ask, query):
    refused = ask(f"/card{query}", **HTML)
    assert refused.status_code == (422 if "many" in query else 404)
    assert set(refused.json()) == {"error", "detail", "request_id"}


def test_a_model_without_a_card_says_so():
    assert asking(build_app(InProcess(every_kind())))("GET", "/card").json()["error"] == "no_card"


def test_facts_say_where_each_head_decides_and_how_it_is_drawn(ask):
    tasks = ask("/").json()["tasks"]
    assert tasks["verdict"]["thresholds"] == {}
    assert tasks["tags"]["thresholds"] == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert tasks["things"]["thresholds"] == {"cup": 0.3, "pen": 0.3}
    assert (tasks["things"]["lowest"], tasks["things"]["most"]) == (0.0, 100)
    assert not any(task["settled"] for task in tasks.values())
    drawn = {name for task in tasks.values() for name in task["colours"]}
    assert drawn == {"cup", "pen", "grass", "road", "sky"}
