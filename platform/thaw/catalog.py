"""The catalog: part name -> part, by file name. The folder is the registry.

Nothing is registered by running code, so a worker on another machine finds exactly the parts that the
driver found, and importing Thaw imports no part.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

import thaw
from thaw.errors import ConfigError

_NOT_PARTS = frozenset({"contract", "on_ray"})


def names(folder: str) -> tuple[str, ...]:
    """Return the sorted names of the parts in ``folder``, a dotted place below ``thaw`` such as ``data.sources``."""
    paths = [f"{root}/{folder.replace('.', '/')}" for root in thaw.__path__]
    found = (module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))
    return tuple(sorted(set(found) - _NOT_PARTS))


def part(folder: str, name: str) -> ModuleType:
    """Return the module of the part ``name`` in ``folder``.

    Raises:
        ConfigError: no such part; the message lists those that exist and the nearest one.
    """
    known = names(folder)
    if name not in known:
        raise ConfigError(f"{name!r} is not one of {', '.join(known)}{did_you_mean(name, known)}")
    return importlib.import_module(f"thaw.{folder}.{name}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or an empty string when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
