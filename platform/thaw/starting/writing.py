"""Writing: an experiment as YAML for people, with a reason above every group of settings."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_WIDTH = 116


@dataclass(frozen=True)
class Entry:
    """One setting as it stands in the file.

    Attributes:
        steps: keys from the outside in.
        value: plain value.
        why: what stands above it; nothing where it is empty.
        off: whether it is written as a comment, for a person to take up.
    """

    steps: tuple[str, ...]
    value: Any
    why: str = ""
    off: bool = False


def text(heading: Sequence[str], entries: Sequence[Entry]) -> str:
    """Return the YAML of the entries, those of one section together, in the order in which sections come first."""
    lines = [line for one in heading for line in _comment(one, "")]
    top: dict[str, list[Entry]] = {}
    for entry in entries:
        top.setdefault(entry.steps[0], []).append(entry)
    for key, members in top.items():
        if len(members[0].steps) == 1:
            lines += _written(members[0], "")
        else:
            lines.append(f"{key}:")
            lines += [line for one in members for line in _written(one, "  ")]
    return "\n".join(lines) + "\n"


def _written(entry: Entry, indent: str) -> Iterator[str]:
    yield from _comment(entry.why, indent)
    key, mark = flow(entry.steps[-1]), "# " if entry.off else ""
    if isinstance(entry.value, list) and all(isinstance(one, Mapping) for one in entry.value):
        yield f"{indent}{mark}{key}:"
        yield from (f"{indent}{mark}  - {line}" for one in entry.value for line in [flow(one)])
        return
    first, *more = f"{key}: {flow(entry.value)}".splitlines()
    yield f"{indent}{mark}{first}"
    yield from (f"{indent}{mark}    {line.strip()}" for line in more)


def _comment(words: str, indent: str) -> Iterable[str]:
    if not words:
        return []
    inner = len(words) - len(words.lstrip())
    start = f"{indent}# {' ' * inner}"
    plain = "".join(letter if letter.isprintable() else "?" for letter in words.strip())
    return textwrap.wrap(plain, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def flow(value: Any) -> str:
    """Return a value in YAML's short form, on one line if it fits."""
    whole = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=_WIDTH - 20)
    return whole.strip().removeprefix("[").removesuffix("]")
