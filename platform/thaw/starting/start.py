"""Start: from a folder to the text of an experiment, and what was assumed on the way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thaw.config import load
from thaw.config.experiment import Experiment, Split
from thaw.data import prepare, split
from thaw.data.sources.contract import RawLabel, Reference
from thaw.errors import ConfigError, DataError
from thaw.starting import recognition, survey, tasks, writing
from thaw.starting.recognition import Found
from thaw.starting.settings import Setting, settings, task_options, training_images
from thaw.starting.survey import Seen
from thaw.starting.tasks import Choice, Chosen
from thaw.starting.writing import Entry


@dataclass(frozen=True)
class Started:
    """An experiment that nobody has changed yet.

    Attributes:
        text: its YAML, with comments.
        experiment: the same, as it is read.
        seen: what was found, in one line.
        assumed: what was chosen, a sentence each.
        unsure: what a person should look at, a sentence each.
    """

    text: str
    experiment: Experiment
    seen: str
    assumed: Sequence[str]
    unsure: Sequence[str]


def start(uri: str, name: str | None = None, kind: str | None = None, notes: Sequence[str] = ()) -> Started:
    """Return an experiment on the images of a folder.

    Args:
        uri: a path, s3:// or gs://.
        name: of the experiment; that of the folder when left out.
        kind: name of the source that is to read it; left out: the surest of all.
        notes: what is to stand at its top, a line each.

    Raises:
        ThawError: the folder is not recognised, or holds nothing that can be learnt.
    """
    found = recognition.find(uri, kind)
    source = prepare.open_source(found.options())
    references = list(source.references())
    seen = survey.survey(source, references)
    options = found.recognised.options
    chosen = tasks.choose(seen, [options[key] for key in ("group_column", "split_column") if key in options])
    if not chosen.tasks:
        reasons = "; ".join(f"{column}: {why}" for column, why in chosen.left_out.items())
        raise DataError(f"{found.folder}: {found.recognised.seen}, but no labels to learn ({reasons or 'none at all'})")
    named = name or tasks.slug(found.folder.name) or "experiment"
    return _started(found, seen, chosen, named, references, notes)


def lines(started: Started) -> list[str]:
    """Return what was assumed and what is unsure, for a person."""
    unsure = (
        ["unsure, so look at:", *(f"  - {one}" for one in started.unsure)] if started.unsure else ["unsure: nothing"]
    )
    return ["assumed:", *(f"  - {one}" for one in started.assumed), *unsure]


def write(started: Started, out: Path, force: bool = False) -> None:
    """Write the YAML.

    Raises:
        ConfigError: the file is there already and is not to be replaced, or cannot be written.
    """
    check_free(out, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(started.text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None


def check_free(out: Path, force: bool) -> None:
    """Refuse to replace a file, unless told so."""
    if out.exists() and not force:
        raise ConfigError(f"{out}: is there already, and is not replaced without --force; or name another with --out")


def _started(
    found: Found, seen: Seen, chosen: Chosen, name: str, references: Sequence[Reference], notes: Sequence[str]
) -> Started:
    groups = settings(seen, chosen.tasks)
    dividing, doubts = _dividing(groups, chosen.tasks, references)
    groups = [dividing, *(one for one in groups if one.place != "data.split")]
    assumed = [
        *found.recognised.assumed,
        *(f"task {one.task} of type {one.type}: {_content(one)}" for one in chosen.tasks),
        *(f"{one.place} {_brief(one.value)}: {one.why}" for one in groups if one.value is not None),
    ]
    unsure = [*_doubts(found, seen), *found.recognised.unsure, *chosen.unsure, *doubts]
    told = f"{found.recognised.seen}, read as {found.type}"
    heading = [
        f"{name}: {told}.",
        *notes,
        "Written by `thaw init`: it trains as it is. All of it may be changed; `thaw schema` says what else there is.",
        *(["To be looked at:", *(f"  - {one}" for one in unsure)] if unsure else []),
    ]
    entries = list(_entries(found, seen, chosen, groups, name))
    text = writing.text(heading, entries)
    return Started(text, load.parse(yaml.safe_load(text), name), told, assumed, unsure)


def _entries(found: Found, seen: Seen, chosen: Chosen, groups: Sequence[Setting], name: str) -> Iterator[Entry]:
    train = training_images(seen)
    yield Entry(("name",), name)
    yield Entry(("data", "source"), found.values(), found.recognised.seen)
    for one in groups:
        if one.place.startswith("data."):
            yield Entry(tuple(one.place.split(".")), one.value, one.why)
    for task in chosen.tasks:
        yield Entry(("tasks", task.task), _task(task, task_options(task, train)), _content(task))
    for column, why in chosen.left_out.items():
        task = Choice(tasks.slug(column) or "another", seen.columns[column])
        if why not in tasks.OF_OTHER_USE and 1 < len(task.column.counts) <= tasks.MOST_CLASSES:
            yield Entry(("tasks", task.task), _task(task, {}), f"not learnt: {why}", off=True)
    for one in groups:
        if not one.place.startswith("data."):
            yield Entry(tuple(one.place.split(".")), one.value, one.why)


def _task(task: Choice, options: Mapping[str, Any]) -> dict[str, Any]:
    column = {} if task.task == task.column.name else {"column": task.column.name}
    return {"type": task.type, **column, **options}


def _content(task: Choice) -> str:
    """Return what a task's column holds, in a few words."""
    names, total = list(task.column.counts), task.column.total
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    things = {"boxes": "boxes", "mask": "masks"}.get(task.column.kind, "classes")
    what = f"{len(names)} {things}" if things == "classes" else f"{things} of {len(names)} classes"
    return f"{what} in column {task.column.name} of {total:,} images: {shown}"


def _brief(value: Any) -> str:
    whole = " ".join(writing.flow(value).split())
    return whole if len(whole) <= 60 else f"{whole[:57]}..."


def _doubts(found: Found, seen: Seen) -> Iterator[str]:
    """Yield what is unsure about the folder as a whole."""
    if found.others:
        yield f"whether to read it as {found.type}: {' and '.join(found.others)} could too; choose with --type"
    if seen.unreadable:
        opened = seen.unreadable + len(seen.sides)
        yield f"images that cannot be decoded: {seen.unreadable} of {opened} that were opened"


def _dividing(
    groups: Sequence[Setting], chosen: Sequence[Choice], references: Sequence[Reference]
) -> tuple[Setting, list[str]]:
    """Return how the images are divided, so that it can be done, and what is unsure of it."""
    [stated] = [one for one in groups if one.place == "data.split"]
    stratum = next((one.column.name for one in chosen if one.column.kind == "class"), None)
    items = [split.Item(one.id, stratum and _word(one.labels.get(stratum)), one.group, one.split) for one in references]
    refused = _refused(items, stated.value)
    if refused is None:
        return stated, []
    usual = Split()
    anew = {"given": False, "val": usual.val, "test": usual.test}
    if _refused(items, anew) is None:
        return Setting("data.split", anew, "what the source states cannot be kept, and is drawn anew"), [refused]
    return stated, [refused]


def _refused(items: Sequence[split.Item], options: Mapping[str, Any]) -> str | None:
    try:
        split.assign(items, Split.model_validate(options), seed=0)
    except DataError as error:
        return str(error)
    return None


def _word(label: RawLabel) -> str | None:
    return label if isinstance(label, str) else None
