"""Tasks: which columns a model can learn, and which are of another use."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thaw.data.sources.contract import given_split
from thaw.starting.survey import Column, Seen

TYPES = {"class": "classification", "classes": "multilabel", "boxes": "detection", "mask": "segmentation"}
"""What a column holds -> the type of task that learns it."""

_USED, _SPLIT = "the source uses it for something else", "it says the split"
OF_OTHER_USE = (_USED, _SPLIT)
"""Reasons why a column is not learnt that leave no doubt."""

_MOST_TASKS = 4
MOST_CLASSES = 1000
"""Classes from which on a column is not taken for one of classes."""
_FEWEST = 3
"""Images that a class has on average in a column of classes; with fewer they are names or numbers of single things."""
_RARE, _RARE_SHARE = 5, 0.005
"""Boxes of a class below which it is left out, if they are no larger a share either."""
_MEASURES = 20
"""Different numbers from which on they are measured and not classes."""
_LABEL = re.compile(r"(label|class|target|category)(_?(id|name|index|no))?", re.IGNORECASE)
_BOOKKEEPING = re.compile(
    r"(image_?)?(id|index|idx|width|height|size|url|source|licen[cs]e|date|time|year|month|day|caption|text|comment|note"
    r"|author|fold|path)s?|.*_(id|url|path|file_name|date|time|width|height)|unnamed.*|",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Choice:
    """A task that a column is learnt by.

    Attributes:
        task: its name in the experiment.
        options: those that differ from the defaults.
    """

    task: str
    column: Column
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return TYPES[self.column.kind]


@dataclass(frozen=True)
class Chosen:
    """What is learnt and what is not.

    Attributes:
        tasks: those that the experiment has.
        left_out: columns that could be learnt too, with the reason why they are not.
        unsure: what a person should look at, a sentence each.
    """

    tasks: Sequence[Choice]
    left_out: Mapping[str, str]
    unsure: Sequence[str]


def choose(seen: Seen, used: Sequence[str]) -> Chosen:
    """Return the tasks that the columns offer.

    Args:
        used: columns that the source uses for something else, such as the group.
    """
    why_not = {name: why for name, column in seen.columns.items() if (why := _why_not(column, used))}
    fit = [column for name, column in seen.columns.items() if name not in why_not]
    called_so = sorted(fit, key=lambda column: not _LABEL.fullmatch(column.name))  # stable
    rest = called_so[_MOST_TASKS:]
    taken = [column for column in fit if column not in rest]
    why_not |= {column.name: f"{_MOST_TASKS} tasks are enough to begin with" for column in rest}
    names = _task_names(taken)
    tasks = [Choice(names[column.name], column, dict(_options(column))) for column in taken]
    return Chosen(tasks, why_not, list(_unsure(seen, tasks, why_not)))


def _why_not(column: Column, used: Sequence[str]) -> str:
    """Return why a column is not learnt; empty if it is."""
    if column.kind in ("boxes", "mask"):
        return "" if column.counts else "no class is in it"
    classes, labelled = len(column.counts), bool(_LABEL.fullmatch(column.name))
    if column.name in used:
        return _USED
    if all(given_split(name) for name in column.counts):
        return _SPLIT
    if classes < 2:
        return "it says the same of all images"
    if column.twin:
        return f"it says the same as {column.twin} in other words"
    fewest = 1 if labelled else _FEWEST
    if column.total < fewest * classes or classes > MOST_CLASSES:
        return f"{classes:,} different values in {column.total:,} images are no classes"
    if not labelled and _BOOKKEEPING.fullmatch(column.name):
        return "it is called like something that no image shows"
    return "" if labelled or not _is_measured(column.counts) else "it holds numbers that look measured"


def _is_measured(names: Mapping[str, int]) -> bool:
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return False
    return len(numbers) > _MEASURES or any(number != int(number) for number in numbers if abs(number) < 2**53)


def _options(column: Column) -> Iterator[tuple[str, Any]]:
    """Yield what a task needs beside its type and column."""
    if column.kind == "boxes":
        total = sum(column.counts.values())
        rare = {name for name, count in column.counts.items() if count < _RARE and count < _RARE_SHARE * total}
        if rare:
            yield "classes", sorted(set(column.counts) - rare)


def _task_names(columns: Sequence[Column]) -> dict[str, str]:
    """Return column -> a name that a task may have, no two alike."""
    found: dict[str, str] = {}
    for column in columns:
        name = slug(column.name) or column.kind
        others = (f"{name[:58]}-{number}" for number in itertools.count(2))
        found[column.name] = next(one for one in itertools.chain([name], others) if one not in found.values())
    return found


def slug(name: str) -> str:
    """Return a name as names in an experiment are: lower-case letters, digits, - and _; empty where nothing is left."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63]


def _unsure(seen: Seen, tasks: Sequence[Choice], why_not: Mapping[str, str]) -> Iterator[str]:
    whole = [one.task for one in tasks if one.type in ("classification", "multilabel")]
    if len(whole) > 1:
        yield f"whether all of {', '.join(whole)} are wanted: each column of classes became a task of its own"
    binary = [one.task for one in tasks if set(one.column.counts) == {"0", "1"}]
    if len(binary) > 2:
        yield f"whether {', '.join(binary)} belong together: one column of sets of classes would make them one task"
    for one in tasks:
        yield from _unsure_of(seen, one)
    for name, why in why_not.items():
        if name and why not in OF_OTHER_USE:
            yield f"column {name} is not learnt: {why}"


def _unsure_of(seen: Seen, one: Choice) -> Iterator[str]:
    without = [
        split for split, images in seen.splits.items() if split and images and not one.column.labelled.get(split)
    ]
    if without:
        yield f"task {one.task}: no image of {', '.join(without)} carries a label, so it is not measured there"
    if "classes" in one.options:
        rare = sorted(set(one.column.counts) - set(one.options["classes"]))
        yield f"task {one.task}: {', '.join(rare)} is left out, for there are fewer than {_RARE} boxes of it"
    few = [
        name for name, count in one.column.counts.items() if count < 10 and name not in one.options.get("classes", ())
    ]
    if one.type in ("classification", "multilabel") and few:
        shown = ", ".join(few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
        yield f"task {one.task}: fewer than 10 images of {shown}"
