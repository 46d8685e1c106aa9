"""The endpoint of one process: several models, those that share a trunk, and the answer that was scored."""

import asyncio
import gc
import time
import weakref

import pytest
import safetensors.torch
import timm
import torch

import stored as made
from thaw import bundle, predictor
from thaw.config.serving import Serve
from thaw.data import quality
from thaw.data.quality import BadImage
from thaw.registry import store
from thaw.serving.answering import Answering
from thaw.serving.api.contract import Asked, Refused
from thaw.serving.loaded import Key

SETTINGS = Serve(max_batch=4, max_models=2)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A model of three versions, of which the second differs and the third cannot be read."""
    found = made.stored(tmp_path_factory.mktemp("stored"))
    lineage = store.lineage(found.root, store.resolve(found.root, found.reference))
    other = tmp_path_factory.mktemp("other")
    with torch.no_grad():
        found.bundle.model.heads["colour"][1].bias[0] += 3
    found.bundle.save(other)
    assert store.register(found.root, "colours", other, lineage) == 2
    (other / "model.safetensors").write_bytes(b"broken")
    assert store.register(found.root, "colours", other, lineage) == 3
    store.set_alias(found.root, "colours", "champion", 1)
    return found


def use(stored, scenario, settings=SETTINGS, key=None):
    """Run a scenario, which is given an endpoint."""

    async def whole():
        return await asyncio.wait_for(scenario(Answering(stored.root, settings, key or Key("colours", 1), 1)), 120)

    return asyncio.run(whole())


def asked(seed=0, **values):
    return Asked(**({"content": made.png(made.image(seed)), "request_id": f"r{seed}", "route_key": "me"} | values))


def expected(stored, version, seeds):
    loaded = bundle.load(stored.folder.parent / str(version))
    images = [quality.decode(made.png(made.image(seed)), SETTINGS.limits) for seed in seeds]
    return [predictor.as_json(one) for one in predictor.answer(loaded, images)]


def test_the_answer_is_the_one_that_is_scored_whoever_came_together(stored):
    async def scenario(endpoint):
        return await asyncio.gather(*(endpoint.answer(asked(seed)) for seed in range(12)))

    answered = use(stored, scenario)
    for one, scored in zip(answered, expected(stored, 1, range(12)), strict=True):
        assert (one.model, one.version) == ("colours", 1)
        assert one.answers["colour"]["scores"] == pytest.approx(scored["colour"]["scores"], abs=1e-6)
        assert one.found["colour"].label == one.answers["colour"]["label"]
        assert 1 <= one.seconds.batch <= 4
    assert [one.request_id for one in answered] == [f"r{seed}" for seed in range(12)]


def test_every_version_answers_as_itself_and_those_not_used_for_longest_make_room(stored):
    async def scenario(endpoint):
        second = await endpoint.answer(asked(version=2))
        with pytest.raises(Refused) as unusable:
            await endpoint.answer(asked(version=3))
        with pytest.raises(Refused) as missing:
            await endpoint.answer(asked(version=9))
        with pytest.raises(Refused) as other:
            await endpoint.answer(asked(model="secrets"))
        first = await endpoint.answer(asked())
        assert [key.version for key in endpoint.shelf.keys] == [2, 1]
        return first, second, [one.value for one in (unusable, missing, other)]

    first, second, refused = use(stored, scenario)
    for version, answered in ((1, first), (2, second)):
        scored = expected(stored, version, [0])[0]["colour"]["scores"]
        assert answered.answers["colour"]["scores"] == pytest.approx(scored, abs=1e-6)
    assert first.answers != second.answers
    assert [one.status for one in refused] == [503, 404, 404]
    assert not any(str(stored.root) in one.detail for one in refused)


def test_a_version_that_could_not_be_loaded_holds_on_to_no_request_and_is_not_tried_at_once_again(stored):
    tried = []

    async def scenario(endpoint):
        def fail(key, others):
            tried.append(key)
            raise RuntimeError("out of memory")

        endpoint.shelf._open = fail
        held = []
        for _ in range(3):
            one = asked(version=2)
            held.append(weakref.ref(one))
            with pytest.raises(Refused) as refused:
                await endpoint.answer(one)
            assert (refused.value.status, refused.value.error) == (503, "model_unusable")
            assert "memory" not in refused.value.detail
            del one, refused
        await asyncio.sleep(0)  # the loop itself holds on to what it has just called
        gc.collect()
        return [ref() for ref in held]

    assert use(stored, scenario) == [None] * 3
    assert tried == [Key("colours", 2)]


def test_what_is_not_in_the_store_is_refused_without_a_load(stored):
    async def scenario(endpoint):
        endpoint.shelf._open = None
        for version in (9, 10**9):
            with pytest.raises(Refused) as refused:
                await endpoint.answer(asked(version=version))
            assert refused.value.status == 404
        return len(endpoint.shelf._failed)

    assert use(stored, scenario) == 0


def test_what_is_kept_stays_and_what_is_used_ends_only_then(stored):
    async def scenario(endpoint):
        endpoint.shelf.keep({Key("colours", 1)})
        async with endpoint.shelf.lent(Key("colours", 2)) as lent:
            assert len(endpoint.shelf.keys) == 2
            result = await lent.batcher.ask(predictor.place(lent.network.description.preprocess, made.image(0)))
            assert result.value
        await endpoint.answer(asked())
        return [key.version for key in endpoint.shelf.keys], lent.batcher._closed

    assert use(stored, scenario, Serve(max_batch=2, max_models=1)) == ([1], True)


def test_requests_for_a_model_that_is_being_loaded_wait_for_one_load(stored):
    async def scenario(endpoint):
        answered = await asyncio.gather(*(endpoint.answer(asked(seed, version=2)) for seed in range(4)))
        return [one.version for one in answered]

    assert use(stored, scenario) == [2] * 4


def test_facts_are_of_the_version_asked_for(stored):
    async def scenario(endpoint):
        return await endpoint.facts(), await endpoint.facts("colours", 2)

    first, second = use(stored, scenario)
    assert (first.model, first.version, first.versions) == ("colours", 1, (1, 2, 3))
    assert first.tasks["colour"].classes == ("blue", "green", "red")
    assert second.version == 2


def test_bad_images_and_deadlines_are_refused(stored):
    async def scenario(endpoint):
        with pytest.raises(BadImage):
            await endpoint.answer(asked(content=b"no image"))
        with pytest.raises(Refused) as late:
            await endpoint.answer(asked(deadline=time.monotonic() - 1))
        return late.value.status, [await endpoint.answer(asked())]

    status, answered = use(stored, scenario)
    assert status == 504 or status == 503
    assert answered


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """Two versions of a model that differ in their adapters alone."""
    trunk = timm.create_model("test_resnet").state_dict()
    weights = tmp_path_factory.mktemp("weights") / "trunk.safetensors"
    safetensors.torch.save_file({name: one.contiguous() for name, one in trunk.items()}, weights)
    found = made.stored(
        tmp_path_factory.mktemp("adapted"), weights={"source": "path", "path": str(weights)}, lora={"rank": 2}
    )
    lineage = store.lineage(found.root, store.resolve(found.root, found.reference))
    again = tmp_path_factory.mktemp("again")
    with torch.no_grad():
        for name, weight in found.bundle.model.named_parameters():
            if "lora_B" in name:
                weight += 0.5
    found.bundle.save(again)
    assert store.register(found.root, "colours", again, lineage) == 2
    return found


def test_adapters_of_the_same_weights_share_them_in_memory(adapted):
    async def scenario(endpoint):
        await endpoint.answer(asked(version=2))
        networks = [loaded.network for loaded in endpoint.shelf._loaded.values()]
        tensors = [
            {name: one.data_ptr() for name, one in network.model.backbone.state_dict().items()} for network in networks
        ]
        below = networks[0].model.backbone.base
        assert below
        assert all(tensors[0][name] == tensors[1][name] for name in below)
        assert all(tensors[0][name] != tensors[1][name] for name in tensors[0] if name not in below)
        first, second = [(await endpoint.answer(asked(version=version))).answers for version in (1, 2)]
        return first, second

    first, second = use(adapted, scenario)
    assert first["colour"]["scores"] == pytest.approx(expected(adapted, 1, [0])[0]["colour"]["scores"], abs=1e-6)
    assert second["colour"]["scores"] == pytest.approx(expected(adapted, 2, [0])[0]["colour"]["scores"], abs=1e-6)
    assert first["colour"]["scores"] != second["colour"]["scores"]


def test_the_card_of_a_version_is_told_without_loading_it(stored):
    async def scenario(endpoint):
        assert (await endpoint.card(version=2)).text == "# of two\n"
        assert Key("colours", 2) not in endpoint.shelf._loaded
        for version, error in ((1, "no_card"), (9, "no_such_model")):
            with pytest.raises(Refused) as refused:
                await endpoint.card(version=version)
            assert (refused.value.status, refused.value.error) == (404, error)

    stored.root.write_bytes("models/colours/2/MODEL_CARD.md", b"# of two\n")
    use(stored, scenario)
