"""The BYE: how a session is ended, ours or that of a fork that nobody wanted (RFC 3261 section 15.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.events import Why
from sipcli.sip.exchange import Exchange
from sipcli.sip.syntax.message import Response

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog

__all__ = ["Farewell"]


class Farewell:
    """A BYE.  A challenge to it is answered from what is known and asks nobody (threat T01, docs/architecture.md)."""

    __slots__ = ("_call", "exchange")

    def __init__(self, core: Core, dialog: Dialog, call: Call | None) -> None:
        """*call* None: the dialog is a fork nobody wanted, and nobody waits for its end."""
        self._call = call
        self.exchange = Exchange(
            core, self, dialog.account, dialog.letter("BYE"), interactive=False, flow_home=dialog.flow_for
        )

    def start(self) -> None:
        self.exchange.start()

    def on_provisional(self, exchange: Exchange, response: Response) -> None:
        pass

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if self._call is not None:
            self._call.on_farewell(response, why)
