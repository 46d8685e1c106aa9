"""YAML and dotted overrides -> Experiment, with errors that name the place, the value and the way out.

YAML is read as plain data (no tags that run code), and ``${NAME}`` in a string stands for an environment
variable. Nothing here knows what a setting means.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from thaw.config import recipes
from thaw.config.experiment import Experiment
from thaw.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def load(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a YAML file and apply overrides such as ``finetune.phases[1].depth=3``.

    An override of the whole of ``finetune.recipe`` replaces the phases of the file, and one of ``finetune.phases``
    its recipe.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or an entry is not valid; one line per mistake.
    """
    place = str(path)
    written = _expand(_read_yaml(Path(path)), place)
    experiment = parse(written, place)
    overrides = list(overrides)
    if not overrides:
        return experiment
    # with every default, so that an override can enter each of them
    values = recipes.as_written(experiment.model_dump(mode="json"), written)
    for override in overrides:
        _apply(values, override)
    return parse(values, place)


def parse(values: Mapping[str, Any], place: str) -> Experiment:
    """Validate plain values, such as a stored experiment, naming ``place`` in errors.

    Raises:
        ConfigError: an entry is not valid; one line per mistake.
    """
    try:
        return Experiment.model_validate(dict(values))
    except ValidationError as error:
        details = error.errors(include_url=False)
        inside = {detail["loc"][:end] for detail in details for end in range(len(detail["loc"]))}
        # a list whose only entry is wrong is also called too short: the entry is the mistake
        told = [one for one in details if one["type"] != "too_short" or one["loc"] not in inside]
        lines = [f"{place}: {_explain(detail)}" for detail in told]
        raise ConfigError("\n".join(lines)) from None


def dump(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML that ``load`` reads back to an equal one."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an experiment file, with every task and source there is."""
    return Experiment.model_json_schema()


class _PlainYaml(yaml.SafeLoader):
    """YAML as plain data; a key that is written twice is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused as unhashable
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is written twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _PlainYaml)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); give the path of an experiment YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping with name, data and tasks; found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted place of nested mappings and lists to a YAML value, in place."""
    place, equals, text = override.partition("=")
    steps = [int(index) if index else key for key, index in _STEP.findall(place)]
    if not equals or not steps or isinstance(steps[0], int):
        raise ConfigError(f"{override!r} is not an override; write place=value, as in train.batch=64")
    try:
        value = _expand(yaml.safe_load(text), override)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{override!r}: {text!r} is not a YAML value") from None
    value = recipes.make_way(values, steps, value, override)
    inner: Any = values
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if following is None:
            _put(inner, step, value, override)
        else:
            inner = _enter(inner, step, override)


def _enter(inner: Any, step: str | int, override: str) -> Any:
    _check_step(inner, step, override)
    if isinstance(inner, dict) and inner.get(step) is None:
        inner[step] = {}
    return inner[step]


def _put(inner: Any, step: str | int, value: Any, override: str) -> None:
    _check_step(inner, step, override)
    inner[step] = value


def _check_step(inner: Any, step: str | int, override: str) -> None:
    key = isinstance(inner, dict) and isinstance(step, str)
    entry = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
    if not (key or entry):
        raise ConfigError(f"{override!r}: there is no {_show(step)} here; only an existing list entry can be set")


def _show(step: str | int) -> str:
    return f"entry [{step}]" if isinstance(step, int) else f"key {step!r}"


def _expand(value: Any, place: str) -> Any:
    """Replace ``${NAME}`` in every string of nested plain values."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], place), value)
    if isinstance(value, dict):
        return {key: _expand(inner, place) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, place) for inner in value]
    return value


def _variable(name: str, place: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{place}: ${{{name}}} is used but not set; run `export {name}=...` first")
    return os.environ[name]


def _explain(detail: ErrorDetails) -> str:
    """Return ``finetune.phases[1].depth: what is wrong (got 12)`` for one validation error."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in detail["loc"]).lstrip(".")
    message = detail["msg"].removeprefix("Value error, ")
    got = detail.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place + ': ' if place else ''}{message}{shown}"
