"""Cutting: pieces follow from the keys alone, keep their bounds, and rows that are added change few of them."""

import numpy as np
import pytest

from thaw.data import cut

SEEDS = range(6)


def keys(seed, count):
    return np.sort(np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_every_row_is_in_one_piece_that_is_no_larger_than_it_may_be(seed, count):
    found = cut.pieces(keys(seed, count), 8)
    assert [place for piece in found for place in range(piece.start, piece.stop)] == list(range(count))
    assert all(1 <= piece.stop - piece.start <= 8 for piece in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_piece_holds_the_rows_whose_keys_begin_with_its_bits(seed):
    some = keys(seed, 500)
    for piece in cut.pieces(some, 8):
        for place, key in enumerate(some.tolist()):
            assert cut.bits_of(key).startswith(piece.bits) == (piece.start <= place < piece.stop)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_row_more_changes_the_piece_that_it_comes_into_alone(seed):
    some = keys(seed, 500)
    more = np.sort(np.append(some, np.uint64(seed * 10**18)))
    before, after = ({tuple(rows[piece.start : piece.stop]) for piece in cut.pieces(rows, 8)} for rows in (some, more))
    assert len(before - after) == 1
    assert 1 <= len(after - before) <= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_keep_to_bytes_too_but_for_a_row_that_exceeds_them_alone(seed):
    sizes = np.random.default_rng(seed).integers(1, 100, 300)
    sizes[17] = 5000
    found = cut.pieces(keys(seed, 300), 40, sizes, 400)
    held = [int(sizes[piece.start : piece.stop].sum()) for piece in found]
    assert [one for one in held if one > 400] == [5000]
    assert sum(held) == sizes.sum()
    assert np.mean(held) > 150


def test_rows_that_cannot_be_told_apart_stay_together():
    [piece] = cut.pieces(np.zeros(20, dtype=np.uint64), 8)
    assert (piece.start, piece.stop) == (0, 20)


@pytest.mark.parametrize(("one", "other", "same"), [("", "01", True), ("01", "0", True), ("01", "00", False)])
def test_pieces_overlap_where_one_begins_as_the_other_does(one, other, same):
    assert cut.overlap(one, other) == same
