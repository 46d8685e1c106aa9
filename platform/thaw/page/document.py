"""Document: the frame of a page, and drawings in it."""

import html
from collections.abc import Iterable, Sequence

from thaw.page.paper import Chart
from thaw.page.style import CSS, SCRIPT

_ASKS_NOTHING = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, body: Iterable[str], css: str = "") -> str:
    """Return a whole page.

    Args:
        title: plain text.
        body: pieces of HTML.
        css: what a kind of report has beside the style of all.
    """
    shown = html.escape(title)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_ASKS_NOTHING}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{shown}</title>\n<style>{CSS}{css}</style>\n</head>\n<body>\n<main>",
            f"<h1>{shown}</h1>",
            *body,
            f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def figures(charts: Sequence[Chart | None]) -> str:
    """Return drawings with their headings, one below the other."""
    return "\n".join(
        f"<figure><h3>{html.escape(one.title)}</h3><figcaption>{html.escape(one.caption)}</figcaption>{one.svg}</figure>"
        for one in charts
        if one
    )
