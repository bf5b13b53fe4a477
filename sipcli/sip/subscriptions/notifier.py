"""One notifier of a subscription: its dialog, the time it was granted, its refreshes (RFC 6665 sections 4.1.2 and 4.4).

::

    LIVES ⇄ (SUBSCRIBE inside the dialog, then a NOTIFY within Timer N)
    LIVES → LEAVING (Expires: 0, then its last NOTIFY) → gone
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.dialog import Dialog
from sipcli.sip.events import Why
from sipcli.sip.exchange import Exchange, ExchangeState
from sipcli.sip.pauses import refresh_in, retry_after
from sipcli.sip.softstate import OneRequest, granted
from sipcli.sip.subscriptions.substate import SubscriptionState
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.core import Core
    from sipcli.sip.subscriptions.subscription import Subscription

__all__ = ["Notifier"]

LEAST_REFRESH = 1.0
"""Seconds between two refreshes at least, whatever a notifier grants."""
LEAST_RETRY = 5.0
# Answers to a refresh that end the subscription (section 4.1.2.2, RFC 5057 section 5.1); others leave it its time.
_ENDING = frozenset((404, 405, 408, 410, 416, *range(480, 486), 489, 501, 604))


class Notifier(OneRequest):
    """Owner of one dialog; *number* counts the notifiers of a subscription from 1, for a SUBSCRIBE may fork."""

    __slots__ = ("_heard", "_subscription", "dialog", "expires_at", "leaving", "number", "state")

    def __init__(
        self, core: Core, subscription: Subscription, dialog: Dialog, number: int, state: SubscriptionState
    ) -> None:
        super().__init__(core)
        self._subscription = subscription
        self.dialog = dialog
        self.number = number
        self.state = state
        self.expires_at = core.now
        self.leaving = False
        self._heard = True
        """A NOTIFY came since the last SUBSCRIBE went out."""

    # -- what the subscription says ------------------------------------------------------------------

    def heard(self, state: SubscriptionState) -> None:
        """A NOTIFY that does not end it."""
        self._heard = True
        self.state = state
        if self.leaving:
            return
        self._core.wheel.disarm(self, "notify")
        if state.expires is not None:
            self.lasts(state.expires)

    def lasts(self, seconds: int) -> None:
        """It was granted *seconds* from now; never longer than we asked for (section 4.2.1.1)."""
        if self.leaving:
            return
        granted = min(seconds, self._subscription.expires)
        self.expires_at = self._core.now + granted
        self._core.arm(self, "refresh", max(refresh_in(granted), LEAST_REFRESH))
        self._core.arm(self, "expired", max(granted, LEAST_REFRESH))

    def refresh(self) -> None:
        """SUBSCRIBE now, unless one is on its way."""
        if self._exchange is None and not self.leaving:
            self._send(self._subscription.expires)

    def leave(self) -> None:
        """Unsubscribe; ``on_gone`` of the subscription is called when the last NOTIFY came, or will not come."""
        if self.leaving:
            return
        self.leaving = True
        self._core.wheel.disarm(self)
        exchange = self._exchange
        if exchange is not None and exchange.state is ExchangeState.SENT:
            exchange.closing = True  # its end is waited for: two SUBSCRIBEs of one dialog must not overtake each other
            return
        self._drop_exchange()
        self._send(0)

    def close(self) -> None:
        """From now on: nothing sent, nothing heard."""
        self._core.wheel.disarm(self)
        self._drop_exchange()
        self.dialog.close()

    # -- requests ------------------------------------------------------------------------------------

    def _send(self, expires: int) -> None:
        core = self._core
        self._heard = False
        core.wheel.disarm(self, "refresh")
        self._start(
            Exchange(
                core,
                self,
                self.dialog.account,
                self.dialog.letter("SUBSCRIBE", contact="", headers=self._subscription.headers(expires)),
                interactive=expires > 0,
                patience=core.config.timers.f,
                flow_home=self.dialog.flow_for,
            )
        )

    def _succeeded(self, exchange: Exchange, response: Response) -> None:
        if exchange.closing and self.leaving:
            self._send(0)  # that was the refresh which was under way when we began to leave
        else:
            self._accepted(exchange, response)

    def _not_granted(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if self.leaving or response is None or response.status in _ENDING:
            self._subscription.on_gone(self, response, why)
        elif self._subscription.asks_longer(response):
            self.refresh()
        else:
            self._try_later(response)

    def _accepted(self, exchange: Exchange, response: Response) -> None:
        self.dialog.refresh(response)
        self.lasts(granted(response, self._subscription.expires))
        # RFC 5839: a 204 says that no NOTIFY follows
        if (self.leaving or not self._heard) and response.status != 204:
            self._core.wheel.arm(self, "notify", exchange.sent_at + self._core.config.timers.f)

    def _try_later(self, response: Response) -> None:
        """What we have stays ours until it expires (section 4.1.2.2): ask again meanwhile."""
        left = self.expires_at - self._core.now
        if left <= 0:
            self._expired()
            return
        pause = max(left / 2, LEAST_RETRY, retry_after(response))
        if pause < left:
            self._core.arm(self, "refresh", pause)

    def on_timer(self, name: str) -> None:
        if name == "refresh":
            self.refresh()
        elif name == "notify":
            self._subscription.on_gone(self, None, "timeout: no NOTIFY followed our SUBSCRIBE")
        elif self._exchange is None or self._exchange.state is not ExchangeState.SENT:
            self._expired()

    def _expired(self) -> None:
        self._subscription.on_gone(self, None, "expired: the subscription ran out before it could be refreshed")

    # -- their requests ------------------------------------------------------------------------------

    def on_request(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        """Nothing but NOTIFY has a meaning here (RFC 5057 section 5.3)."""
        tx.reply(481)

    def acknowledge_again(self, response: Response) -> bool:
        return False
