"""The core's events, each given to the one it concerns, and told as notices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sipcli.sip.auth import (
    AuthAccepted,
    AuthChallenged,
    AuthForbidden,
    AuthRejected,
    AuthRepeated,
    AuthSettled,
    AuthUnanswerable,
    GiveUp,
    PolicyWarning,
)
from sipcli.sip.events import (
    CallAnswered,
    CallConfirmed,
    CallEarlyAnswer,
    CallEnded,
    CallIncoming,
    CallLeaving,
    CallOfferStale,
    CallProgress,
    CallReanswered,
    CallRedirected,
    CallReferred,
    CallRefreshDue,
    CallReoffered,
    Event,
    InfoReceived,
    MessageReceived,
    NotifyReceived,
    ProtocolWarning,
    PublicationChanged,
    RegistrationChanged,
    RequestDone,
    SubscriptionChanged,
    TransferChanged,
)
from sipcli.sip.subscriptions.unasked import UnaskedNotify
from sipcli.ua.calls.answering import hand_over
from sipcli.ua.net.wirelog import WireRecord, mask
from sipcli.ua.notices import (
    RegistrationNotice,
    RegistrationState,
    TraceNotice,
    Via,
    WarningNotice,
    address_text,
)

if TYPE_CHECKING:
    from sipcli.sip.flow import Flow
    from sipcli.ua.agent import UserAgent

__all__ = ["EventDesk"]

log = logging.getLogger(__name__)

# The registrar said 401 and nobody answered it: that is a failure of ours, not its refusal.
_NOT_ASKED = frozenset(
    (GiveUp.NO_CREDENTIALS, GiveUp.ABANDONED, GiveUp.LOST, GiveUp.DEADLINE, GiveUp.PERSON, GiveUp.SIGN_IN)
)


class EventDesk:
    """One method per event, found by its type; what the endpoint handles itself is not here."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        auth = agent.auth_desk
        self._table: dict[type[Any], Callable[[Any], None]] = {
            AuthChallenged: auth.on_challenged,
            AuthSettled: auth.on_settled,
            AuthRepeated: auth.on_repeated,
            AuthUnanswerable: auth.on_unanswerable,
            AuthAccepted: auth.on_accepted,
            AuthRejected: auth.on_rejected,
            AuthForbidden: auth.on_forbidden,
            PolicyWarning: self._on_policy,
            RegistrationChanged: self._on_registration,
            CallProgress: lambda event: self._with_call(event, "on_progress"),
            CallAnswered: lambda event: self._with_call(event, "on_answered"),
            CallReoffered: self._on_reoffered,
            CallReanswered: lambda event: self._with_changes(event, "on_reanswered"),
            CallLeaving: lambda event: self._with_call(event, "on_leaving"),
            CallEnded: lambda event: self._with_call(event, "on_ended"),
            CallIncoming: self._on_incoming,
            CallConfirmed: lambda event: self._with_changes(event, "on_confirmed"),
            CallEarlyAnswer: lambda event: self._with_changes(event, "on_early_answer"),
            CallOfferStale: self._on_offer_stale,
            CallRefreshDue: lambda event: self._with_changes(event, "on_refresh_due"),
            CallRedirected: agent.transfers.on_redirected,
            CallReferred: agent.transfers.on_referred,
            TransferChanged: agent.transfers.ours.on_changed,
            InfoReceived: self._on_info,
            RequestDone: agent.oneshots.on_done,
            MessageReceived: agent.soft.on_message,
            SubscriptionChanged: agent.soft.on_subscription,
            NotifyReceived: agent.soft.on_notify,
            UnaskedNotify: agent.soft.on_unasked,
            PublicationChanged: agent.soft.on_publication,
            ProtocolWarning: self._on_warning,
        }

    def on_event(self, event: Event) -> None:
        """Called inside a turn.  Never raises: one listener's fault must not cost the others their events."""
        handle = self._table.get(type(event))
        if handle is None:
            return
        try:
            handle(event)
        except Exception:
            log.exception("handling %s failed", type(event).__name__)

    def on_wire(self, record: WireRecord) -> None:
        if not self._agent.has_listeners:
            return
        text = mask(record.data).decode("utf-8", "backslashreplace")
        self._agent.tell(
            TraceNotice(
                direction=record.direction,
                transport=record.flow.transport,
                local=address_text(record.flow.local),
                remote=address_text(record.flow.remote),
                start_line=text.partition("\r\n")[0],
                size=len(record.data),
                sip=text,
            )
        )

    # --- registrations ----------------------------------------------------------------------------------------

    def _on_registration(self, event: RegistrationChanged) -> None:
        account = self._agent.find_account(event.account)
        state: RegistrationState = event.state
        if state == "refused" and event.why in _NOT_ASKED:
            state = "failed"
        why = _sentence(event.why)
        if self._agent.has_listeners:
            self._agent.tell(
                RegistrationNotice(
                    account=event.account,
                    state=state,
                    code=event.code,
                    reason=(why or event.reason) if state == "waiting" else (event.reason or why),
                    expires_s=event.expires_s,
                    contact=event.contact,
                    service_route=", ".join(event.service_route) or None,
                    via=None if event.flow is None else _via(event.flow),
                    retry_in_s=None if event.retry_in_s is None else round(event.retry_in_s, 1),
                )
            )
        if account is not None:
            account.on_registration(event)
        self._agent.waiting.on_registration(event)
        self._agent.roaming.on_registration(event)

    # --- calls ------------------------------------------------------------------------------------------------

    def _with_call(self, event: Any, name: str) -> None:
        call = self._agent.find_call(event.call.id)
        if call is not None:
            getattr(call, name)(event)

    def _with_changes(self, event: Any, name: str) -> None:
        call = self._agent.find_call(event.call.id)
        if call is not None:
            getattr(call.changes, name)(event)

    def _on_incoming(self, event: CallIncoming) -> None:
        from sipcli.ua.calls.call import Call

        account = self._agent.find_account(event.call.account)
        call = Call(self._agent, account, event.call)
        call.announce()
        handler = self._agent.on_incoming if account is None else account.on_incoming
        refusal = self._agent.switchboard.refusal(call)
        try:
            if handler is None or self._agent.closed or self._agent.draining:
                call.reject(480)
            elif self._agent.transfers.take_over(event.call.replaces, call):
                pass  # it rings nowhere, whoever wants not to be disturbed
            elif refusal is not None:
                call.reject(*refusal)
            else:
                self._agent.switchboard.announce(call)
                hand_over(handler, call)
        except Exception:
            log.exception("on_incoming failed; the call is refused")
            if call.state == "ringing":
                call.reject(500)

    def _on_reoffered(self, event: CallReoffered) -> None:
        call = self._agent.find_call(event.call.id)
        if call is None:
            event.call.reject_reinvite(488)
        else:
            call.changes.on_reoffered(event)

    def _on_offer_stale(self, event: CallOfferStale) -> None:
        call = self._agent.find_call(event.call.id)
        if call is not None:
            call.changes.on_offer_stale()

    def _on_info(self, event: InfoReceived) -> None:
        call = self._agent.find_call(event.call.id)
        if call is not None:
            call.digits.hear_info(event.request)

    # --- the rest ---------------------------------------------------------------------------------------------

    def _on_policy(self, event: PolicyWarning) -> None:
        if self._agent.has_listeners:
            self._agent.tell(WarningNotice(code=event.code, message=f"account {event.account}: {event.message}"))

    def _on_warning(self, event: ProtocolWarning) -> None:
        log.debug("%s: %s", event.code, event.message)
        if event.code == "fault":
            log.error("a fault in the SIP core: %s", event.message)
        self._agent.tell(WarningNotice(code=event.code, message=event.message))


def _sentence(why: GiveUp | str | None) -> str | None:
    return why.value if isinstance(why, GiveUp) else why


def _via(flow: Flow) -> Via:
    return Via(transport=flow.transport, remote=address_text(flow.remote), tls=flow.verified_identity)
