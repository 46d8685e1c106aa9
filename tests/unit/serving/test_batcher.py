"""The batcher: who goes together, who is refused, and who is never computed."""

import asyncio
import threading
import time

import pytest

from thaw.serving.api.contract import Refused
from thaw.serving.batcher import Batcher, best_batch, measured


class Gate:
    """Work that waits at a gate, and remembers what it was given."""

    def __init__(self):
        self.batches, self.open = [], threading.Event()

    def __call__(self, batch):
        self.batches.append(batch)
        assert self.open.wait(60)
        if "broken" in batch:
            raise ValueError("it broke")
        return [f"answer to {one}" for one in batch]

    async def begun(self, count):
        while len(self.batches) < count:
            await asyncio.sleep(0.001)


@pytest.fixture
def gate():
    return Gate()


def run(gate, scenario, **options):
    """Run a scenario, which is given a batcher, and return what it returns."""

    async def whole():
        batcher = Batcher(gate, **({"most": 3, "room": 10} | options))
        try:
            return await asyncio.wait_for(scenario(batcher), 60)
        finally:
            gate.open.set()
            batcher.close()

    return asyncio.run(whole())


def test_an_idle_thread_begins_at_once_and_who_waits_then_goes_together(gate):
    async def scenario(batcher):
        first = asyncio.create_task(batcher.ask(0))
        await gate.begun(1)
        others = [asyncio.create_task(batcher.ask(one)) for one in range(1, 6)]
        await asyncio.sleep(0)
        gate.open.set()
        return await asyncio.gather(first, *others)

    results = run(gate, scenario)
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    assert [one.value for one in results] == [f"answer to {one}" for one in range(6)]
    assert [one.batch for one in results] == [1, 3, 3, 3, 2, 2]
    assert all(one.queue_s >= 0 and one.infer_s >= 0 for one in results)


def test_an_idle_thread_waits_for_others_as_long_as_it_may(gate):
    gate.open.set()

    async def scenario(batcher):
        return await asyncio.gather(*map(batcher.ask, range(3)))

    run(gate, scenario, wait_s=5.0)
    assert gate.batches == [[0, 1, 2]]


