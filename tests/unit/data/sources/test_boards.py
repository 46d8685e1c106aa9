"""Boards: every image is a pure function of its seed and index, and its labels tell the truth about it."""

import io
from collections import Counter
from functools import cache

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from thaw.data.sources import boards

SIZE = 96
NUM = 90


@cache
def drawn() -> tuple[boards.Board, ...]:
    return tuple(boards.draw(0, index, SIZE) for index in range(NUM))


def options(**fields: int) -> boards.Options:
    return boards.Options(type="boards", **fields)


def same(one: boards.Board, other: boards.Board) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.copper, other.copper)


@pytest.mark.parametrize("index", range(6))
def test_an_image_depends_on_seed_index_and_size_alone(index):
    again = boards.draw(0, index, SIZE)
    assert same(again, drawn()[index])
    assert np.array_equal(again.boxes, drawn()[index].boxes)
    assert again.kinds == drawn()[index].kinds


def test_another_seed_or_index_gives_another_image():
    alike = [boards._draw(seed, index, 64, "bus", "ok") for seed in (0, 1) for index in range(4)]
    images = {board.image.tobytes() for board in alike}
    assert len(images) == 8
    assert len({board.copper.tobytes() for board in alike}) == 8


def test_references_say_what_is_then_drawn():
    references = list(boards.Source(options(images=NUM, size=SIZE)).references())
    assert len({reference.id for reference in references}) == NUM
    assert [(one.labels["verdict"], one.labels["layout"]) for one in references] == [
        (board.verdict, board.layout) for board in drawn()
    ]


@pytest.mark.parametrize("index", range(6))
def test_boxes_and_masks_are_those_of_the_drawn_board(index):
    source, board = boards.Source(options(images=NUM, size=SIZE)), drawn()[index]
    labels = list(source.references())[index].labels
    found = source.boxes(labels["defects"].id, SIZE, SIZE)
    assert (found.boxes, found.names) == (tuple(map(tuple, board.boxes.tolist())), board.kinds)
    assert np.array_equal(source.mask(labels["copper"].id, SIZE, SIZE), board.copper)
    assert labels["copper"].names == {0: "board", 1: "copper"}


def test_listing_draws_nothing(monkeypatch):
    monkeypatch.setattr(boards, "draw", None)
    assert len(list(boards.Source(options(images=20_000)).references())) == 20_000


def test_references_of_fewer_images_are_the_first_of_more():
    few, many = (list(boards.Source(options(images=images)).references()) for images in (5, 9))
    assert few == many[:5]


def test_verdicts_and_layouts_are_balanced():
    references = list(boards.Source(options(images=600)).references())
    verdicts = Counter(reference.labels["verdict"] for reference in references)
    layouts = Counter(reference.labels["layout"] for reference in references)
    assert set(verdicts) == {"ok", "defective"}
    assert set(layouts) == set(boards.LAYOUTS)
    assert min(verdicts.values()) > 600 * 0.4
    assert min(layouts.values()) > 600 * 0.15


def test_one_to_three_boxes_exactly_on_defective_boards():
    for board in drawn():
        assert len(board.boxes) == len(board.kinds)
        assert board.boxes.dtype == np.float32
        assert board.boxes.shape[1:] == (4,)
        assert (len(board.boxes) in (1, 2, 3)) if board.verdict == "defective" else len(board.boxes) == 0


def test_boxes_lie_inside_the_image_and_cover_pixels():
    boxes = np.concatenate([board.boxes for board in drawn()])
    assert (boxes >= 0).all()
    assert (boxes <= SIZE).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_every_kind_and_layout_meets():
    met = {(board.layout, kind) for board in drawn() for kind in board.kinds}
    assert {kind for _, kind in met} == set(boards.DEFECTS)
    assert len(met) > 0.7 * len(boards.DEFECTS) * len(boards.LAYOUTS)


@pytest.mark.parametrize("layout", boards.LAYOUTS)
def test_copper_is_a_mask_with_a_sensible_share(layout):
    masks = np.stack([board.copper for board in drawn() if board.layout == layout])
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}
    assert 0.1 < masks.mean() < 0.5


@pytest.mark.parametrize("layout", boards.LAYOUTS)
def test_defects_change_pixels_in_their_boxes_and_nowhere_else(layout):
    for index in range(5):
        clean, flawed = (boards._draw(3, index, 256, layout, verdict) for verdict in ("ok", "defective"))
        near, inside = (np.zeros((256, 256), dtype=bool) for _ in range(2))
        for left, top, right, bottom in flawed.boxes.astype(int):
            inside[top:bottom, left:right] = True
            near[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = True  # blur, light and shadow
            patch = slice(top, bottom), slice(left, right)
            assert not np.array_equal(clean.image[patch], flawed.image[patch])
        assert np.array_equal(clean.image[~near], flawed.image[~near])
        assert np.array_equal(clean.copper[~inside], flawed.copper[~inside])


def test_boxes_are_tight_around_the_changed_copper():
    for index in range(12):
        clean, flawed = (boards._draw(5, index, 256, "bus", verdict) for verdict in ("ok", "defective"))
        for left, top, right, bottom in flawed.boxes.astype(int):
            rows, columns = np.nonzero(clean.copper[top:bottom, left:right] != flawed.copper[top:bottom, left:right])
            reach = columns.min(), rows.min(), right - left - 1 - columns.max(), bottom - top - 1 - rows.max()
            assert max(reach) <= 2


ADDS = {
    "missing_hole": True,
    "short": True,
    "spur": True,
    "spurious_copper": True,
    "open": False,
    "mouse_bite": False,
}


@pytest.mark.parametrize("kind", boards.DEFECTS)
def test_a_defect_adds_or_removes_copper(kind):
    checked = 0
    for index, board in enumerate(drawn()):
        clean = boards._draw(0, index, SIZE, board.layout, "ok") if kind in board.kinds else board
        for name, (left, top, right, bottom) in zip(board.kinds, board.boxes.astype(int), strict=True):
            if name == kind:
                patch = slice(top, bottom), slice(left, right)
                change = int(board.copper[patch].sum()) - int(clean.copper[patch].sum())
                assert change > 0 if ADDS[kind] else change < 0
                checked += 1
    assert checked > 0


@pytest.mark.parametrize("size", [64, 200])
def test_read_decodes_to_the_drawn_image(size):
    source = boards.Source(options(images=3, size=size))
    last = list(source.references())[-1]
    decoded = np.asarray(Image.open(io.BytesIO(source.read(last.id))))
    assert decoded.shape == (size, size, 3)
    assert np.abs(decoded.astype(int) - boards.draw(0, 2, size).image).mean() < 8
    assert source.read(last.id) == source.read(last.id)


@pytest.mark.parametrize("fields", [{"images": 0}, {"size": 63}, {"size": 1025}, {"seed": -1}, {"colour": 1}])
def test_options_refuse_what_cannot_be_drawn(fields):
    with pytest.raises(ValidationError):
        options(**fields)
