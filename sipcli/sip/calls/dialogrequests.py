"""Our requests inside a call's dialog: INFO, MESSAGE, OPTIONS, UPDATE, REFER... (RFC 3261 section 12.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError
from sipcli.sip.events import Why
from sipcli.sip.exchange import ExchangeState
from sipcli.sip.oneshot import OneShot
from sipcli.sip.syntax.message import Response

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core

__all__ = ["DialogRequests"]

_OWN_VERBS = ("INVITE", "ACK", "BYE", "CANCEL")
_TARGET_REFRESHING = ("UPDATE", "REFER", "SUBSCRIBE", "NOTIFY")
"""Methods that may refresh the target, and so carry a Contact (RFC 3311, RFC 3515, RFC 6665)."""


class DialogRequests:
    """Those that one call has out.  What each came to the call is told, which may end by it (section 12.2.1.2)."""

    __slots__ = ("_call", "_core", "_out")

    def __init__(self, core: Core, call: Call) -> None:
        self._core = core
        self._call = call
        self._out: set[OneShot] = set()

    def send(
        self,
        method: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        *,
        patience: float | None = None,
        on_done: Callable[[Response | None, Why], None] | None = None,
    ) -> OneShot:
        """Send one; its challenges are of use for *patience* seconds, ``RequestDone`` and *on_done* tell its end."""
        call = self._call
        if call.dialog is None or call.over:
            raise LocalProtocolError("there is no dialog to send this in")
        if method in _OWN_VERBS:
            raise LocalProtocolError(f"{method} has a verb of its own")
        contact = "" if method in _TARGET_REFRESHING else None
        oneshot = OneShot(
            self._core,
            call.dialog.account,
            call.dialog.letter(method, contact=contact, headers=headers, body=body, content_type=content_type),
            call=call.me,
            patience=patience,
            flow_home=call.dialog.flow_for,
            on_done=lambda response, why: self._done(oneshot, response, why, on_done),
        )
        self._out.add(oneshot)
        oneshot.start()
        return oneshot

    def _done(
        self,
        oneshot: OneShot,
        response: Response | None,
        why: Why,
        on_done: Callable[[Response | None, Why], None] | None,
    ) -> None:
        self._out.discard(oneshot)
        dialog = self._call.dialog
        if dialog is not None and response is not None and 200 <= response.status < 300:
            dialog.refresh(response)  # of UPDATE, REFER and SUBSCRIBE (RFC 3261 section 12.2.1.2)
        if on_done is not None:
            on_done(response, why)
        elif response is not None and response.status < 300:
            self._call.timer.heard(response)  # an UPDATE that a program sent refreshes, too
        self._call.on_request_done(oneshot.method, response, why)

    def stop(self) -> None:
        """The call ends: what has not gone out by now - a challenge to it may be pending - never does."""
        for oneshot in tuple(self._out):
            oneshot.exchange.closing = True
            if oneshot.exchange.state is not ExchangeState.SENT:
                oneshot.exchange.abort("closed: the call is over")
