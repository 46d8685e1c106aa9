"""What is counted of a version."""

from thaw.serving.rollout.counts import EDGES_S, Counts, Tally, total


def tally(seconds, failed=()):
    made = Tally()
    for one in seconds:
        made.answer(one, 0.5)
    for kind in failed:
        made.failure(kind)
    return made


def test_counts_of_replicas_add_up():
    one, other = tally([0.01, 0.02], ["model_error"]), tally([0.01], ["not_finite", "model_error"])
    other.comparison(0.25)
    both = total([one.counts(), other.counts()])
    assert (both.answered, both.errors, both.asked) == (3, 3, 6)
    assert both.failed == {"model_error": 2, "not_finite": 1}
    assert (both.abstained, both.compared, both.differed) == (1.5, 1, 0.25)
    assert sum(both.slow) == 3
    assert total([]) == Counts()


def test_a_share_of_answers_comes_within_the_edge_that_covers_it():
    counts = tally([0.010] * 95 + [0.5] * 5).counts()
    assert 0.010 <= counts.within_s(0.95) <= 0.010 * 1.25
    assert 0.5 <= counts.within_s(0.96) <= 0.5 * 1.25
    assert Counts().within_s(0.95) is None
    assert tally([100.0]).counts().within_s(0.95) == EDGES_S[-1]


def test_only_answers_that_certainly_took_longer_are_slower():
    counts = tally([0.010] * 7 + [0.1] * 3).counts()
    assert counts.slower(0.02) == 3
    assert counts.slower(0.0999) == 0
    assert counts.slower(1000.0) == 0


def test_answers_without_seconds_say_nothing_of_latency():
    counts = tally([None] * 5).counts()
    assert (counts.answered, sum(counts.slow)) == (5, 0)
