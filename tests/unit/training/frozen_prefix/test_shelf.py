"""A shelf never holds more than its budget; what was not asked for longest gives way, never what is being filled."""

from thaw.training.frozen_prefix.shelf import Shelf


def test_what_is_put_is_found_by_key_and_place_and_made_once() -> None:
    shelf, made = Shelf[str](100), list[str]()

    def make(word: str) -> str:
        made.append(word)
        return word

    assert shelf.put("a", 0, 10, lambda: make("one"))
    assert shelf.put("a", 2, 10, lambda: make("two"))
    assert shelf.put("a", 2, 10, lambda: make("again"))
    assert shelf.get("a") == {0: "one", 2: "two"}
    assert shelf.get("b") == {}
    assert made == ["one", "two"]
    assert shelf.nbytes == 20


def test_the_key_that_was_not_asked_for_longest_gives_way() -> None:
    shelf = Shelf[int](30)
    for key in "abc":
        assert shelf.put(key, 0, 10, lambda: 1)
    shelf.get("a")
    assert shelf.put("d", 0, 10, lambda: 1)
    assert [key for key in "abcd" if shelf.get(key)] == ["a", "c", "d"]
    assert shelf.nbytes == 30


def test_what_cannot_fit_is_refused_and_makes_nothing() -> None:
    shelf = Shelf[int](30)
    assert shelf.put("a", 0, 20, lambda: 1)
    assert not shelf.put("a", 1, 20, lambda: 1)
    assert shelf.get("a") == {0: 1}
    assert not shelf.put("b", 0, 31, lambda: 1)
    assert shelf.nbytes == 0


def test_a_key_can_be_dropped() -> None:
    shelf = Shelf[int](30)
    shelf.put("a", 0, 20, lambda: 1)
    shelf.drop("a")
    shelf.drop("never there")
    assert shelf.get("a") == {}
    assert shelf.nbytes == 0
