"""Settings: how to train on what was seen. Pure rules of thumb, each with its reason; a sweep knows better."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from thaw.config.experiment import Split
from thaw.data.split import SPLITS
from thaw.starting.survey import Seen
from thaw.starting.tasks import Choice

_STEP = 32
"""Sizes are whole multiples of it, as most backbones halve an image five times."""
_USUAL, _SMALLEST, _LARGEST = 224, 96, 512
_BOX = 20
"""Pixels along a side that boxes of the class of the smallest ones should have in the input."""
_ENOUGH = 5
"""Boxes in the sample from which on a class is asked for the size of its boxes."""
_SQUARE, _OBLONG = 1.1, 1.6
"""Longer by shorter side, up to which an image is stretched to a square, and from which on a square cuts too much."""
_FEW, _SOME = 50, 1000
"""Training images below which the heads alone learn, and from which on little has to be held against learning by heart.
Where opening layers began to pay is written down in platform/README.md."""
_SIGHTS = 30_000
"""Times that an image is seen over a training, if it is not too few or too many epochs."""
_EPOCHS = (5, 24)
_UNEVEN = 10
"""Images of the commonest class by those of the rarest, from which on it is said."""


@dataclass(frozen=True)
class Setting:
    """A group of settings at one place, and why they are as they are.

    Attributes:
        place: dotted, such as ``data.image``.
        value: plain value; None: a remark alone.
    """

    place: str
    value: Any
    why: str


def settings(seen: Seen, tasks: Sequence[Choice]) -> list[Setting]:
    """Return everything but source and tasks that an experiment should say."""
    train = training_images(seen)
    return [
        _split(seen),
        _image(seen, tasks),
        _augment(seen, tasks, train),
        *_model(train),
        _plan(tasks, train),
        _stopping(tasks),
        _batch(seen, tasks, train),
        *_sampling(tasks),
    ]


def training_images(seen: Seen) -> int:
    """Return about how many images are left to train on."""
    usual = Split()
    shares = {"val": usual.val, "test": usual.test}
    rest = sum(share for split, share in shares.items() if not seen.splits.get(split))
    return round((seen.splits.get("train", 0) + seen.splits.get(None, 0)) * (1 - rest))


def pictured(tasks: Sequence[Choice]) -> bool:
    """Return whether any task is of boxes or masks."""
    return any(one.column.kind in ("boxes", "mask") for one in tasks)


def task_options(choice: Choice, train: int) -> dict[str, Any]:
    """Return the options of a task that depend on how many images there are."""
    small = choice.column.kind in ("class", "classes") and train < _SOME
    return {**choice.options, **({"label_smoothing": 0.1} if small else {})}


def _split(seen: Seen) -> Setting:
    usual = Split()
    stated = {split: seen.splits[split] for split in sorted(filter(None, seen.splits), key=_in_order)}
    if not stated:
        value = {"val": usual.val, "test": usual.test}
        return Setting("data.split", value, "no split is stated: one is drawn, always the same for the same seed")
    said = ", ".join(f"{images:,} {split}" for split, images in stated.items())
    unstated = seen.splits.get(None, 0)
    also = f"; {unstated:,} images without a stated split train" if unstated else ""
    lacking = {split: getattr(usual, split) for split in ("val", "test") if split not in stated}
    if lacking:
        return Setting("data.split", lacking, f"stated: {said}; taken out of train: {', '.join(lacking)}{also}")
    return Setting("data.split", {"given": True}, f"as stated: {said}{also}")


def _in_order(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _image(seen: Seen, tasks: Sequence[Choice]) -> Setting:
    short = median([sides[0] for sides in seen.sides] or [_USUAL])
    long = median([sides[1] for sides in seen.sides] or [_USUAL])
    shape = long / short
    fit = "stretch" if shape <= _SQUARE else "letterbox" if pictured(tasks) or shape >= _OBLONG else "crop"
    side = short if fit == "crop" else long
    wanted, why = _wanted(seen)
    size = max(_SMALLEST, min(wanted, int(side) // _STEP * _STEP, _LARGEST))
    about = f"images are about {long:g} x {short:g} pixels"
    if size > side:
        about += ", and enlarged because backbones see little in so few"
    fits = {"stretch": "nearly square", "letterbox": "nothing is cut off", "crop": "the middle square is seen"}
    return Setting("data.image", {"size": size, "fit": fit}, f"{about}{why}; {fits[fit]}")


def _wanted(seen: Seen) -> tuple[int, str]:
    """Return the size that the class of the smallest boxes asks for, with the reason, or the usual one."""
    sides = {name: median(found) for name, found in seen.boxes.items() if len(found) >= _ENOUGH}
    if not sides:
        return _USUAL, ""
    name = min(sides, key=lambda name: sides[name])
    asked = -(-int(_BOX / sides[name]) // _STEP) * _STEP
    why = f"; boxes of {name} measure about {sides[name]:.1%} of the longer side" if asked > _USUAL else ""
    return max(_USUAL, asked), why


def _augment(seen: Seen, tasks: Sequence[Choice], train: int) -> Setting:
    boxes = any(one.column.kind == "boxes" for one in tasks)
    written = any(_written(one) for one in tasks)
    value: dict[str, Any] = {
        "hflip": 0.0 if written else 0.5,
        "rotate": 0 if boxes else 10,
        "shift": 0.05,
        "zoom": [0.9, 1.2],
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.0 if seen.grey else 0.2,
    }
    why = []
    if written:
        why.append("classes look like characters or sides, which a mirror changes")
    if boxes:
        why.append("no turns, for a turned box is wider than its thing")
    if seen.grey:
        why.append("images are grey")
    if train < _SOME and not pictured(tasks):
        value["policy"] = "randaugment"
        why.append("few images: more changes")
    why.append("add vflip: 0.5 where images have no up")
    return Setting("data.augment", value, "; ".join(why))


def _written(one: Choice) -> bool:
    """Return whether classes are characters or name sides."""
    names = {name.lower() for name in one.column.counts}
    characters = len(names) >= 10 and all(len(name) == 1 for name in names)
    sides = any({"left", "right"} & set(name.replace("-", " ").replace("_", " ").split()) for name in names)
    return characters or sides


def _model(train: int) -> Iterator[Setting]:
    if train < _SOME:
        yield Setting("model.dropout", 0.4 if train < _FEW else 0.3, f"about {train:,} training images are few")


def _plan(tasks: Sequence[Choice], train: int) -> Setting:
    epochs = max(_EPOCHS[0], min(_EPOCHS[1], _SIGHTS // max(1, train)))
    if train < _FEW:
        recipe = {"name": "head_only", "epochs": epochs}
        return Setting("finetune.recipe", recipe, f"about {train:,} training images are too few to open layers on")
    if pictured(tasks):
        alone = max(2, epochs // 8)
        phases = [
            {"epochs": alone, "depth": 0, "rates": {"head": 2.0e-3}},
            {"epochs": epochs - alone, "depth": "all", "rates": {"head": 1.0e-3, "backbone": 5.0e-4, "decay": 0.7}},
        ]
        return Setting("finetune.phases", phases, "heads for boxes and masks are large: they learn alone first")
    name = "gradual" if train < _SOME else "layer_decay"
    slow = "group after group opens" if name == "gradual" else "everything learns, deeper groups more slowly"
    return Setting("finetune.recipe", {"name": name, "epochs": epochs}, f"about {train:,} training images: {slow}")


def _stopping(tasks: Sequence[Choice]) -> Setting:
    patience = None if pictured(tasks) else 5
    why = "scores of boxes and masks stand still at first" if pictured(tasks) else "epochs without a better score"
    return Setting("finetune.early_stopping", {"patience": patience}, why)


def _batch(seen: Seen, tasks: Sequence[Choice], train: int) -> Setting:
    large = pictured(tasks) and _image(seen, tasks).value["size"] > _USUAL
    most = 8 if large else 16 if pictured(tasks) else 32
    batch = most
    while batch > 4 and train < 10 * batch:
        batch //= 2
    why = f"ten steps an epoch or more, from about {train:,} images" if batch < most else "more where memory allows it"
    return Setting("train.batch", batch, why)


def _sampling(tasks: Sequence[Choice]) -> Iterator[Setting]:
    for one in tasks:
        counts: Mapping[str, int] = one.column.counts
        if one.column.kind == "class" and max(counts.values()) >= _UNEVEN * min(counts.values()):
            most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
            why = f"{one.task}: {counts[most]:,} images of {most}, {counts[least]:,} of {least}; classes evens them out"
            yield Setting("train.sampling", "uniform", why)
            return