def test_who_is_cancelled_leaves_the_queue_and_is_not_computed(gate):
    async def scenario(batcher):
        tasks = [asyncio.create_task(batcher.ask(0))]
        await gate.begun(1)
        tasks += [asyncio.create_task(batcher.ask(one)) for one in (1, 2)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(tasks[0], tasks[2])

    run(gate, scenario)
    assert gate.batches == [[0], [2]]


def test_who_is_cancelled_while_computed_harms_nobody(gate):
    async def scenario(batcher):
        tasks = [asyncio.create_task(batcher.ask(one)) for one in (0, 1)]
        await gate.begun(1)
        tasks[0].cancel()
        gate.open.set()
        return await asyncio.gather(*tasks, batcher.ask(2), return_exceptions=True)

    cancelled, *told = run(gate, scenario)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [one.value for one in told] == ["answer to 1", "answer to 2"]


def test_what_is_past_its_deadline_is_refused_and_not_computed(gate):
    async def scenario(batcher):
        first = asyncio.create_task(batcher.ask(0))
        await gate.begun(1)
        late = asyncio.create_task(batcher.ask(1, time.monotonic()))
        good = asyncio.create_task(batcher.ask(2, time.monotonic() + 60))
        await asyncio.sleep(0.01)
        gate.open.set()
        await asyncio.gather(first, good)
        with pytest.raises(Refused) as refused:
            await late
        return refused.value.status

    assert run(gate, scenario) == 504
    assert gate.batches == [[0], [2]]


def test_beyond_the_room_it_is_refused_with_when_to_come_again(gate):
    gate.open.set()

    async def scenario(batcher):
        await batcher.ask(0)
        with batcher.admitted(), batcher.admitted():
            assert batcher.under_way == 2
            with pytest.raises(Refused) as refused, batcher.admitted():
                pass
        assert batcher.under_way == 0
        return refused.value

    told = run(gate, scenario, room=2)
    assert (told.status, told.error, told.retry_after) == (503, "overloaded", 1)


def test_what_would_not_be_answered_in_time_is_refused_before_it_is_decoded(gate):
    async def scenario(batcher):
        asking = asyncio.create_task(batcher.ask(0))
        await gate.begun(1)
        await asyncio.sleep(0.02)
        gate.open.set()
        await asking
        assert batcher.each_s >= 0.02
        with batcher.admitted(0.001):  # nothing is ahead of it
            assert _refused(batcher, 0.01)
            assert not _refused(batcher, 60.0)

    run(gate, scenario)


def _refused(batcher, left_s):
    try:
        with batcher.admitted(left_s):
            return False
    except Refused as refused:
        return refused.status == 503


def test_a_fault_is_told_to_its_own_batch_alone(gate):
    gate.open.set()

    async def scenario(batcher):
        with pytest.raises(ValueError, match="it broke"):
            await batcher.ask("broken")
        return await batcher.ask(1)

    assert run(gate, scenario).value == "answer to 1"


def test_lanes_compute_at_the_same_time(gate):
    begun = []

    async def scenario(batcher):
        first = asyncio.create_task(batcher.ask(0))
        await gate.begun(1)
        second = asyncio.create_task(batcher.ask(1))
        await gate.begun(2)  # though the first one is not done
        others = [asyncio.create_task(batcher.ask(one)) for one in range(2, 6)]
        await asyncio.sleep(0)
        gate.open.set()
        return await asyncio.gather(first, second, *others)

    results = run(gate, scenario, lanes=2, begin=lambda: begun.append(threading.get_ident()))
    assert [result.value for result in results] == [f"answer to {one}" for one in range(6)]
    assert gate.batches[:2] == [[0], [1]]
    assert sorted(one for batch in gate.batches[2:] for one in batch) == [2, 3, 4, 5]
    assert len(set(begun)) == 2


@pytest.mark.parametrize("lanes", [1, 3])
def test_closing_ends_every_lane_after_what_waits(gate, lanes):
    async def scenario(batcher):
        asking = asyncio.create_task(batcher.ask(0))
        await gate.begun(1)
        last = asyncio.create_task(batcher.ask(1))
        await asyncio.sleep(0)
        batcher.close()
        gate.open.set()
        await asyncio.gather(asking, last)
        for thread in batcher._threads:
            thread.join(5)
        return any(thread.is_alive() for thread in batcher._threads)

    assert not run(gate, scenario, lanes=lanes)


@pytest.mark.parametrize(
    ("seconds", "target_s", "expected"),
    [
        ({1: 1.0, 2: 2.0, 4: 4.0}, None, 1),  # going together gains nothing
        ({1: 1.0, 2: 1.2, 4: 1.5}, None, 4),
        ({1: 1.0, 2: 1.2, 4: 2.3}, None, 2),  # four gain less than a twentieth
        ({1: 1.0, 2: 1.2, 4: 1.5}, 1.3, 2),
        ({1: 1.0, 2: 1.2, 4: 1.5}, 0.5, 1),  # one is the least there is
    ],
)
def test_the_fewest_that_are_nearly_as_fast_as_any_go_together(seconds, target_s, expected):
    assert best_batch(seconds, target_s) == expected


def test_every_power_of_two_and_the_most_are_measured_up_to_the_target():
    ran = []
    assert list(measured(ran.append, 6)) == [1, 2, 4, 6]
    assert ran == [1] * 4 + [2] * 4 + [4] * 4 + [6] * 4

    def clock():
        return sum(ran) / 128

    assert measured(ran.append, 8, None, clock) == {1: 1 / 128, 2: 2 / 128, 4: 4 / 128, 8: 8 / 128}
    assert list(measured(ran.append, 8, 3 / 128, clock)) == [1, 2, 4]
    assert list(measured(ran.append, 256, None, clock))[-1] == 256
    assert list(measured(ran.append, 512, None, clock))[-1] == 256  # which takes more than a second
