"""Plain values: mappings, lists and scalars of a YAML file, and what environment variables add to them.

Data alone: no tag runs code, and nothing here knows what the values are for.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from thaw.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def read(path: Path, kind: str, keys: str) -> dict[str, Any]:
    """Return what a YAML file holds.

    Args:
        kind, keys: what the file is, such as ``an experiment``, and the keys that it must have, for errors.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _PlainYaml)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); give the path of {kind} YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping with {keys}; found {type(values).__name__}")
    return values


def expanded(value: Any, place: str) -> Any:
    """Return nested plain values with ``${NAME}`` in every string replaced by an environment variable.

    Raises:
        ConfigError: a variable is not set; the message begins with ``place``.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], place), value)
    if isinstance(value, dict):
        return {key: expanded(inner, place) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner, place) for inner in value]
    return value


def _variable(name: str, place: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{place}: ${{{name}}} is used but not set; run `export {name}=...` first")
    return os.environ[name]


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
