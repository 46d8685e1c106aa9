"""Pictures are small, show the boxes and masks that a finding is about, and every finding has its share of the room."""

import io

import made_up as made
import numpy as np
import pytest
from PIL import Image

from thaw.config.experiment import Limits
from thaw.data.labels import Annotation, Boxes, LabelSchema
from thaw.inspection import pictures
from thaw.inspection.finding import Case
from thaw.inspection.pictures import View
from thaw.page.pictures import SIDE, Picture

_LINE = 8
"""Pixels of a box's line, its edge and what JPEG makes of them."""

LABELS = {"spots": made.LABELS["spots"], "parts": LabelSchema(kind="mask", names=("background", "part"))}
CARRIED: dict[str, Annotation] = {
    "spots": Boxes(np.array([[20, 40, 180, 160]], np.float32), np.array([1])),
    "parts": np.repeat(np.array([[0, 1]], np.uint8), 100, axis=1).repeat(200, axis=0),
}


def stored(width: int = 200, height: int = 200) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def seen(view: View, size: tuple[int, int] = (200, 200)) -> np.ndarray:
    [found] = pictures.draw(stored(), size, CARRIED, LABELS, [view], Limits())
    pixels = np.asarray(Image.open(io.BytesIO(found.content)), dtype=int)
    assert pixels.shape == (found.height, found.width, 3)
    return pixels


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) where a picture is lighter or darker than the image, or of a colour."""
    return np.abs(pixels - 90).max(axis=2) > 30


def test_a_picture_is_small_and_keeps_its_shape() -> None:
    [found] = pictures.draw(stored(800, 400), (800, 400), {}, {}, [View("x")], Limits())
    assert (found.width, found.height) == (SIDE, SIDE // 2)
    assert found.content.startswith(b"\xff\xd8")


def test_boxes_that_an_image_carries_are_drawn_where_a_finding_is_of_their_task() -> None:
    assert not coloured(seen(View("x"))).any()
    rows, columns = np.nonzero(coloured(seen(View("x", "spots"))))
    share = SIDE / 200
    assert abs(columns.min() - 20 * share) <= _LINE
    assert abs(columns.max() - 180 * share) <= _LINE
    assert abs(rows.min() - 40 * share) <= _LINE
    assert abs(rows.max() - 160 * share) <= _LINE


def test_boxes_that_a_case_is_about_are_drawn_in_place_of_all_in_pixels_of_the_image_as_it_came() -> None:
    rows, columns = np.nonzero(coloured(seen(View("x", "spots", ((400, 200, 600, 400),)), size=(800, 800))))
    assert abs(columns.min() - 80) <= _LINE
    assert abs(columns.max() - 120) <= _LINE
    assert abs(rows.min() - 40) <= _LINE
    assert abs(rows.max() - 80) <= _LINE


def test_boxes_that_a_case_is_about_are_drawn_over_the_mask_of_its_task() -> None:
    both = coloured(seen(View("x", "parts", ((20, 20, 80, 80),))))
    assert both[:, : SIDE // 2 - 4].any()
    assert both[:, SIDE // 2 + 4 :].all()


def test_masks_are_drawn_without_their_background() -> None:
    columns = coloured(seen(View("x", "parts"))).mean(axis=0)
    assert columns[: SIDE // 2 - 4].max() == 0
    assert columns[SIDE // 2 + 4 :].min() == 1


@pytest.mark.parametrize("carried", [None, Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64))])
def test_an_image_without_boxes_is_drawn_as_it_is(carried: Annotation) -> None:
    [found] = pictures.draw(stored(), (200, 200), {"spots": carried}, LABELS, [View("x", "spots")], Limits())
    assert not coloured(np.asarray(Image.open(io.BytesIO(found.content)), dtype=int)).any()


def test_every_finding_comes_to_its_turn_before_any_has_two() -> None:
    findings = [made.finding("one", cases=made.cases(3, beside=2)), made.finding("two", cases=[Case(images=("z",))])]
    order = pictures.wanted(findings, [])
    assert [view.image for view in order[:3]] == ["0-0.png", "0-1.png", "z"]
    assert len(order) == 7


def test_an_image_is_wanted_once_for_all_that_show_it_alike() -> None:
    same = [made.finding("one", task="kind", cases=made.cases(2)), made.finding("two", cases=made.cases(2))]
    assert len(pictures.wanted(same, ["spots"])) == 2
    assert len(pictures.wanted([*same, made.finding("three", task="spots", cases=made.cases(2))], ["spots"])) == 4


def test_a_case_of_many_images_shows_some() -> None:
    assert len(pictures.wanted([made.finding(cases=made.cases(1, beside=50))], [])) == pictures.BESIDE


def test_pictures_have_room_in_the_order_of_their_turns_and_no_more() -> None:
    order = [View(str(place)) for place in range(5)]
    found = {view: Picture(bytes(30), 1, 1) for view in order[:2] + order[3:]}
    assert list(pictures.within(found, order, 120)) == [order[0], order[1], order[3]]
    assert list(pictures.within(found, order, 119)) == [order[0], order[1]]
