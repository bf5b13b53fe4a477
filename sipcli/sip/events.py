"""Everything the core can tell the shell: named tuples, in past tense, drained by ``Engine.next_event()``.

The events of authentication (``AuthChallenged`` and its like) live beside its tokens and plans in
:mod:`sipcli.sip.authn.decision`; :mod:`sipcli.sip.auth` hands them out.

A *why* says what no SIP response can: a :class:`~sipcli.sip.auth.GiveUp`
(authentication ended it), or one sentence whose first word is its kind:

========== ==========================================================
``dns:``     no such host or service
``connect:`` no connection there
``tls:``     handshake, certificate or identity
``lost:``    the connection broke while we waited
``timeout:`` nobody answered in time
``closed:``  the account was removed, or the engine closed
``protocol:`` the peer broke the protocol
``expired:`` a binding ran out while a person was awaited
========== ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from sipcli.sip.flow import Address, Flow, Hop, Ticket

if TYPE_CHECKING:
    from sipcli.sip.auth import AuthEvent, GiveUp
    from sipcli.sip.calls.answer import IncomingCall
    from sipcli.sip.calls.invite import OutgoingCall
    from sipcli.sip.calls.refer import Referral
    from sipcli.sip.calls.transfer import Transfer
    from sipcli.sip.oneshot import OneShot
    from sipcli.sip.registrations.register import Registration
    from sipcli.sip.subscriptions.publication import Publication
    from sipcli.sip.subscriptions.subscription import Subscription
    from sipcli.sip.subscriptions.substate import SubscriptionState
    from sipcli.sip.subscriptions.unasked import UnaskedNotify
    from sipcli.sip.syntax.message import Request, Response
    from sipcli.sip.syntax.uri import SipUri

__all__ = [
    "AnyCall",
    "CallAnswered",
    "CallConfirmed",
    "CallEarlyAnswer",
    "CallEnded",
    "CallIncoming",
    "CallLeaving",
    "CallOfferStale",
    "CallProgress",
    "CallReanswered",
    "CallRedirected",
    "CallReferred",
    "CallRefreshDue",
    "CallReoffered",
    "Event",
    "FlowReleased",
    "FlowWanted",
    "FlowWatched",
    "InfoReceived",
    "MessageReceived",
    "NotifyReceived",
    "ProtocolWarning",
    "PublicationChanged",
    "PublicationPhase",
    "RegistrationChanged",
    "RegistrationState",
    "RequestDone",
    "SubscriptionChanged",
    "SubscriptionPhase",
    "TransferChanged",
    "TransferState",
    "Why",
]

Why: TypeAlias = "GiveUp | str | None"
AnyCall: TypeAlias = "OutgoingCall | IncomingCall"
RegistrationState: TypeAlias = Literal[
    "trying", "waiting", "retrying", "registered", "refused", "failed", "unregistered"
]

TransferState: TypeAlias = Literal["trying", "accepted", "progress", "done", "failed"]
SubscriptionPhase: TypeAlias = Literal["trying", "pending", "active", "retrying", "refused", "failed", "terminated"]
PublicationPhase: TypeAlias = Literal["trying", "published", "retrying", "refused", "failed", "removed"]


# -- flows -----------------------------------------------------------------------------------------


class FlowWanted(NamedTuple):
    """Resolve, connect and verify *hop*; answer ``flow_ready`` or ``flow_failed`` with *ticket*.

    *excluding* are remote addresses that failed already (RFC 3263 section 4.3):
    give the next one, or fail.  *size* is the request's, in octets.  *account*
    chooses the TLS settings; None for a request of no account.
    """

    ticket: Ticket
    hop: Hop
    excluding: frozenset[Address] = frozenset()
    size: int = 0
    account: str | None = None


class FlowReleased(NamedTuple):
    """The core keeps no use for *flow*: a connection may be closed, a UDP association needs no more keep-alives."""

    flow: Flow


class FlowWatched(NamedTuple):
    """The core keeps *flow* alive itself: nobody else need ping it.  Not *watched*: not any more."""

    flow: Flow
    watched: bool


# -- registrations ---------------------------------------------------------------------------------


class RegistrationChanged(NamedTuple):
    """A registration moved.  *expires_s* and *contact* are the registrar's words, *flow* what carried them.

    ``refused``: the registrar refused our answer to its challenge; ``failed``:
    anything else that ended it; ``retrying``: the same, but another REGISTER
    goes out in *retry_in_s*.  ``waiting``: a person is awaited, and no challenge
    is held meanwhile; *contact* and *expires_s* are told while the old binding lives.
    """

    registration: Registration
    state: RegistrationState
    code: int | None = None
    reason: str = ""
    expires_s: int | None = None
    contact: str | None = None
    flow: Flow | None = None
    retry_in_s: float | None = None
    why: Why = None
    service_route: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        return self.registration.account


# -- calls -----------------------------------------------------------------------------------------


class CallProgress(NamedTuple):
    """A provisional response.  ``early`` carries early media's *sdp* (RFC 3960)."""

    call: OutgoingCall
    state: Literal["trying", "ringing", "early"]
    response: Response
    sdp: bytes | None = None


