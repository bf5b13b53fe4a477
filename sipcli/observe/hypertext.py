"""HTML from strangers as the text it shows: for a terminal, where no link and no script has a meaning.

Not ``html.parser``: before Python 3.13.6 it goes back for each ``<`` that nothing closes, and a message of 8 KiB
(``"<a " * 2730``) holds the SIP stack for a second (CVE-2025-6069).  Each search below begins where the last one
ended, and one that found nothing is the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

__all__ = ["text_of_html"]

MAX_HTML = 8192
"""Characters that are looked at: more than a line shows."""
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[a-z][a-z0-9]*)|<[!?/]", re.IGNORECASE)
_RAW = frozenset(("script", "style", "title"))
"""What is in them is no markup (HTML 13.1.2): only their own end tag ends them."""
_SILENT = frozenset(("head", "template")) | _RAW
_BREAKS = frozenset(("br", "p", "div", "li", "tr", "h1", "h2", "h3"))


def _words(html: str) -> Iterator[str]:
    """The text between the tags, a blank where a line ends."""
    at = silent = 0
    lowered = html.lower()
    while tag := _TAG.search(html, at):
        if not silent:
            yield html[at : tag.start()]
        comment = html.startswith("<!--", tag.start())
        end = html.find("-->" if comment else ">", tag.end())
        if end < 0:  # nothing closes it: there is no tag any more
            at = tag.start()
            break
        at = end + (3 if comment else 1)
        name = (tag["name"] or "").lower()
        if name in _SILENT:
            silent = max(0, silent - 1) if tag["end"] else silent + 1
        elif name in _BREAKS and not tag["end"] and not silent:
            yield " "
        if name in _RAW and not tag["end"]:
            close = lowered.find(f"</{name}", at)
            at = close if close >= 0 else len(html)
    if not silent:
        yield html[at:]


def text_of_html(html: str) -> str:
    """The text between the tags, its references (``&amp;``) read and its white space folded; never raises.

    In time linear in its length.  A ``>`` inside of an attribute ends its tag: what it shows too much is harmless.
    """
    return " ".join(unescape("".join(_words(html[:MAX_HTML]))).split())
