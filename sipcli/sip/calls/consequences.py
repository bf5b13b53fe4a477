"""What a failed request inside a call means for the call (RFC 5057 section 5.1, RFC 3261 section 12.2.1.2).

::

    the request alone   most of them: the session is what it was
    the usage           405, 480, 481, 501: what the request was part of - the call, or only a transfer
    the dialog          404, 410, 416, 482-485, 502, 604: whatever would go the same way; so the call, by any request

Which request is part of what is section 5.3.  Four things are not as in its tables, and why is in decision 140.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

from sipcli.sip.events import Why
from sipcli.sip.reasons import REASONS
from sipcli.sip.syntax.message import Response

__all__ = ["Consequence", "Extent", "consequence", "extent"]


class Extent(Enum):
    """What a failure response destroys (RFC 5057, table 1)."""

    REQUEST = "request"
    USAGE = "usage"
    DIALOG = "dialog"


_USAGE = frozenset((405, 480, 481, 489, 501))
_TARGET = frozenset((404, 410, 416, 484, 485, 604))
"""They refuse the Request-URI, which is the Contact that the other side gave us (note 2)."""
_WAY = frozenset((482, 483, 502))
"""They come from somebody on the way, and every later request would go the same way (notes 9, 10 and 14)."""
_ALONE = frozenset(("SUBSCRIBE", "NOTIFY"))
"""Part of a subscription, which has the dialog in common with the call, and nothing else (section 5.3)."""
_OF_THE_CALL = frozenset(("INVITE", "UPDATE", "INFO", "PRACK"))
"""Part of the call; OPTIONS, MESSAGE and unknown methods are part of nothing, REFER of what it begins."""


class Consequence(NamedTuple):
    """The call ends: *by* whose doing, *why* for people, and whether somebody is left who understands a BYE."""

    by: Literal["remote", "network"]
    why: str
    bye: bool = True


def extent(status: int) -> Extent:
    """Table 1; an unknown status is its class's x00, which concerns the request alone."""
    if status in _TARGET or status in _WAY:
        return Extent.DIALOG
    return Extent.USAGE if status in _USAGE else Extent.REQUEST


def consequence(method: str, response: Response | None, why: Why = None) -> Consequence | None:
    """Of the last word on *method* inside a call: *response*, or none and *why*.  None: the call goes on."""
    if method == "MESSAGE":
        return None  # its fate is its own
    if response is None:
        silent = isinstance(why, str) and why.startswith("timeout:")
        return Consequence("network", str(why)) if silent and method not in _ALONE else None
    status = response.status
    if status in (408, 481) and method not in _ALONE:  # whatever was asked (RFC 3261 section 12.2.1.2)
        if status == 481:
            return Consequence("remote", "protocol: the other side knows no such call any more", bye=False)
        return Consequence("network", "timeout: the other side does not answer any more")
    match extent(status):
        case Extent.DIALOG if method == "REFER" and status in _TARGET:
            return None  # servers say so of whom it refers to
        case Extent.DIALOG:
            return Consequence("network", _words(status))
        case Extent.USAGE if _integral(method, status):
            return Consequence("remote", _words(status))
    return None


def _integral(method: str, status: int) -> bool:
    """Is *status* a word on the call that *method* is part of?  One can do without UPDATE and INFO (note 3)."""
    if status in (405, 501):
        return method == "INVITE"
    return method in _OF_THE_CALL and status != 489  # that is of subscriptions; elsewhere it is any 4xx (note 12)


def _words(status: int) -> str:
    said = f"{status} {REASONS[status]}"
    if status in _WAY:
        return f"protocol: nothing gets through to the other side any more ({said})"
    if status in _TARGET:
        return f"protocol: the other side cannot be reached any more where it said ({said})"
    if status == 480:
        return f"protocol: the other side has left the call ({said})"
    return f"protocol: the other side cannot go on with the call ({said})"
