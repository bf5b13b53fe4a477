"""The Replaces header: which dialog a new one takes the place of (RFC 3891 section 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.syntax.grammar import escape, parse_params

if TYPE_CHECKING:
    from sipcli.sip.dialog import Dialog, DialogId

__all__ = ["Replaces"]

_MAX_CALL_ID = 256


class Replaces(NamedTuple):
    """The dialog to be replaced, as whoever gets the INVITE sees it: *to_tag* is his own tag, *from_tag* the peer's."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """Raises ParseError (section 6.1): both tags once, and one Call-ID."""
        call_id, semicolon, rest = text.strip().partition(";")
        call_id = call_id.strip()
        params = parse_params(semicolon + rest)
        tags = {name: [v for k, v in params if k.lower() == name and v] for name in ("to-tag", "from-tag")}
        odd = not call_id or len(call_id) > _MAX_CALL_ID or any(not 33 <= ord(c) <= 126 for c in call_id)
        if odd or any(len(found) != 1 for found in tags.values()):
            raise ParseError("a Replaces header needs a Call-ID, one to-tag and one from-tag")
        early = any(name.lower() == "early-only" for name, _ in params)
        return cls(call_id, tags["to-tag"][0] or "", tags["from-tag"][0] or "", early)

    @classmethod
    def of(cls, dialog: Dialog) -> Replaces:
        """What makes the other end of *dialog* put a new call in its place."""
        call_id, ours, theirs = dialog.id
        return cls(call_id, theirs or "0", ours or "0")

    @property
    def dialog_id(self) -> DialogId:
        """Of our own dialog; ``0`` stands for the tag that an old peer never gave (section 6.1)."""
        return self.call_id, _tag(self.to_tag), _tag(self.from_tag)

    @property
    def escaped(self) -> str:
        """As the value of a header inside a URI (RFC 3261 section 19.1.1)."""
        return escape(str(self), "-_.!~*'()")

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def _tag(text: str) -> str:
    return "" if text == "0" else text
