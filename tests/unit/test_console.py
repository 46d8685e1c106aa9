"""The console: progress goes to stderr, and showing it changes nothing."""

import contextlib
import io

import pytest

from thaw import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_goes_to_stderr_and_never_to_stdout(capsys):
    console.say("preparing")
    assert capsys.readouterr() == ("", "preparing\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_tracking_passes_every_item_on_in_order(stream, count, capsys):
    with contextlib.redirect_stderr(stream()):
        assert list(console.track(iter(range(count)), "counting", count)) == list(range(count))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_tracking_takes_an_item_only_when_it_is_asked_for(stream):
    taken = []
    with contextlib.redirect_stderr(stream()):
        tracked = console.track((taken.append(item) or item for item in range(9)), "counting", 9)
        next(tracked)
        next(tracked)
        assert taken == [0, 1]
        tracked.close()


def test_a_terminal_shows_a_bar_with_what_is_done_of_how_many():
    with contextlib.redirect_stderr(Terminal()) as shown:
        list(console.track(range(7), "counting", 7))
    assert "counting" in shown.getvalue()
    assert "/7" in shown.getvalue()


def test_a_log_gets_no_line_for_what_is_over_at_once():
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        list(console.track(range(100), "counting", 100))
    assert shown.getvalue() == ""


def test_an_error_of_the_work_comes_through_unchanged():
    def work():
        yield 1
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"), contextlib.redirect_stderr(io.StringIO()):
        list(console.track(work(), "counting", 2))


def test_an_item_may_count_for_many(monkeypatch, capsys):
    monkeypatch.setattr(console, "_EVERY_S", -1)
    assert list(console.track([30, 12], "counting", 42, int)) == [30, 12]
    assert capsys.readouterr().err.splitlines() == ["counting: 30 of 42", "counting: 42 of 42"]
