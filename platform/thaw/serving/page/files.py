"""Files: what the page is made of, read once, under a name that changes with what is in them.

So a browser keeps them for good and never mixes those of two versions of Thaw.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from thaw.page.style import CSS

_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class File:
    """One file as it is sent."""

    content: bytes
    media_type: str


@dataclass(frozen=True)
class Files:
    """All files by name, and the stamp of their content."""

    by_name: dict[str, File]
    stamp: str


def read() -> Files:
    """Return the files of the page. Its style begins with that of all pages."""
    found = {
        path.name: File(_content(path), _TYPES[path.suffix])
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES
    }
    whole = b"".join(file.content for file in found.values())
    return Files(found, hashlib.sha256(whole).hexdigest()[:12])


def document(**places: str) -> str:
    """Return the HTML of the page with its places filled in; what is put in is no markup."""
    text = (_FOLDER / "index.html").read_text(encoding="utf-8")
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return CSS.encode() + content if path.name == "style.css" else content
