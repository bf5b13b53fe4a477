"""Waiting messages: ``application/simple-message-summary`` (RFC 3842 section 5.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipcli.errors import ParseError

__all__ = ["MessageCount", "MessageSummary", "parse_summary"]

MAX_LINES = 64
_MOST = 2**32 - 1

# msg-status-line = "Messages-Waiting" HCOLON msg-status
_STATUS = re.compile(r"messages-waiting[ \t]*+:[ \t]*+(yes|no)[ \t]*+", re.IGNORECASE)
_ACCOUNT = re.compile(r"message-account[ \t]*+:[ \t]*+<?+([!-;=?-~]++)>?+[ \t]*+", re.IGNORECASE)
# msg-summary-line = message-context-class HCOLON newmsgs SLASH oldmsgs [ LPAREN new-urgentmsgs SLASH old-urgentmsgs ]
_COUNT = re.compile(
    r"(voice|fax|pager|multimedia|text)-message[ \t]*+:[ \t]*+(\d++)[ \t]*+/[ \t]*+(\d++)"
    r"(?>(?:[ \t]*+\([ \t]*+(\d++)[ \t]*+/[ \t]*+(\d++)[ \t]*+\))?)[ \t]*+",
    re.IGNORECASE | re.ASCII,
)


class MessageCount(NamedTuple):
    """Messages of one *kind*: ``voice``, ``fax``, ``pager``, ``multimedia`` or ``text``; urgent ones are among them."""

    kind: str
    new: int
    old: int
    urgent_new: int = 0
    urgent_old: int = 0


class MessageSummary(NamedTuple):
    """Whether messages wait, whose (a URI, if the notifier says), and how many of what kind."""

    waiting: bool
    account: str | None = None
    counts: tuple[MessageCount, ...] = ()


def parse_summary(octets: bytes) -> MessageSummary:
    """Lines it does not know are left out, and so are the message headers after the first empty line.

    Raises ParseError when it does not begin with ``Messages-Waiting``.
    """
    lines = octets[:65536].decode("utf-8", "replace").replace("\r\n", "\n").split("\n", MAX_LINES)[:MAX_LINES]
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        raise ParseError(f"this is no message summary: {lines[0][:40]!r}")
    account = None
    counts = []
    for line in lines[1:]:
        if not line.strip():
            break
        if (named := _ACCOUNT.fullmatch(line)) is not None:
            account = named[1]
        elif (count := _COUNT.fullmatch(line)) is not None:
            counts.append(MessageCount(count[1].lower(), *(_number(digits) for digits in count.groups()[1:])))
    return MessageSummary(status[1].lower() == "yes", account, tuple(counts))


def _number(digits: str | None) -> int:
    """Section 3.5: a larger value is to be taken for 2**32 - 1."""
    text = (digits or "").lstrip("0")
    return min(int(text or "0"), _MOST) if len(text) <= 10 else _MOST