class CallAnswered(NamedTuple):
    """2xx to our INVITE.  *sdp* is the answer; if our INVITE had no offer it *is* the offer: call ``acknowledge``.

    It may have come early, in a reliable provisional response; None: UPDATE has changed the session since then.
    """

    call: OutgoingCall
    sdp: bytes | None
    response: Response


class CallRefreshDue(NamedTuple):
    """The session must be refreshed by an offer (RFC 4028): call ``reinvite`` with what was offered before."""

    call: AnyCall


class CallLeaving(NamedTuple):
    """Our BYE or CANCEL is on its way: nothing is to be sent or heard any more.  ``CallEnded`` follows."""

    call: AnyCall


class CallEnded(NamedTuple):
    """The call is over; nothing more will be told about it.

    *response* is the final response that ended it, if one did; *code* and
    *reason* are its, or what we sent ourselves.  *bye_answered*: what became of
    our BYE; None where we sent none, or did not wait for it.
    """

    call: AnyCall
    by: Literal["local", "remote", "network"]
    code: int | None = None
    reason: str = ""
    why: Why = None
    response: Response | None = None
    bye_answered: bool | None = None


class CallIncoming(NamedTuple):
    """Somebody calls: ``ring``, ``accept`` or ``reject`` it.  ``call.offer`` is None for a late offer."""

    call: IncomingCall


class CallConfirmed(NamedTuple):
    """The ACK to our 2xx came in.  *sdp* is its body: the answer, if the 2xx carried the offer."""

    call: IncomingCall
    sdp: bytes | None = None


class CallEarlyAnswer(NamedTuple):
    """The PRACK to early media that was our offer came in; *sdp* is the answer, None when it brought none."""

    call: IncomingCall
    sdp: bytes | None


class CallReoffered(NamedTuple):
    """re-INVITE or UPDATE from the other side: answer with ``answer_reinvite`` or ``reject_reinvite``.

    *offer* None asks us to offer (a re-INVITE without a body): what is given to
    ``answer_reinvite`` is then our offer, and ``CallReanswered`` brings the answer.
    """

    call: AnyCall
    offer: bytes | None
    request: Request


class CallReanswered(NamedTuple):
    """An offer of ours is settled: *sdp* is the answer, or None when it was refused (*code*, *why*): nothing changed.

    *asked*: it was the one that their re-INVITE without a body asked for, not one of ``reinvite``.
    """

    call: AnyCall
    sdp: bytes | None
    code: int | None = None
    reason: str = ""
    why: Why = None
    asked: bool = False


