"""XML from the network: a small tree, or ParseError; nothing in it is fetched, expanded or deep (decision 95)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from sipcli.errors import ParseError

__all__ = ["Element", "parse_xml"]

MAX_OCTETS = 65536
MAX_DEPTH = 32
MAX_ELEMENTS = 4096
_SEPARATOR = " "  # no namespace may contain one


class Element:
    """One element: *name* without its namespace, which is *space*; *text* is what stands before its first child."""

    __slots__ = ("attributes", "children", "name", "space", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.space, _, self.name = tag.rpartition(_SEPARATOR)
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""

    def all(self, name: str) -> Iterator[Element]:
        """The children of that name, in order, whatever their namespace."""
        return (child for child in self.children if child.name == name)

    def find(self, name: str) -> Element | None:
        return next(self.all(name), None)

    def word(self, name: str) -> str | None:
        """The stripped text of the first child of that name; None when there is none, or it is empty."""
        child = self.find(name)
        return (child.text.strip() or None) if child is not None else None


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise ParseError(f"this XML has more than {MAX_ELEMENTS} elements, or is deeper than {MAX_DEPTH}")
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, tag: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        if self._open and not self._open[-1].children:
            self._open[-1].text += text

    def doctype(self, *_: object) -> None:
        # Without one there is no entity to expand and no file or server to name (billion laughs, XXE).
        raise ParseError("this XML has a document type, and needs none")


def parse_xml(octets: bytes, root: str) -> Element:
    """The element *root* that *octets* hold.  Raises ParseError for anything else, and for what is too large."""
    if len(octets) > MAX_OCTETS:
        raise ParseError(f"this XML has more than {MAX_OCTETS} octets")
    builder = _Builder()
    parser = expat.ParserCreate("utf-8", _SEPARATOR)  # the RFCs want UTF-8, whatever the document says of itself
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(octets, True)
    except (expat.ExpatError, ValueError) as error:
        raise ParseError(f"this is no XML: {error}") from None
    if builder.root is None or builder.root.name != root:
        raise ParseError(f"this XML is no {root}")
    return builder.root
