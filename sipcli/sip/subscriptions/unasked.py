"""NOTIFYs that nobody subscribed to: PBXs tell their own phones of waiting messages so (RFC 3842 section 3.4 calls for
a subscription; Asterisk's ``mwi`` of an endpoint and older servers do not wait for one)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.subscriptions.packages import PACKAGES
from sipcli.sip.subscriptions.substate import EventType

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core
    from sipcli.sip.flow import Flow
    from sipcli.sip.syntax.message import Request
    from sipcli.sip.transactions.transaction import ServerTransaction

__all__ = ["UnaskedNotify", "take_unasked"]

_SUMMARY = PACKAGES["mwi"]


class UnaskedNotify(NamedTuple):
    """Messages wait, says the server of *account*, unasked; 200 went out already."""

    account: str
    request: Request


def take_unasked(
    core: Core, account: AccountState | None, tx: ServerTransaction, request: Request, arrival: Flow
) -> None:
    """Answer a NOTIFY outside of any dialog, which came over *arrival*.

    Only an account's own server is believed, and only about waiting messages:
    to anybody else a subscription that is none is 481, as RFC 6665 section 4.1.3 has it.
    """
    if account is None or not account.origin(arrival).bound or not _is_summary(request):
        tx.reply(481, "Subscription does not exist")
    elif request.body and request.content_type not in _SUMMARY.accept:
        tx.reply(415, headers=(("Accept", ", ".join(_SUMMARY.accept)),))
    else:
        tx.reply(200)
        core.emit(UnaskedNotify(account.profile.name, request))


def _is_summary(request: Request) -> bool:
    try:
        return EventType.of(request).package == _SUMMARY.name
    except ParseError:
        return False
