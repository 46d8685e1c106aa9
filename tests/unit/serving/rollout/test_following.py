"""The endpoint of one process while versions change: who answers, what is counted, and that nobody is let down."""

import asyncio
import time

import pytest
import torch

import stored as made
from thaw import golden
from thaw.config.serving import Serve
from thaw.data.quality import BadImage
from thaw.errors import StorageError
from thaw.registry import store
from thaw.serving import shelf
from thaw.serving.answering import Answering
from thaw.serving.api.contract import Asked, Refused
from thaw.serving.loaded import Key
from thaw.serving.rollout import following
from thaw.serving.rollout.following import Following, begun
from thaw.serving.rollout.plan import Plan, Tried
from thaw.serving.watch.metrics import Metrics

SETTINGS = Serve(max_batch=4, max_models=2)
GOOD, UNREADABLE, NAN, TURNED, FORGED = 2, 3, 4, 5, 6


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Six versions: a champion, one as good, and four that are each broken otherwise."""
    found = made.stored(tmp_path_factory.mktemp("stored"))
    folder = tmp_path_factory.mktemp("other")
    linear = found.bundle.model.heads["colour"][1]

    def register(expected):
        assert store.register(found.root, "colours", folder, lineage) == expected

    lineage = store.lineage(found.root, store.resolve(found.root, found.reference))
    found.bundle.save(folder)
    register(GOOD)
    (folder / "model.safetensors").write_bytes(b"broken")
    register(UNREADABLE)
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    with torch.no_grad():
        linear.weight.fill_(float("nan"))
    found.bundle.save(folder)
    register(NAN)
    with torch.no_grad():
        linear.weight.copy_(weight.roll(1, 0))
        linear.bias.copy_(bias.roll(1, 0))
    found.bundle.save(folder)
    register(TURNED)
    images = {"one": made.png(made.image(0))}
    golden.write(found.bundle, images, folder)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    found.bundle.save(folder)
    register(FORGED)
    store.set_alias(found.root, "colours", "champion", 1)
    return found


def use(stored, scenario):
    """Run a scenario, which is given an endpoint and its metrics."""

    async def whole():
        metrics = Metrics()
        endpoint = Following(Answering(stored.root, SETTINGS, Key("colours", 1), 1), metrics)
        return await asyncio.wait_for(scenario(endpoint, metrics), 60)

    return asyncio.run(whole())


def asked(seed=0, **values):
    content = made.png(made.image(seed))
    return Asked(**({"content": content, "request_id": f"r{seed}", "route_key": f"key-{seed}"} | values))


def plan(champion=1, version=None, kind="canary", share=1.0, compared=1.0):
    if version is None:
        return Plan("colours", champion)
    tried = Tried(id=f"{kind}-{version}", version=version, alias="champion", kind=kind, share=share, started="now")
    return Plan("colours", champion, tried, compared)


def series(metrics, name):
    """Return labels -> value of a counter."""
    found = next(family for family in metrics.snapshot() if family.name == name)
    return {tuple(value for _, value in labels): number for (_, labels), number in found.values.items()}


def test_a_store_that_does_not_answer_for_a_moment_is_not_held_against_a_version(stored, monkeypatch):
    def away(*_):
        raise StorageError("no route to the store")

    async def scenario(endpoint, metrics):
        monkeypatch.setattr(shelf, "_FAILED_S", 0.0)
        opened = endpoint._answering.shelf._open
        endpoint._answering.shelf._open = away
        await endpoint.told(plan(GOOD))
        first = endpoint.beat().failed
        monkeypatch.setattr(following, "_OUTAGE_S", 0.0)
        await endpoint.told(plan(GOOD))
        later = endpoint.beat().failed
        endpoint._answering.shelf._open = opened
        await endpoint.told(plan(GOOD))
        return first, later, endpoint.beat().failed, (await endpoint.answer(asked())).version

    assert use(stored, scenario) == ({}, {GOOD: "no route to the store"}, {}, GOOD)


def test_a_promoted_version_answers_once_it_is_loaded_and_going_back_loads_nothing(stored):
    async def scenario(endpoint, metrics):
        before = await endpoint.answer(asked())
        telling = asyncio.create_task(endpoint.told(plan(GOOD)))
        meanwhile = [await endpoint.answer(asked(seed)) for seed in range(3)]
        await telling
        after = await endpoint.answer(asked())
        await endpoint.answer(asked(version=TURNED))  # would take the place of the first, were that not kept
        opened = endpoint._answering.shelf._open
        endpoint._answering.shelf._open = None
        await endpoint.told(plan(1))
        back = await endpoint.answer(asked())
        endpoint._answering.shelf._open = opened
        assert {1, GOOD} <= {key.version for key in endpoint._answering.shelf.keys}
        return [one.version for one in (before, *meanwhile, after, back)]

    versions = use(stored, scenario)
    assert (versions[0], versions[-2], versions[-1]) == (1, GOOD, 1)
    assert set(versions[1:-2]) <= {1, GOOD}


@pytest.mark.parametrize(
    ("version", "why"), [(UNREADABLE, "model.safetensors|bundle"), (FORGED, "golden image"), (9, "9")]
)
def test_a_version_that_cannot_be_loaded_or_answers_otherwise_is_not_switched_to(stored, version, why):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version))
        answered = await endpoint.answer(asked())
        failed = endpoint.beat().failed
        await endpoint.told(plan(1))
        return answered.version, failed, endpoint.beat().failed

    answered, failed, later = use(stored, scenario)
    assert (answered, list(failed), later) == (1, [version], {})
    assert any(word in failed[version] for word in why.split("|"))


def test_a_canary_answers_its_keys_and_is_counted_beside_the_champion(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=GOOD, share=0.5))
        answered = [await endpoint.answer(asked(seed)) for seed in range(12)]
        await endpoint.idle()
        wanted = [endpoint.plan.version_for(f"key-{seed}") for seed in range(12)]
        return [one.version for one in answered], wanted, endpoint.beat()

    versions, wanted, beat = use(stored, scenario)
    assert versions == wanted
    assert set(versions) == {1, GOOD}
    assert beat.tried == f"canary-{GOOD}"
    assert {version: one.answered for version, one in beat.counts.items()} == {
        version: versions.count(version) for version in (1, GOOD)
    }
    assert 0 < beat.counts[GOOD].compared <= versions.count(GOOD)
    assert beat.counts[GOOD].differed == 0
    assert sum(beat.counts[GOOD].slow) == versions.count(GOOD)


def test_a_canary_that_answers_otherwise_disagrees(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=TURNED))
        for seed in range(6):
            await endpoint.answer(asked(seed))
            await endpoint.idle()
        return endpoint.beat().counts[TURNED], series(metrics, "thaw_disagreement")

    counts, told = use(stored, scenario)
    assert counts.compared == 6
    assert counts.differed / counts.compared == pytest.approx(0.5, abs=0.17)  # one of two heads is turned
    assert told[("colours", str(TURNED))] == pytest.approx(counts.differed)


def test_where_a_canary_fails_the_champion_answers_and_the_failure_is_counted(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=NAN))
        answered = await asyncio.gather(*(endpoint.answer(asked(seed)) for seed in range(8)))
        return [one.version for one in answered], endpoint.beat().counts, series(metrics, "thaw_request_errors")

    versions, counts, errors = use(stored, scenario)
    assert versions == [1] * 8
    assert counts[NAN].failed == {"not_finite": 8}
    assert counts[1].errors == 0
    assert errors == {("colours", str(NAN), "not_finite"): 8}


def test_images_that_nobody_can_read_are_nobodys_failure(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=GOOD))
        with pytest.raises(BadImage):
            await endpoint.answer(asked(content=b"no image"))
        with pytest.raises(Refused):
            await endpoint.answer(asked(version=9))
        return endpoint.beat().counts, series(metrics, "thaw_request_errors")

    counts, errors = use(stored, scenario)
    assert {one.errors for one in counts.values()} == {0}
    assert errors == {("colours", "1", "not_an_image"): 1, ("colours", "1", "no_such_model"): 1}


def test_a_shadow_is_asked_too_and_answers_nobody(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=TURNED, kind="shadow"))
        versions = []
        for seed in range(6):
            versions.append((await endpoint.answer(asked(seed))).version)
            await endpoint.idle()
        good = endpoint.beat().counts
        await endpoint.told(plan(version=NAN, kind="shadow"))
        versions.append((await endpoint.answer(asked())).version)
        await endpoint.idle()
        return versions, good, endpoint.beat().counts

    versions, counts, broken = use(stored, scenario)
    assert versions == [1] * 7
    assert (counts[TURNED].answered, counts[TURNED].compared, sum(counts[TURNED].slow)) == (6, 6, 0)
    assert counts[TURNED].differed > 1
    assert broken[NAN].failed == {"not_finite": 1}
    assert broken[1].answered == 1


def test_what_nobody_waits_for_is_dropped_while_images_wait(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=GOOD, kind="shadow"))
        endpoint._background._busy = lambda: True
        await endpoint.answer(asked())
        return endpoint.beat().counts[GOOD].answered, series(metrics, "thaw_compared")

    assert use(stored, scenario) == (0, {("colours", str(GOOD), "dropped"): 1})


def test_a_canary_that_is_promoted_answers_at_once_and_a_larger_share_goes_on_counting(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=GOOD, share=0.5))
        for seed in range(6):
            await endpoint.answer(asked(seed))
        few = endpoint.beat().counts[GOOD].answered
        await endpoint.told(plan(version=GOOD, share=1.0))
        await endpoint.answer(asked())
        assert endpoint.beat().counts[GOOD].answered == few + 1
        telling = asyncio.create_task(endpoint.told(plan(GOOD, version=GOOD)))
        await asyncio.sleep(0)
        assert endpoint.plan == Plan("colours", GOOD, None, 1.0)
        await telling
        return (await endpoint.answer(asked())).version, endpoint.beat()

    version, beat = use(stored, scenario)
    assert (version, beat.tried, beat.counts) == (GOOD, None, {})


def test_a_new_process_begins_with_what_the_alias_points_at_or_else_with_what_is_known_to_work(stored):
    async def scenario():
        found = []
        for version in (GOOD, FORGED):
            store.set_alias(stored.root, "colours", "staging", version)
            found.append(begun(stored.root, SETTINGS, Key("colours", 1), "staging", 1).current.version)
        return [*found, begun(stored.root, SETTINGS, Key("colours", TURNED), None, 1).current.version]

    assert asyncio.run(scenario()) == [GOOD, 1, TURNED]


def test_an_image_that_fails_takes_none_of_those_with_it(stored):
    async def scenario(endpoint, metrics):
        network = endpoint._answering.shelf._loaded[Key("colours", 1)].network
        hook = network.model.register_forward_pre_hook(_refuse_white)
        white = made.png(made.image(0) * 0 + 255)
        images = [asked(seed) for seed in range(3)] + [asked(9, content=white)]
        found = await asyncio.gather(*map(endpoint.answer, images), return_exceptions=True)
        hook.remove()
        return found

    found = use(stored, scenario)
    assert [isinstance(one, Exception) for one in found] == [False, False, False, True]


def _refuse_white(_model, given):
    if any(pixels.float().mean() > 150 for pixels in given[0]):
        raise RuntimeError("too bright")


def test_a_version_that_misses_deadlines_is_counted_as_failing(stored):
    async def scenario(endpoint, metrics):
        await endpoint.told(plan(version=GOOD))
        loaded = endpoint._answering.shelf.held(Key("colours", GOOD))

        async def never(placed, deadline):
            await asyncio.sleep(60)

        loaded.batcher.ask = never
        with pytest.raises(Refused) as late:
            await endpoint.answer(asked(deadline=time.monotonic() + 0.2))
        assert late.value.status == 504
        counts = endpoint.beat().counts
        assert sum(counts[GOOD].failed.values()) == 1
        assert counts[GOOD].answered == 0

    use(stored, scenario)
