"""A key may make so many requests at once, and then as many as fill up again."""

import pytest

from thaw.serving.rate import Buckets, Rate


def test_as_many_requests_as_the_rate_says_pass_at_once_and_the_next_is_told_how_long_to_wait() -> None:
    buckets, rate = Buckets(), Rate.of("3/min")
    assert [buckets.take("shop", rate, 100.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("shop", rate, 100.0) == pytest.approx(20)
    assert buckets.take("shop", rate, 110.0) == pytest.approx(10)
    assert buckets.take("shop", rate, 120.0) == 0
    assert buckets.take("shop", rate, 120.0) > 0


def test_what_is_refused_takes_no_token() -> None:
    buckets, rate = Buckets(), Rate.of("1/s")
    assert buckets.take("shop", rate, 0.0) == 0
    for _ in range(50):
        assert buckets.take("shop", rate, 0.5) == pytest.approx(0.5)
    assert buckets.take("shop", rate, 1.0) == 0


def test_a_bucket_never_holds_more_than_the_rate() -> None:
    buckets, rate = Buckets(), Rate.of("2/h")
    assert buckets.take("shop", rate, 0.0) == 0
    assert [buckets.take("shop", rate, 1e6) > 0 for _ in range(3)] == [False, False, True]


def test_keys_do_not_share_a_bucket() -> None:
    buckets, rate = Buckets(), Rate.of("1/h")
    assert buckets.take("one", rate, 0.0) == 0
    assert buckets.take("other", rate, 0.0) == 0


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1/day", "1.5/s", "100/min ", "10/s\n"])
def test_a_rate_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="100/min"):
        Rate.of(text)
