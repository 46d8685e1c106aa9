"""Card: a model card as a page. Markup in it is shown and not obeyed: anybody may have written it."""

import html
import re

from markdown_it import MarkdownIt

_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_SCROLLS = '<div class="scroll" tabindex="0" role="region" aria-label="Table">'


def page(model: str, markdown: str, files: str) -> str:
    """Return the page of a card.

    Args:
        model: ``name/version``.
        markdown: the card; what is written at its head for a hub is left out.
        files: path of the page's files.
    """
    title = html.escape(f"Model card of {model}")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<title>{title}</title>\n<link rel="icon" href="{files}/icon.svg" type="image/svg+xml">',
            f'<link rel="stylesheet" href="{files}/style.css">\n</head>\n<body>\n<main class="card">',
            '<nav aria-label="Back"><a href="./">To the model</a></nav>',
            _rendered(markdown),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _rendered(markdown: str) -> str:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(_FRONT.sub("", markdown))
    for token in tokens:
        token.attrs.pop("style", None)  # of aligned columns; the page obeys no style but its own
    found = reader.renderer.render(tokens, reader.options, {})
    return str(found).replace("<table>", f"{_SCROLLS}<table>").replace("</table>", "</table></div>")
