"""Whose a NOTIFY is: several subscriptions may share one dialog, and a fork makes a dialog by its NOTIFY (RFC 6665).

Whoever waits for NOTIFYs - a subscription, a REFER - enters itself under the Call-ID
and the tag that we gave (sections 4.1.3 and 4.4.1); :class:`~sipcli.sip.reception.Reception`
looks here, in a call's dialog, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipcli.errors import ParseError
from sipcli.sip.subscriptions.substate import EventType, SubscriptionState

if TYPE_CHECKING:
    from sipcli.sip.dialog import Dialog
    from sipcli.sip.flow import Flow
    from sipcli.sip.profile import EngineConfig
    from sipcli.sip.syntax.message import Request
    from sipcli.sip.transactions.transaction import ServerTransaction

__all__ = ["NotifyBook", "NotifyTaker", "allowed_events"]


def allowed_events(config: EngineConfig) -> tuple[tuple[str, str], ...]:
    """What we notify of: in INVITE, its responses, those to OPTIONS, and in a 489 (RFC 6665 sections 4.4.4, 8.3.2).

    That is how a transfer goes, and nothing where no REFER is taken: the list must be neither longer nor shorter.
    """
    return (("Allow-Events", "refer"),) if "REFER" in config.allow else ()


class NotifyTaker(Protocol):
    """Somebody to whom NOTIFYs come."""

    def takes(self, event: EventType) -> bool:
        """Is a NOTIFY of this Event in our dialogs mine?"""
        ...

    def on_notify(
        self, dialog: Dialog | None, tx: ServerTransaction, request: Request, state: SubscriptionState, flow: Flow
    ) -> None:
        """Answer *tx*, at once (section 4.1.3).  *dialog* None: the first of a notifier, whose dialog it makes.

        In a known dialog its order is checked, and its flow noted, already.
        """


class NotifyBook:
    """Who waits for NOTIFYs, by the Call-ID and our own tag."""

    __slots__ = ("_config", "_takers")

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._takers: dict[tuple[str, str], list[NotifyTaker]] = {}

    def add(self, call_id: str, local_tag: str, taker: NotifyTaker) -> None:
        self._takers.setdefault((call_id, local_tag), []).append(taker)

    def remove(self, call_id: str, local_tag: str, taker: NotifyTaker) -> None:
        """From now on its NOTIFYs earn 481.  Idempotent."""
        takers = self._takers.get((call_id, local_tag), [])
        if taker in takers:
            takers.remove(taker)
            if not takers:
                del self._takers[call_id, local_tag]

    def deliver(self, dialog: Dialog | None, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        """Give *request* to whose it is; 481 where nobody subscribed, 489 where somebody did, but not to that."""
        takers = self._takers.get((request.call_id, request.to.tag or ""), ())
        if not takers:
            tx.reply(481, "Subscription does not exist")
            return
        try:
            event, state = EventType.of(request), SubscriptionState.of(request)
        except ParseError as error:
            tx.reply(400, f"Bad Request: {error}"[:80])
            return
        taker = next((taker for taker in takers if taker.takes(event)), None)
        if taker is None:
            tx.reply(489, headers=allowed_events(self._config))
        else:
            taker.on_notify(dialog, tx, request, state, flow)
