"""Recognition: which source reads a folder, by asking all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thaw import catalog
from thaw.config.parts import Part
from thaw.data import files
from thaw.data.files import Folder
from thaw.data.sources.contract import Recognised
from thaw.errors import ConfigError, DataError

SOURCES = "data.sources"
_DEEPEST = 3
"""Folders that are looked into one after the other, while each holds nothing but the next."""

_CLOSE = 0.1
"""How much less sure another source may be to be told of."""


@dataclass(frozen=True)
class Found:
    """A folder with the source that reads it.

    Attributes:
        type: the source's name.
        others: names of other sources that are hardly less sure, the surest first.
    """

    type: str
    folder: Folder
    recognised: Recognised
    others: tuple[str, ...] = ()

    def options(self) -> Part:
        """Return the source's options."""
        chosen: type[Part] = catalog.part(SOURCES, self.type).Options
        return chosen.model_validate(self.values())

    def values(self) -> dict[str, Any]:
        """Return what a user would write for ``data.source``."""
        path = self.folder.root.uri_of(self.recognised.path)
        return {"type": self.type, "path": path, **self.recognised.options}


def find(uri: str, kind: str | None = None) -> Found:
    """Return the source that reads a folder.

    Args:
        uri: a path, s3:// or gs://.
        kind: name of the source that is to read it; left out: the surest of all.

    Raises:
        ConfigError: there is no such source, or it is none of files.
        DataError: there is no such folder, or no source knows it; the message says what was looked for.
    """
    known = tuple(name for name in catalog.names(SOURCES) if hasattr(catalog.part(SOURCES, name), "recognise"))
    if kind is not None and kind not in known:
        raise ConfigError(f"--type: {kind!r} is not one of {', '.join(known)}{catalog.did_you_mean(kind, known)}")
    folder = files.snapshot(uri)
    if not folder.is_folder(""):
        raise DataError(f"{folder} is no folder that can be read here, or nothing is in it")
    asked, why_not = (kind,) if kind else known, list[str]()
    for inner in _nested(folder):
        found = _asked(inner, asked, why_not)
        if found:
            best, *others = sorted(found, key=lambda one: -found[one].confidence)
            near = [one for one in others if found[one].confidence >= found[best].confidence - _CLOSE]
            return Found(best, inner, found[best], tuple(near))
    raise DataError("\n".join(_refusal(folder, asked, why_not)))


def _nested(folder: Folder) -> Iterator[Folder]:
    """Yield a folder, and the one in it as long as there is nothing else: many archives hold one folder."""
    for _ in range(_DEEPEST):
        yield folder
        inner = folder.folders()
        if len(inner) != 1 or any(files.is_picture(name) for name in folder.names()):
            return
        folder = folder.at(inner[0])


def _asked(folder: Folder, sources: tuple[str, ...], why_not: list[str]) -> dict[str, Recognised]:
    """Return what sources say to a folder; ``why_not`` gains what they have against it."""
    found = {}
    for name in sources:
        try:
            recognised = catalog.part(SOURCES, name).recognise(folder)
        except DataError as error:
            why_not.append(f"{name}: {error}")
            continue
        if recognised is not None:
            found[name] = recognised
    return found


def _refusal(folder: Folder, asked: tuple[str, ...], why_not: list[str]) -> Iterator[str]:
    held = [*(f"{name}/" for name in folder.folders()), *folder.names()]
    shown = ", ".join(held[:6]) + (f" and {len(held) - 6} more" if len(held) > 6 else "")
    yield f"{folder}: nothing that Thaw reads was recognised in it; it holds {shown or 'nothing'}"
    yield from (f"  nearly {reason}" for reason in why_not)
    yield "  looked for"
    for name in asked:
        yield f"    {str(catalog.part(SOURCES, name).__doc__).partition(chr(10))[0]}"
