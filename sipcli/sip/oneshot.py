"""Requests that stand alone: MESSAGE, OPTIONS, whatever is asked inside a call (RFC 3261 section 11, RFC 3428)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipcli.sip.events import RequestDone, Why
from sipcli.sip.exchange import Exchange
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.letter import Letter
from sipcli.sip.syntax.message import Response

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core
    from sipcli.sip.events import AnyCall

__all__ = ["OneShot", "patience_for"]


def patience_for(method: str, f: float) -> float | None:
    """How long an answer to a challenge is of use, in seconds from the first sending; None: as long as its token.

    *f* is 64*T1: then a subscriber gives up (Timer N, RFC 6665 section 4.1.2.4), and so does he who
    waits for a PRACK (RFC 3262 section 3).
    """
    return f if method in ("SUBSCRIBE", "PRACK") else None


class OneShot:
    """One request and its last final response, told as ``RequestDone``."""

    __slots__ = ("_core", "_on_done", "account", "call", "done", "exchange", "id", "method")

    def __init__(
        self,
        core: Core,
        account: AccountState | None,
        letter: Letter,
        *,
        call: AnyCall | None = None,
        patience: float | None = None,
        flow_home: Callable[[Hop], Flow | None] | None = None,
        on_done: Callable[[Response | None, Why], None] | None = None,
    ) -> None:
        self._core = core
        self._on_done = on_done
        self.id = core.new_id("r")
        self.account = account.name if account is not None else None
        self.method = letter.method
        self.call = call
        self.done = False
        self.exchange = Exchange(core, self, account, letter, patience=patience, flow_home=flow_home)

    def start(self) -> None:
        self.exchange.start()

    def stop(self) -> None:
        """Ask no more: no further sending, no event.  A pending challenge is revoked."""
        self.done = True
        self.exchange.stop()

    def on_provisional(self, exchange: Exchange, response: Response) -> None:
        pass

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if self.done:
            return
        self.done = True
        rtt = None if response is None else self._core.now - exchange.sent_at
        self._core.emit(RequestDone(self, response, why, rtt))
        if self._on_done is not None:
            self._on_done(response, why)
