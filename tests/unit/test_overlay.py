"""Pictures of answers: what is drawn where, in which colour, and that they can be read at any size."""

import numpy as np
import pytest

from thaw import overlay
from thaw.data import rle
from thaw.data.labels import LabelSchema
from thaw.tasks.classification import ClassificationAnswer
from thaw.tasks.detection import DetectionAnswer, FoundBox
from thaw.tasks.multilabel import MultilabelAnswer
from thaw.tasks.segmentation import SegmentationAnswer

GREY = 90


def grey(height, width):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def found(*boxes, label="hole", score=0.9):
    return DetectionAnswer(boxes=tuple(FoundBox(box=box, label=label, score=score, sure=score >= 0.3) for box in boxes))


def ground(mask, names):
    areas = {name: float((mask == place).mean()) for place, name in enumerate(names)}
    masks = {name: rle.encode(mask == place) for place, name in enumerate(names) if areas[name]}
    return SegmentationAnswer(size=mask.shape, areas=areas, masks=masks)


def verdict(label="ok"):
    return ClassificationAnswer(label=label, score=0.9, scores={label: 0.9})


def pixels(picture):
    return np.asarray(picture).astype(int)


def is_colour(picture, colour):
    return (pixels(picture) == colour).all(axis=2)


@pytest.mark.parametrize("shape", [(600, 500), (1500, 2000), (64, 64), (1, 1), (3, 700), (700, 3), (481, 7)])
def test_the_image_itself_is_hidden_by_no_words_on_it_as_a_whole(shape):
    height, width = shape
    random = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tags = MultilabelAnswer(labels=("a", "b" * 300), scores={"a": 0.7, "b" * 300: 0.8})
    picture = overlay.draw(random, {"verdict": verdict(), "tags": tags})
    times = -(-480 // max(shape)) if max(shape) < 480 else 1
    shown = np.asarray(picture)[: height * times : times, : width * times : times]
    assert np.array_equal(shown, random)
    strip = pixels(picture)[max(height * times, 40) :]
    assert len(strip) > 20
    assert (strip > 200).any(), "something is written below"


def test_small_images_are_enlarged_and_large_ones_keep_their_size():
    assert overlay.draw(grey(64, 64), {"v": verdict()}).width == 512
    assert overlay.draw(grey(640, 480), {"v": verdict()}).width == 480
    assert overlay.draw(grey(3000, 4000), {"v": verdict()}).width == 4000


def test_a_box_is_drawn_around_its_pixels_and_its_label_outside_of_it():
    answers = {"defects": found((200, 200, 300, 260))}
    colour = overlay.palette({"defects": LabelSchema(kind="boxes", names=("hole",))})["hole"]
    picture = overlay.draw(grey(600, 600), answers)
    drawn = is_colour(picture, colour)[:600]
    assert not drawn[200:260, 200:300].any()
    assert drawn[199, 200:300].all()
    assert drawn[260, 200:300].all()
    assert drawn[200:260, 199].all()
    assert drawn[200:260, 300].all()
    assert drawn[180:197, 200:240].mean() > 0.5, "the label's ground, above"


def test_boxes_of_small_images_are_enlarged_with_them():
    picture = overlay.draw(grey(60, 60), {"defects": found((30, 30, 40, 45))})
    drawn = is_colour(picture, overlay.palette({"d": LabelSchema(kind="boxes", names=("hole",))})["hole"])
    assert drawn[30 * 8 - 1, 30 * 8 : 40 * 8].all()
    assert drawn[45 * 8, 30 * 8 : 40 * 8].all()
    assert not drawn[30 * 8 : 45 * 8, 30 * 8 : 40 * 8].any()


@pytest.mark.parametrize("box", [(0, 0, 600, 500), (0, 0, 3, 3), (597, 497, 600, 500), (300, 0, 600, 4)])
def test_boxes_at_the_border_stay_in_sight_with_their_labels(box):
    picture = overlay.draw(grey(500, 600), {"defects": found(box)})
    assert picture.width == 600
    drawn = is_colour(picture, overlay.palette({"d": LabelSchema(kind="boxes", names=("hole",))})["hole"])[:500]
    assert drawn.sum() > 500
    left, top, right, bottom = (max(0, box[0] - 1), max(0, box[1] - 1), min(599, box[2]), min(499, box[3]))
    assert drawn[bottom, left : right + 1].mean() > 0.9 or drawn[top, left : right + 1].mean() > 0.9
    for edge in (drawn[top:bottom, left], drawn[top:bottom, right]):
        assert edge.all()


def test_boxes_that_are_less_sure_are_neither_drawn_nor_counted():
    plain = overlay.draw(grey(500, 500), {"defects": found()})
    unsure = overlay.draw(grey(500, 500), {"defects": found((10, 10, 90, 90), score=0.29)})
    assert np.array_equal(pixels(plain), pixels(unsure))
    assert found((0, 0, 1, 1), (2, 2, 3, 3), score=0.3).summary() == {"hole": "x2"}


@pytest.mark.parametrize("seed", range(6))
def test_labels_do_not_hide_each_other_where_there_is_room(seed):
    random = np.random.default_rng(seed)
    sheet = overlay._Sheet.of(grey(1000, 1000), 480)
    for corner in random.uniform(100, 800, (4, 2)):
        sheet.label((*corner, *(corner + 60)), "spurious_copper 0.93", (255, 255, 255))
        sheet.label((*(corner + 2), *(corner + 62)), "hole 0.93", (255, 255, 255))
    pairs = [(one, other) for one in sheet.labels for other in sheet.labels if one is not other]
    crowded = sum(overlay._touch(one, other) for one, other in pairs) / 2
    assert crowded <= 1


@pytest.mark.parametrize(("names", "drawn"), [(("board", "copper"), 1), (("pet", "background"), 0), (("a",), None)])
def test_the_background_stays_as_it_is_and_the_rest_is_coloured(names, drawn):
    mask = np.zeros((500, 500), dtype=np.uint8)
    mask[100:200, 100:300] = len(names) - 1
    picture = pixels(overlay.draw(grey(500, 500), {"ground": ground(mask, names)}))[:500]
    coloured = (picture != GREY).any(axis=2)
    assert np.array_equal(coloured, np.zeros_like(coloured) if drawn is None else mask == drawn)


def test_a_mask_is_translucent_inside_and_full_at_its_edge():
    image = grey(500, 500)
    image[:, 250:] = 0
    mask = np.zeros((500, 500), dtype=np.uint8)
    mask[100:200, 200:300] = 1
    colours = overlay.palette({"ground": LabelSchema(kind="mask", names=("board", "copper"))})
    picture = pixels(overlay.draw(image, {"ground": ground(mask, ("board", "copper"))}, colours))
    assert tuple(picture[100, 250]) == tuple(picture[199, 210]) == colours["copper"]
    assert tuple(picture[150, 220]) != tuple(picture[150, 280])
    assert np.allclose(picture[150, 220] - picture[150, 280], 0.6 * GREY, atol=2)


def test_classes_of_one_model_have_different_colours_that_other_pictures_have_too():
    names = tuple(f"class {place}" for place in range(len(overlay.COLOURS)))
    labels = {"a": LabelSchema(kind="boxes", names=names[:5]), "b": LabelSchema(kind="mask", names=names[5:])}
    colours = overlay.palette(labels | {"c": LabelSchema(kind="class", names=("good", "bad"))})
    assert set(colours) == set(names)
    assert set(colours.values()) == set(overlay.COLOURS)
    assert overlay.palette(dict(reversed(labels.items()))) == colours
    alone = overlay.palette({"a": LabelSchema(kind="boxes", names=names[:1])})
    assert alone[names[0]] == colours[names[0]]
    many = overlay.palette({"a": LabelSchema(kind="boxes", names=tuple(f"{place}" for place in range(80)))})
    assert max(list(many.values()).count(colour) for colour in overlay.COLOURS) == 10


@pytest.mark.parametrize("colour", overlay.COLOURS)
def test_letters_stand_out_against_every_colour(colour):
    def luminance(of):
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in np.array(of) / 255]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    dark, light = sorted((luminance(colour), luminance(overlay._readable(colour))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # as WCAG 2 asks for


def test_a_class_name_with_line_breaks_and_foreign_letters_is_drawn():
    names = ("naïve\n\t板", "naïve 板")
    colours = dict.fromkeys(names, (255, 255, 255))
    broken, whole = (
        overlay.draw(grey(100, 100), {"v": verdict(name), "d": found((0, 0, 9, 9), label=name)}, colours)
        for name in names
    )
    assert broken.size == whole.size
    assert np.array_equal(pixels(broken), pixels(whole))