class CallOfferStale(NamedTuple):
    """Our re-INVITE still waits (challenged, or for glare) and the session changed meanwhile.

    Give it fresh SDP with ``call.replace_offer(sdp)`` before it goes out.
    """

    call: AnyCall


class InfoReceived(NamedTuple):
    """An INFO inside a call (RFC 6086); 200 went out already."""

    call: AnyCall
    request: Request


class CallRedirected(NamedTuple):
    """A 3xx: ``call.redirect`` to one of *targets*, the dearest first, or ``call.stay``.  Undecided it is a refusal."""

    call: OutgoingCall
    targets: tuple[SipUri, ...]
    response: Response


class CallReferred(NamedTuple):
    """A REFER: ``referral.accept``, with ``pending`` while a person is asked, or ``referral.refuse`` it.

    Undecided it is declined.  Whoever follows it calls ``referral.reference.target`` and reports to *referral*.
    """

    call: AnyCall
    referral: Referral


class TransferChanged(NamedTuple):
    """A transfer that we asked for: *code* is the answer to the REFER, or, from the first report on, the new call's.

    ``done`` without a code: the other side left, and did not say where to.
    """

    call: AnyCall
    transfer: Transfer
    state: TransferState
    code: int | None = None
    reason: str = ""
    why: Why = None


# -- subscriptions and publications ----------------------------------------------------------------


class SubscriptionChanged(NamedTuple):
    """A subscription moved (RFC 6665).  ``terminated``: it is over, by us or with the notifier's *reason*.

    ``refused``, ``failed``: it never began; ``retrying``: it was lost, and another
    SUBSCRIBE goes out in *retry_in_s*.  *expires_s* is what the notifier granted.
    """

    subscription: Subscription
    state: SubscriptionPhase
    code: int | None = None
    reason: str = ""
    expires_s: int | None = None
    retry_in_s: float | None = None
    why: Why = None
    response: Response | None = None


class NotifyReceived(NamedTuple):
    """A NOTIFY; 200 went out already.  *notifier* counts those whom one SUBSCRIBE reached, from 1."""

    subscription: Subscription
    notifier: int
    state: SubscriptionState
    request: Request


class PublicationChanged(NamedTuple):
    """A publication moved (RFC 3903); the states are those of a subscription, in its own words."""

    publication: Publication
    state: PublicationPhase
    code: int | None = None
    reason: str = ""
    expires_s: int | None = None
    retry_in_s: float | None = None
    why: Why = None


# -- one-shots and the rest ------------------------------------------------------------------------


class RequestDone(NamedTuple):
    """The last final response to a one-shot, or *why* there is none.  *rtt_s*: from its last sending, in seconds."""

    oneshot: OneShot
    response: Response | None
    why: Why = None
    rtt_s: float | None = None


class MessageReceived(NamedTuple):
    """A MESSAGE (RFC 3428); 200 went out already.  *account* is None when it is for none of ours."""

    account: str | None
    request: Request
    flow: Flow


class ProtocolWarning(NamedTuple):
    """Something was dropped, or is not as it should be; *code* is a stable word."""

    code: str
    message: str


if TYPE_CHECKING:
    Event: TypeAlias = (
        FlowWanted
        | FlowReleased
        | FlowWatched
        | RegistrationChanged
        | CallProgress
        | CallRefreshDue
        | CallAnswered
        | CallLeaving
        | CallEnded
        | CallIncoming
        | CallConfirmed
        | CallEarlyAnswer
        | CallReoffered
        | CallReanswered
        | CallOfferStale
        | CallRedirected
        | CallReferred
        | TransferChanged
        | InfoReceived
        | RequestDone
        | MessageReceived
        | NotifyReceived
        | UnaskedNotify
        | PublicationChanged
        | SubscriptionChanged
        | ProtocolWarning
        | AuthEvent
    )
else:
    Event = object  # the events of authentication are not imported here; nobody asks isinstance(x, Event)
