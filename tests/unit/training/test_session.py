"""A session tells of each step as its batch is there, and of none that is not taken."""

from thaw.training import session


def test_each_step_is_told_of_before_its_batch_is_used():
    heard: list[int] = []
    stream = session.watched(lambda start, stop: ({"step": step} for step in range(start, stop)), heard.append, 5, 9)
    for taken, batch in enumerate(stream, start=1):
        assert batch == {"step": heard[-1]}
        assert heard == list(range(5, 5 + taken))
    assert heard == [5, 6, 7, 8]


def test_batches_that_are_not_wanted_any_more_are_closed():
    closed = []

    def batches(start, stop):
        try:
            yield from ({} for _ in range(start, stop))
        finally:
            closed.append(True)

    stream = session.watched(batches, lambda _step: None, 0, 9)
    next(stream)
    stream.close()
    assert closed == [True]
