"""Reliable provisional responses, said: each is repeated until its PRACK, in order (RFC 3262, as the called side).

::

    183 RSeq n ──► T1, 2*T1, 4*T1 … ──► PRACK n: the next may go, and a 2xx that waited
                               └──────► 64*T1 without one: the owner gives the call up (section 3)

An offer or an answer in one of them is final: no later response to the same INVITE carries another (section 5).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from sipcli.sip.calls.reliable import OPTION
from sipcli.sip.syntax.bodies import session_of
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog

__all__ = ["PrackOwner", "ReliableResponses"]

SDP = "application/sdp"
_MAX_WAITING = 8
"""Responses that wait for the PRACK of the one before; nobody rings in more ways."""

Headers: TypeAlias = tuple[tuple[str, str], ...]


class PrackOwner(Protocol):
    """Whoever rings."""

    def on_early_answer(self, sdp: bytes | None) -> None:
        """The PRACK to our offer came: *sdp* is the answer, None when it brought none."""

    def on_early_offer(self, tx: ServerTransaction, request: Request) -> None:
        """The PRACK brought an offer of theirs: answer *tx* (section 5)."""

    def on_all_pracked(self) -> None:
        """Nothing waits for a PRACK any more: a 2xx may go out."""

    def on_unpracked(self) -> None:
        """64*T1 without a PRACK: refuse the INVITE with a 5xx (section 3)."""


class _Said(NamedTuple):
    code: int
    headers: Headers
    sdp: bytes | None


class ReliableResponses:
    """The reliable provisional responses to one INVITE.

    *theirs*: the INVITE brought an offer, so that our first SDP is the answer;
    otherwise it is our offer, which the PRACK answers.
    """

    __slots__ = ("_core", "_exchange", "_interval", "_owner", "_response", "_rseq", "_theirs", "_tx", "_waiting")

    def __init__(self, core: Core, owner: PrackOwner, tx: ServerTransaction, *, theirs: bool) -> None:
        self._core = core
        self._owner = owner
        self._tx = tx
        self._theirs = theirs
        # The first is from 1 to 2**31 - 1, so that a row of them never reaches 2**32 - 1 (section 3).
        self._rseq = int.from_bytes(core.config.random(4)) % (2**31 - 1)
        self._response: Response | None = None  # unacknowledged
        self._waiting: deque[_Said] = deque()
        self._interval = 0.0
        self._exchange: Literal["open", "offered", "done"] = "open"

    @property
    def pending(self) -> Literal["ours", "theirs"] | None:
        """Whose offer has no answer yet; None: every one has, or there was none."""
        if self._exchange == "open":
            return "theirs" if self._theirs else None
        return "ours" if self._exchange == "offered" else None

    @property
    def carried_sdp(self) -> bool:
        """A description of ours went out, or is about to: the 2xx carries none."""
        return self._exchange != "open" or any(item.sdp for item in self._waiting)

    @property
    def holds_the_2xx(self) -> bool:
        """A description is not acknowledged yet: no 2xx before its PRACK (section 3)."""
        said = self._response is not None and bool(self._response.body)
        return said or any(item.sdp for item in self._waiting)

    def say(self, code: int, headers: Headers, sdp: bytes | None) -> None:
        """Send it, or keep it until the one before is acknowledged."""
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(_Said(code, headers, None if self.carried_sdp else sdp))
            self._next()

    def stop(self) -> None:
        """A final response goes out: nothing is repeated any more, but a PRACK on its way is still answered."""
        self._core.wheel.disarm(self)
        self._waiting.clear()

    def _next(self) -> None:
        if self._response is not None or not self._waiting:
            return
        code, headers, sdp = self._waiting.popleft()
        self._rseq += 1
        if sdp is not None:
            self._exchange = "done" if self._theirs else "offered"
        self._response = self._tx.request.reply(
            code,
            to_tag=self._tx.local_tag,
            headers=(*headers, ("Require", OPTION), ("RSeq", str(self._rseq))),
            body=sdp or b"",
            content_type=SDP if sdp else None,
        )
        self._tx.respond(self._response)
        self._interval = self._core.config.timers.t1
        self._core.arm(self, "repeat", self._interval)
        self._core.arm(self, "limit", self._core.config.timers.h)

    def on_timer(self, name: str) -> None:
        if name == "limit":
            self.stop()
            self._owner.on_unpracked()
        elif self._response is not None:
            self._tx.respond(self._response)
            self._interval *= 2  # without the cap of T2 that a 2xx has (section 3)
            self._core.arm(self, "repeat", self._interval)

    def linger(self, dialog: Dialog) -> None:
        """The INVITE was refused: a PRACK that is on its way is awaited, in *dialog*, which has closed."""
        if self._response is not None:
            _LatePrack(self._core, dialog, self).start()

    # -- their PRACK -----------------------------------------------------------------------------------

    def take(self, tx: ServerTransaction, request: Request) -> None:
        """Answer the PRACK *request*: 481 unless it is to the response that waits for one (section 3)."""
        if not self._acknowledges(request):
            tx.reply(481)
            return
        self._core.wheel.disarm(self)
        body = session_of(request)
        if self._exchange == "offered":
            self._exchange = "done"
            tx.reply(200)
            self._owner.on_early_answer(body)
        elif body is not None and self._exchange == "done":
            self._owner.on_early_offer(tx, request)
        else:  # their offer in the INVITE has no answer yet: there can be no other
            tx.reply(200)
        self._next()
        if self._response is None:
            self._owner.on_all_pracked()

    def take_late(self, tx: ServerTransaction, request: Request) -> None:
        """The same, when nothing follows from it any more."""
        tx.reply(200 if self._acknowledges(request) else 481)

    def _acknowledges(self, request: Request) -> bool:
        """Is the PRACK *request* to the response that waits for one?  Then none does any more."""
        rack = (request.find("RAck") or "").split()
        mine = [str(self._rseq), str(self._tx.request.cseq.number), self._tx.request.method]
        if self._response is None or rack != mine:
            return False
        self._response = None
        return True


class _LatePrack:
    """The early dialog of a refused INVITE: outstanding PRACKs "MUST" still be processed (section 3)."""

    __slots__ = ("_core", "_dialog", "_reliable")

    def __init__(self, core: Core, dialog: Dialog, reliable: ReliableResponses) -> None:
        self._core = core
        self._dialog = dialog
        self._reliable = reliable

    def start(self) -> None:
        self._dialog.open(self)
        self._core.arm(self, "over", self._core.config.timers.h)

    def on_request(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        if request.method == "PRACK":
            self._reliable.take_late(tx, request)
        else:
            tx.reply(481)

    def acknowledge_again(self, response: Response) -> bool:
        return False

    def on_timer(self, name: str) -> None:
        self._dialog.close()
