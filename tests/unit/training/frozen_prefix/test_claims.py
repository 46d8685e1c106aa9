"""What several runs need is computed by one of them, and by another where that one falls silent."""

import threading
from collections.abc import Generator

from kept_run import LABELS, SIZE, InMemory, KeptRun, experiment

from thaw.training.frozen_prefix import fill
from thaw.training.frozen_prefix.claims import Claims
from thaw.training.frozen_prefix.fill import Cost

SPOTS = [("a", 0), ("a", 1), ("b", 0)]


def test_a_spot_is_claimed_by_one_name_until_it_is_done_or_released() -> None:
    claims = Claims()
    assert claims.claim("one", SPOTS[:2]) == SPOTS[:2]
    assert claims.claim("other", SPOTS) == SPOTS[2:]
    claims.done(SPOTS[0])
    assert claims.claim("other", SPOTS[:2]) == SPOTS[:1]
    claims.release("one")
    assert claims.claim("third", SPOTS) == SPOTS[1:2]


def test_claims_of_one_that_fell_silent_are_void_and_work_is_a_sign_of_life() -> None:
    now = [0.0]
    claims = Claims(clock=lambda: now[0])
    claims.claim("one", SPOTS)
    now[0] = 100.0
    claims.done(SPOTS[0])
    now[0] = 200.0
    assert claims.claim("other", SPOTS[1:]) == []
    now[0] = 221.0
    assert claims.claim("other", SPOTS[1:]) == SPOTS[1:]


def _filling(store: InMemory) -> Generator[Cost]:
    """Return the filling of two views, each of one block, by a run of its own."""
    run = KeptRun(experiment(cache={"use": "always"}), store)
    run.trained.model.open_groups(0)
    run.trained.model.split(SIZE)
    train = run._images("train", {"colour": LABELS["colour"]})
    return fill.fill(run.trained.model, train.feed, {0: "first", 1: "second"}, store, train.stream, run.on)


def test_what_another_run_computes_is_waited_for_and_not_computed_again() -> None:
    store, waited = InMemory(), list[Cost]()
    one, other = _filling(store), _filling(store)
    next(one)  # has claimed both blocks, and computed the first
    waiting = threading.Thread(target=lambda: waited.extend(other))
    waiting.start()
    assert len(list(one)) == 1
    waiting.join(timeout=30)
    assert waited == []
    assert store.places("first") == store.places("second") == {0}


def test_what_another_run_gave_up_is_computed() -> None:
    store = InMemory()
    one = _filling(store)
    next(one)
    one.close()
    assert len(list(_filling(store))) == 1
    assert store.places("second") == {0}


def test_what_there_is_no_room_for_is_computed_once_and_not_for_ever() -> None:
    assert len(list(_filling(InMemory(max_bytes=1)))) == 2
