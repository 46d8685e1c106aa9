"""Versions change while requests come without a pause: none of them fails, and what is bad is taken back by itself."""

import httpx
import pytest
import ray
import torch

import stored as made
from callers import steady, until
from thaw.config.serving import Serve
from thaw.registry import store
from thaw.serving import on_ray as serving
from thaw.serving.rollout import kept

pytestmark = pytest.mark.slow

GOOD, TURNED, NAN = 2, 3, 4


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A champion, a version as good, one whose classes are exchanged, and one whose weights are no numbers."""
    found = made.stored(tmp_path_factory.mktemp("stored"))
    folder, linear = tmp_path_factory.mktemp("other"), found.bundle.model.heads["colour"][1]
    lineage = store.lineage(found.root, store.resolve(found.root, found.reference))
    found.bundle.save(folder)
    assert store.register(found.root, "colours", folder, lineage) == GOOD
    with torch.no_grad():
        linear.weight.copy_(linear.weight.roll(1, 0))
        linear.bias.copy_(linear.bias.roll(1, 0))
    found.bundle.save(folder)
    assert store.register(found.root, "colours", folder, lineage) == TURNED
    with torch.no_grad():
        linear.weight.fill_(float("nan"))
    found.bundle.save(folder)
    assert store.register(found.root, "colours", folder, lineage) == NAN
    store.set_alias(found.root, "colours", "champion", 1)
    return found


@pytest.fixture(scope="module")
def url(stored):
    settings = Serve(port=8143, replicas=2, max_batch=4, follow_seconds=2, rollout={"min_requests": 40})
    with serving.endpoint("colours", stored.root.uri, settings) as address:
        yield address


def test_promoting_and_going_back_fail_no_request(stored, url):
    with steady(url, "promote and roll back") as callers:
        store.set_alias(stored.root, "colours", "champion", GOOD)
        promoted = until(lambda: callers.versions() == {GOOD})
        store.set_alias(stored.root, "colours", "champion", 1)
        back = until(lambda: callers.versions() == {1})
    print(f"promoted after {promoted:.1f} s, back after {back:.1f} s")


@pytest.mark.parametrize(
    ("version", "kind", "why"),
    [(TURNED, "canary", "max_disagreement"), (NAN, "canary", "max_errors"), (TURNED, "shadow", "max_disagreement")],
)
def test_a_broken_version_is_taken_back_by_itself_and_fails_no_request(stored, url, version, kind, why):
    with steady(url, f"{kind} of version {version}") as callers:
        tried = kept.begin(stored.root, f"colours/{version}", kind, 0.5, {"compared": 1.0})
        took = until(lambda: kept.read(stored.root, "colours") is None)
        until(lambda: callers.versions() == {1})
    record = kept.record_of(stored.root, "colours", tried.id)
    print(f"taken back after {took:.1f} s: {record.reasons}; {record.figures[0]}")
    assert record.outcome == "rolled_back"
    assert any(reason.startswith(why) for reason in record.reasons)
    assert ({version} & {one for _, _, one in callers.seen} == {version}) == (kind == "canary" and version == TURNED)


def test_a_good_version_is_tried_and_promoted(stored, url):
    with steady(url, "canary of a good version, promoted") as callers:
        kept.begin(stored.root, f"colours/{GOOD}", "canary", 0.5, {})
        until(lambda: callers.versions(30) == {1, GOOD})
        until(lambda: (kept.last(stored.root, "colours").figures or [None])[0].answered > 40)
        store.set_alias(stored.root, "colours", "champion", GOOD)
        until(lambda: callers.versions() == {GOOD})
        until(lambda: kept.read(stored.root, "colours") is None)
    assert kept.last(stored.root, "colours").outcome == "promoted"
    store.set_alias(stored.root, "colours", "champion", 1)


def test_metrics_are_those_of_all_replicas(url):
    with steady(url, "metrics") as callers:
        before = answered(url)
        number = len(callers.seen)
        until(lambda: answered(url) > before + 50)
        assert (
            answered(url) - before <= len(callers.seen) - number + 100
        )  # what was told of before is at most a beat old
    text = httpx.get(f"{url}/metrics").text
    assert "thaw_replicas 2.0" in text
    assert "thaw_rollbacks_total" in text


def test_without_what_decides_answering_goes_on_and_following_comes_back(stored, url):
    with steady(url, "the controller is killed") as callers:
        [controller] = [one for one in ray.util.list_named_actors(all_namespaces=True) if "Controller#" in one["name"]]
        ray.kill(ray.get_actor(controller["name"], controller["namespace"]), no_restart=True)
        store.set_alias(stored.root, "colours", "champion", GOOD)
        took = until(lambda: callers.versions() == {GOOD})
    print(f"followed again after {took:.1f} s")


def answered(url):
    """Return how many answers are told of, over all replicas and versions."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("thaw_requests_total"))
