"""HTML from strangers as the text it shows: for a terminal, where no link and no script has a meaning."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["text_of_html"]

MAX_HTML = 8192
"""Characters that are looked at: more than a line shows, and little enough for a parser that may go back."""
_SILENT = frozenset(("script", "style", "head", "title", "template"))
_BREAKS = frozenset(("br", "p", "div", "li", "tr", "h1", "h2", "h3"))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BREAKS:
            self.words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT and self._silent:
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


def text_of_html(html: str) -> str:
    """The text between the tags, its white space folded; never raises."""
    reader = _Reader()
    try:
        reader.feed(html[:MAX_HTML])
        reader.close()
    except (AssertionError, ValueError):  # some malformed declarations
        return html[:MAX_HTML]
    return " ".join("".join(reader.words).split())
