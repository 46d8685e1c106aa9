"""Calls of remote functions: in order, and no more at once than is said."""

import time

import pytest
import ray

from thaw import on_ray


def test_what_asks_for_no_cpu_is_begun_no_more_than_cpus_at_a_time():
    def work(place):
        began = time.monotonic()
        time.sleep(1.5)  # longer than it takes to start processes for all of them
        return place, began, time.monotonic()

    found = ray.get(on_ray.in_turn(work, [(place,) for place in range(12)]))
    assert [place for place, *_ in found] == list(range(12))
    at_once = [sum(began <= when < ended for _, began, ended in found) for _, when, _ in found]
    assert max(at_once) <= on_ray.num_cpus()


def test_one_that_fails_says_why():
    def work(place):
        if place == 1:
            raise ValueError("no shard 1")
        return place

    found = on_ray.in_turn(work, [(place,) for place in range(2)])
    assert ray.get(found[0]) == 0
    with pytest.raises(ValueError, match="no shard 1"):
        ray.get(found[1])
