"""Files: what is odd by itself and in its set is told, and a set that is odd as a whole is not."""

import numpy as np
import pytest

import hostile
from material import images, material
from thaw.inspection.checks import files


def found(made):
    """Return what is found, by name."""
    return {one.name: one for one in files.check(made)}


def rows(column, usual, odd, count=20):
    """Return images of which the last has another value."""
    return [*images(count, **{column: usual}), *images(1, "test", **{column: odd})]


@pytest.mark.parametrize(
    ("name", "column", "usual", "odd", "near"),
    [
        ("images_blurred", "blur", 0.3, 0.6, 0.49),
        ("images_blurred", "blur", 0.45, 0.6, 0.55),
        ("images_one_colour", "spread", 200.0, 3.0, 5.0),
    ],
)
def test_an_odd_image_is_told_and_one_that_is_nearly_so_is_not(name, column, usual, odd, near):
    [finding] = files.check(material(rows(column, usual, odd)))
    assert (finding.name, finding.count, finding.level) == (name, 1, "warning")
    assert finding.cases[0].images == ("test-000",)
    assert finding.told.startswith("1 of 21 images is ")
    assert found(material(rows(column, usual, near))) == {}


def test_a_set_that_is_blurred_as_a_whole_is_as_it_is():
    assert found(material(images(9, blur=0.7))) == {}


DARK = {"brightness": 20.0, "low": 2.0, "high": 70.0}
BRIGHT = {"brightness": 250.0, "low": 245.0, "high": 255.0}
USUAL = {"brightness": 120.0, "low": 30.0, "high": 230.0}


@pytest.mark.parametrize(("name", "odd"), [("images_dark", DARK), ("images_bright", BRIGHT)])
def test_dark_and_bright_images_are_told_where_others_are_not(name, odd):
    [finding] = files.check(material([*images(20, **USUAL), *images(1, "val", **odd)]))
    assert (finding.name, finding.count) == (name, 1)
    assert finding.cases[0].note == "val, 64 x 48"
    assert found(material(images(20, **odd))) == {}


@pytest.mark.parametrize("odd", [DARK | {"high": 90.0}, BRIGHT | {"low": 100.0}, {**DARK, "brightness": 95.0}])
def test_images_with_something_to_see_are_neither_dark_nor_bright(odd):
    assert found(material([*images(20, **USUAL), *images(1, "val", **odd)])) == {}


def test_an_image_of_one_colour_is_told_as_that_alone():
    assert found(
        material([*images(20, **USUAL, blur=0.2), *images(1, "val", **DARK, spread=0.0, blur=1.0)])
    ).keys() == {"images_one_colour"}


@pytest.mark.parametrize(("width", "height"), [(640, 16), (16, 640)])
@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
def test_an_odd_aspect_is_told_with_what_becomes_of_it(width, height, fit):
    made = material(
        [*images(20), *images(1, "test", width=width, height=height)], data={"image": {"size": 32, "fit": fit}}
    )
    finding = found(made)["images_odd_aspect"]
    assert finding.count == 1
    assert f"data.image.fit {fit}" in finding.told


def test_panoramas_among_panoramas_are_not_odd():
    assert found(material(images(9, width=400, height=50), data={"image": {"size": 32, "fit": "crop"}})) == {}


@pytest.mark.parametrize(("side", "odd"), [(20, True), (26, False), (200, False), (260, True)])
def test_ten_times_more_or_fewer_pixels_than_usual_are_odd(side, odd):
    made = material(
        [*images(20, width=80, height=80), *images(1, width=side, height=side)], data={"image": {"size": 32}}
    )
    finding = found(made).get("images_odd_size")
    assert (finding is not None) is odd
    assert finding is None or "usual here, 6,400 pixels" in finding.told


@pytest.mark.parametrize(
    ("fit", "size", "small"),
    [
        ("letterbox", 96, False),
        ("letterbox", 100, True),
        ("crop", 72, False),
        ("crop", 76, True),
        ("stretch", 76, True),
    ],
)
def test_images_that_are_enlarged_by_more_than_half_are_small(fit, size, small):
    made = material([*images(9, width=200, height=200), *images(1, "val")], data={"image": {"size": size, "fit": fit}})
    finding = found(made).get("images_smaller_than_input")
    assert (finding is not None) is small
    assert finding is None or (finding.count, finding.level) == (1, "warning")


def test_where_most_images_are_small_that_is_worth_a_note_alone():
    [finding] = files.check(material(images(9), data={"image": {"size": 80}}))
    assert (finding.name, finding.count, finding.level) == ("images_smaller_than_input", 9, "note")


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.jpg", "PNG", True),
        ("a.JPEG", "JPEG", False),
        ("a.JPG", "PNG", True),
        ("a.png", "GIF", True),
        ("b/a.tif", "TIFF", False),
        ("a", "PNG", False),
        ("a.scan", "PNG", False),
        ("v1.png/a", "JPEG", False),
    ],
)
def test_a_name_that_says_another_format_is_told(name, content, wrong):
    made = material([{"id": name, "split": "train", "format": content}])
    finding = found(made).get("files_wrong_extension")
    assert (finding is not None) is wrong
    assert finding is None or (finding.level, finding.cases[0].note) == ("note", f"is {content}")


@pytest.mark.parametrize("reason", files._SET_ASIDE)
def test_files_that_were_set_aside_are_told_by_reason(reason):
    finding = found(material(images(1), rejected=[("a.jpg", reason)]))[f"files_{reason}"]
    assert (finding.count, finding.level, finding.cases[0].images) == (1, "warning", ("a.jpg",))


def test_every_reason_that_decoding_may_give_is_told():
    reasons = {reason for _, reason in hostile.files().values() if reason}
    assert reasons <= files._SET_ASIDE.keys()


def test_nothing_is_said_of_good_images_or_of_none():
    assert found(material([])) == {}
    random = np.random.default_rng(0)
    varied = [
        {"blur": blur, "brightness": bright}
        for blur, bright in zip(random.normal(0.3, 0.05, 300), random.normal(110, 30, 300).clip(5, 250), strict=True)
    ]
    assert found(material([one | values for one, values in zip(images(300), varied, strict=True)])) == {}
