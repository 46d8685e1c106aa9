"""YAML and dotted overrides -> Experiment, with errors that name the place, the value and the way out.

YAML is read as plain data (no tags that run code), and ``${NAME}`` in a string stands for an environment
variable. Nothing here knows what a setting means.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from thaw.config import place as places
from thaw.config import plain, recipes
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError


def load(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a YAML file and apply overrides such as ``finetune.phases[1].depth=3``.

    An override of the whole of ``finetune.recipe`` replaces the phases of the file, and one of ``finetune.phases``
    its recipe.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or an entry is not valid; one line per mistake.
    """
    place = str(path)
    written = plain.expanded(plain.read(Path(path), "an experiment", "name, data and tasks"), place)
    experiment = parse(written, place)
    overrides = list(overrides)
    if not overrides:
        return experiment
    # with every default, so that an override can enter each of them
    values = recipes.as_written(experiment.model_dump(mode="json"), written)
    for override in overrides:
        _apply(values, override)
    return parse(values, place)


def changed(experiment: Experiment, values: Mapping[str, Any], place: str) -> Experiment:
    """Return the experiment with other plain values at dotted places, set one after another and judged together.

    As with overrides, ``finetune.recipe`` replaces the phases. An experiment that was written with a recipe holds its
    phases, and with ``recipe: lora`` the adapters of ``model.lora`` too, which stay unless ``model.lora`` is set.

    Args:
        place: what errors begin with.

    Raises:
        ConfigError: there is no such place, or the result is not valid; one line per mistake.
    """
    changing = experiment.model_dump(mode="json")
    for where, value in values.items():
        told = f"{place}: {where}"
        _check_phase(changing, places.steps(where), told)
        _set(changing, places.steps(where), copy.deepcopy(value), told)
    return parse(changing, place)


def parse(values: Mapping[str, Any], place: str) -> Experiment:
    """Validate plain values, such as a stored experiment, naming ``place`` in errors.

    Raises:
        ConfigError: an entry is not valid; one line per mistake.
    """
    try:
        return Experiment.model_validate(dict(values))
    except ValidationError as error:
        raise explained(error, place) from None


def explained(error: ValidationError, place: str) -> ConfigError:
    """Return what is wrong as one line per mistake, each of which begins with ``place``."""
    details = error.errors(include_url=False)
    inside = {detail["loc"][:end] for detail in details for end in range(len(detail["loc"]))}
    # a list whose only entry is wrong is also called too short: the entry is the mistake
    told = [one for one in details if one["type"] != "too_short" or one["loc"] not in inside]
    return ConfigError("\n".join(f"{place}: {line}" for detail in told for line in _explain(detail).splitlines()))


def dump(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML that ``load`` reads back to an equal one."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an experiment file, with every task and source there is."""
    return Experiment.model_json_schema()


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted place of nested mappings and lists to a YAML value, in place."""
    place, equals, text = override.partition("=")
    steps = places.steps(place)
    if not equals or not steps or isinstance(steps[0], int):
        raise ConfigError(f"{override!r} is not an override; write place=value, as in train.batch=64")
    try:
        value = plain.expanded(yaml.safe_load(text), override)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{override!r}: {text!r} is not a YAML value") from None
    _set(values, steps, value, repr(override))


def _check_phase(values: Mapping[str, Any], steps: places.Steps, told: str) -> None:
    """Say of a phase that is not there how many there are: plans of one phase and of two are both usual."""
    phases = values["finetune"].get("phases")
    if not isinstance(phases, list) or list(steps[:2]) != ["finetune", "phases"] or len(steps) < 3:
        return
    if isinstance(steps[2], int) and steps[2] >= len(phases):
        raise ConfigError(
            f"{told}: there is no phase [{steps[2]}]; the experiment's plan has {len(phases)}, counted from [0]: "
            "write more phases into it, or leave this place out"
        )


def _set(values: dict[str, Any], steps: places.Steps, value: Any, told: str) -> None:
    """Set one place to a plain value, in place; ``told`` is what an error begins with."""
    value = recipes.make_way(values, steps, value, told)
    places.put(values, steps, value, told)


def _explain(detail: ErrorDetails) -> str:
    """Return ``finetune.phases[1].depth: what is wrong (got 12)`` for one validation error."""
    place = places.written(detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    got = detail.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place + ': ' if place else ''}{message}{shown}"
