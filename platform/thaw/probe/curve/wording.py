"""Wording: what a curve says, in sentences."""

from collections.abc import Iterator

from thaw.page.wording import count
from thaw.probe.curve.curve import Curve, Point
from thaw.probe.curve.reach import FURTHEST, Reach
from thaw.probe.curve.result import Result
from thaw.probe.curve.target import ClassReach, Target

PROXY = (
    "The curves are of linear heads on the frozen backbone. A finetuned model is usually better with as many images, "
    "and reaches a target with fewer."
)


def lines(result: Result) -> Iterator[str]:
    """Yield what a person reads."""
    for curve in result.curves:
        yield f"{curve.task}: {expected(curve)}"
        if curve.target is not None:
            yield f"  {taken(curve, curve.target)}"
            yield from (f"  {one}" for one in by_class(curve.target))
    yield from (f"{task}: no curve: {why}" for task, why in result.left_out.items())
    if result.curves:
        yield PROXY


def expected(curve: Curve) -> str:
    """Return where a curve is, and where it leads."""
    return (
        f"{curve.metric} {_value(curve.now)} with {count(curve.images, 'training image')}, on "
        f"{count(curve.val, 'validation image')}; with twice as many {_between(curve.at(2))} is expected, with "
        f"{FURTHEST:g} times as many {_between(curve.at(FURTHEST))}."
    )


def taken(curve: Curve, target: Target) -> str:
    """Return what a target takes, or why that cannot be told."""
    reach, named = target.reach, f"{curve.metric} {_value(target.value)}"
    furthest = f"{FURTHEST:g} times the {count(curve.images, 'image')} there are"
    match reach.verdict:
        case "beyond":
            return (
                f"{named} is probably beyond these features: most curves that fit do not come to it with {furthest}. "
                "Another backbone or finetuning is called for, rather than more images."
            )
        case "unsure":
            return (
                f"{named} takes {_least(curve, reach)}, and how many at most cannot be told: not all curves that fit "
                f"come to it with {furthest}. More validation images than {curve.val:,} would tell more."
            )
        case "needed":
            return (
                f"{named} takes about {_images(reach)}: {_each(target)} on average; there are {curve.images:,} in all."
            )
    fewest = curve.sizes[0]
    if reach.images is not None and reach.images <= fewest:
        return f"{named} is reached with {count(fewest, 'image')}, the fewest that were tried."
    return f"{named} is reached with about {_images(reach)}, of the {curve.images:,} there are: {_each(target)}."


def by_class(target: Target) -> Iterator[str]:
    """Yield what classes lack most, where there is something to say."""
    lacking = {name: one for name, one in target.classes.items() if one.share is not None and one.share > one.have}
    if lacking:
        most = sorted(lacking.items(), key=lambda one: one[1].have - (one[1].share or 0))[:5]
        yield "most lacking: " + ", ".join(f"{name} {one.have:,} of {one.share:,}" for name, one in most)
    behind = {name: one for name, one in target.classes.items() if is_behind(one, target.value)}
    if behind:
        worst = sorted(behind.items(), key=lambda one: one[1].recall or 0.0)[:5]
        yield "furthest behind: " + ", ".join(f"{name}, recall {_value(one.recall or 0.0)}" for name, one in worst)


def is_behind(one: ClassReach, value: float) -> bool:
    """Return whether a class is known to be answered worse than is aimed at."""
    return one.recall is not None and one.recall < value


def images(reach: Reach) -> str:
    """Return a number of images with its band, as short as a table's cell."""
    if reach.images is None:
        return f"more than {reach.low:,}" if reach.low else "beyond"
    high = f"{reach.high:,}" if reach.high is not None else "?"
    return f"{reach.images:,} ({reach.low:,} to {high})"


def _images(reach: Reach) -> str:
    return f"{reach.images:,} images ({reach.low:,} to {reach.high:,})"


def _least(curve: Curve, reach: Reach) -> str:
    middle = f"about {reach.images:,} images" if (reach.images or 0) > curve.sizes[0] else "few images"
    return f"{middle}, at least {reach.low:,}"


def _each(target: Target) -> str:
    present = [one for one in target.classes.values() if one.have]
    return f"{-(-(target.reach.images or 0) // max(1, len(present))):,} of each class"


def _between(point: Point) -> str:
    return f"{_value(point.value)} ({_value(point.low)} to {_value(point.high)})"


def _value(value: float) -> str:
    return f"{value:.3f}"
