"""Resume: a run is continued as it was begun; an experiment that would change its result is refused, key by key."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from thaw.config import load as config
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError

MAY_CHANGE = (
    "cluster",
    "data.allow",
    "evaluate",
    "serve",
    "storage",
    "train.checkpoint_steps",
    "train.cpus_per_worker",
    "train.decode",
    "train.max_failures",
    "train.prefetch",
)
"""What a run may be continued with another value of, for its result does not depend on it; the new value counts.

``train.workers`` is not among them: another number sums in another order."""

_FILLED_IN = ("train.device", "tasks.*.anchors")
"""What is filled in where an experiment leaves it out; left out again, it is what it was."""

_ABSENT = object()


def continued(begun: Experiment, asked: Experiment, run_id: str) -> Experiment:
    """Return the experiment to continue a run with: as it was begun, and as it is asked now in what may change.

    Args:
        begun: as it was resolved when the run began.
        asked: as a user gives it now.

    Raises:
        ConfigError: they differ in something else; one line a key.
    """
    values, wanted = begun.model_dump(mode="json"), asked.model_dump(mode="json")
    changes = [
        f"  {place}: {_shown(old)} when begun, {_shown(new)} now" for place, old, new in _changes(values, wanted)
    ]
    if changes:
        raise ConfigError(
            f"run {run_id} can be continued only as it was begun; change these back, leave the experiment out, or "
            "begin a new run:\n" + "\n".join(changes)
        )
    for place in MAY_CHANGE:
        section, _, key = place.partition(".")
        if key:
            values[section][key] = wanted[section][key]
        else:
            values[section] = wanted[section]
    return config.parse(values, f"runs/{run_id}")


def _changes(begun: Any, asked: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted places of plain values that differ, with both values."""
    if place in MAY_CHANGE or (asked is None and any(fnmatchcase(place, one) for one in _FILLED_IN)):
        return
    if isinstance(begun, dict) and isinstance(asked, dict):
        for key in {**begun, **asked}:
            inner = f"{place}.{key}" if place else key
            yield from _changes(begun.get(key, _ABSENT), asked.get(key, _ABSENT), inner)
    elif isinstance(begun, list) and isinstance(asked, list) and len(begun) == len(asked):
        for index, (old, new) in enumerate(zip(begun, asked, strict=True)):
            yield from _changes(old, new, f"{place}[{index}]")
    elif begun != asked:
        yield place, begun, asked


def _shown(value: Any) -> str:
    return "not there" if value is _ABSENT else repr(value)
