"""Calls of remote functions: in order, and no more at once than is said."""

import time

import pytest
import ray

from thaw import on_ray


def test_no_more_are_under_way_than_there_are_lanes():
    def work(place):
        began = time.monotonic()
        time.sleep(1.5)  # longer than it takes to start processes for all of them
        return place, began, time.monotonic()

    found = ray.get(on_ray.in_lanes(work, [(place,) for place in range(9)], 3))
    assert [place for place, *_ in found] == list(range(9))
    at_once = [sum(began <= when < ended for _, began, ended in found) for _, when, _ in found]
    assert max(at_once) <= 3


def test_one_that_fails_says_why_and_fails_its_lane_alone():
    def work(place):
        if place == 1:
            raise ValueError("no shard 1")
        return place

    found = on_ray.in_lanes(work, [(place,) for place in range(4)], 2)
    assert ray.get([found[0], found[2]]) == [0, 2]
    for place in (1, 3):
        with pytest.raises(ValueError, match="no shard 1"):
            ray.get(found[place])
