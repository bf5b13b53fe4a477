"""Dialogs: their identity, route set, sequence numbers and target refresh (RFC 3261 section 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sipcli.errors import ParseError
from sipcli.sip.flow import Flow, Hop, carries
from sipcli.sip.letter import Letter
from sipcli.sip.syntax.message import Message, Request, Response
from sipcli.sip.syntax.uri import NameAddr, SipUri
from sipcli.sip.targets import DEFAULT_PORTS, CSeqCounter, Target, is_literal, secured, through

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.auth import AuthSession
    from sipcli.sip.authn.origin import Origin
    from sipcli.sip.core import Core
    from sipcli.sip.transactions.transaction import ServerTransaction

__all__ = ["Dialog", "DialogId", "DialogUsage"]

DialogId: TypeAlias = tuple[str, str, str]
"""Call-ID, local tag, remote tag (empty where an old peer gave none)."""

# What may refresh the remote target (RFC 3261 section 12.2, RFC 3311 section 5.1, RFC 4488 section 4, RFC 6665).
_REFRESHING = frozenset(("INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY"))


class DialogUsage(Protocol):
    """Whoever a dialog was made for: a call, a subscription."""

    def on_request(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        """A request inside *dialog* that is well formed, in order, of an allowed method, and no NOTIFY."""

    def acknowledge_again(self, response: Response) -> bool:
        """A 2xx to an INVITE of ours that has no transaction any more; False if it knows nothing of it."""
        ...


class Dialog:
    """A peer-to-peer relationship that outlives one transaction.

    *local* and *remote* are the From and To of our requests, tags included.
    *flow* is what carried the dialog last: it serves again where the route
    names the very address at its other end, so that a proxy or peer behind a
    connection it opened itself is reached at all.  *ours*: we made the call;
    *at_home*: its INVITE went over a flow to a server of the account, or came
    over one.  *carried*: its first request passed somebody between the other
    end and us.  *session* answers the challenges inside it; None: the account's.
    *secure*: it was begun with ``sips`` over TLS, and goes on over TLS whatever
    the Contact and the routes of the other side say (section 12.1, RFC 5630).
    """

    __slots__ = (
        "_core",
        "account",
        "at_home",
        "call_id",
        "carried",
        "flow",
        "id",
        "local",
        "local_cseq",
        "ours",
        "remote",
        "remote_cseq",
        "remote_target",
        "route_set",
        "secure",
        "session",
        "usage",
    )

    def __init__(
        self,
        core: Core,
        account: AccountState | None,
        dialog_id: DialogId,
        *,
        local: str,
        remote: str,
        remote_target: SipUri,
        route_set: tuple[str, ...],
        flow: Flow | None,
        ours: bool,
        at_home: bool,
        secure: bool,
        carried: bool = False,
        local_cseq: int = 0,
        remote_cseq: int | None = None,
    ) -> None:
        self._core = core
        self.account = account
        self.id = dialog_id
        self.call_id = dialog_id[0]
        self.local = local
        self.remote = remote
        self.remote_target = remote_target
        self.route_set = route_set
        self.flow = flow
        self.ours = ours
        self.at_home = at_home
        self.secure = secure
        self.carried = carried
        self.local_cseq = CSeqCounter(local_cseq)
        self.remote_cseq = remote_cseq
        self.session: AuthSession | None = None
        self.usage: DialogUsage | None = None

    @classmethod
    def of_response(
        cls, core: Core, account: AccountState | None, request: Request, response: Response, flow: Flow | None
    ) -> Dialog:
        """UAC side (section 12.1.2): the route set is Record-Route in reverse order."""
        target = _contact_of(response)
        return cls(
            core,
            account,
            (request.call_id, request.from_.tag or "", response.to.tag or ""),
            local=request.get("From"),
            remote=response.get("To"),
            remote_target=target if target is not None else request.uri,
            route_set=_route_set(response, reverse=True),
            flow=flow,
            ours=True,
            at_home=account is not None and flow is not None and account.origin(flow).bound,
            secure=request.uri.secure,
            local_cseq=request.cseq.number,
        )

    @classmethod
    def of_request(
        cls, core: Core, account: AccountState | None, request: Request, local_tag: str, flow: Flow
    ) -> Dialog:
        """UAS side (section 12.1.1): the route set is Record-Route in the same order.  ParseError without a Contact."""
        target = _contact_of(request)
        if target is None:
            raise ParseError(f"{request.method} needs one Contact with a SIP URI")
        arrival = core.arrival or flow  # *flow* is the way back, whose port the caller may have chosen
        return cls(
            core,
            account,
            (request.call_id, local_tag, request.from_.tag or ""),
            local=str(request.to.with_tag(local_tag)),
            remote=request.get("From"),
            remote_target=target,
            route_set=_route_set(request),
            flow=flow,
            ours=False,
            at_home=account is not None and account.origin(arrival).bound,
            secure=request.uri.secure and arrival.encrypted,
            carried=_was_carried(request),
            remote_cseq=request.cseq.number,
        )

    # -- registry ------------------------------------------------------------------------------------

    def open(self, usage: DialogUsage) -> None:
        self.usage = usage
        self._core.dialogs[self.id] = self

    def close(self) -> None:
        """From now on a request to this dialog earns 481."""
        if self._core.dialogs.get(self.id) is self:
            del self._core.dialogs[self.id]
            self._core.departed.append(self.id)

    # -- our requests --------------------------------------------------------------------------------

    def target(self) -> Target:
        target = through(self.remote_target, self.route_set)
        if not self.secure or target.hop.secure:
            return target
        if not target.routes:
            return through(secured(self.remote_target), ())
        first = NameAddr.parse(self.route_set[0]).sip_uri
        return target._replace(hop=secured(first).hop)

    def flow_for(self, hop: Hop) -> Flow | None:
        """The dialog's own flow, if *hop* is the address at its other end; else the one that the account is bound by.

        A proxy that came back is reached over what we registered with since, and
        so by the name that its certificate proves (RFC 5626 section 4.3).
        """
        registration = None if self.account is None else self.account.registration
        for flow in (self.flow, None if registration is None else registration.flow):
            if flow is not None and self._leads_to(flow, hop):
                return flow
        return None

    def _leads_to(self, flow: Flow, hop: Hop) -> bool:
        if not is_literal(hop.host) or not self._core.flows.alive(flow):
            return False
        port = hop.port if hop.port is not None else DEFAULT_PORTS[hop.transport]
        if flow.remote != (hop.host, port) or not carries(flow.transport, hop.transport):
            return False
        return flow.secure or not hop.secure

    def letter(
        self,
        method: str,
        *,
        contact: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Letter:
        """A request inside this dialog (section 12.2.1.1)."""
        return Letter(
            method=method,
            target=self.target,
            sender=self.local,
            recipient=self.remote,
            call_id=self.call_id,
            cseq=self.local_cseq,
            contact=contact,
            headers=headers,
            body=body,
            content_type=content_type,
            standing=self.standing,
            session=self.session,
        )

    def standing(self, origin: Origin, target: Target) -> Origin:
        """What *origin*, to which a request of this dialog goes on its way to *target*, may ask of us (threat T01).

        Whoever is behind a proxy can have it carry a challenge to us, with any
        realm and a nonce of his choice.  So nobody is answered in a call that did
        not come through our own server, and nobody behind it in a call that we
        did not make; in one that we made, only what that server asked of us
        itself.  That a route set is missing shows no B2BUA: a proxy may stay out of
        the route, and the other end's Contact lead back to it all the same.  Of a
        call to us, the Vias tell; a response to ours has none of those it passed.
        """
        if not origin.bound:
            return origin
        if not self.at_home or (not self.ours and (target.routes or self.carried)):
            return origin._replace(bound=False)
        return origin._replace(relays=self.ours)

    # -- their requests ------------------------------------------------------------------------------

    def in_order(self, request: Request) -> bool:
        """False earns 500: the number is lower than one we saw (section 12.2.2).  Gaps are fine."""
        return self.remote_cseq is None or request.cseq.number >= self.remote_cseq

    def saw(self, request: Request, flow: Flow) -> None:
        """*request* was accepted for handling."""
        self.remote_cseq = request.cseq.number
        self.flow = flow

    def refresh(self, message: Message) -> None:
        """Take the new remote target from a target refresh request, or from the 2xx to ours."""
        if message.cseq.method in _REFRESHING and (target := _contact_of(message)) is not None:
            self.remote_target = target


def _was_carried(request: Request) -> bool:
    """Who sends a request writes one Via, and each proxy on the way adds one that he cannot take away."""
    lines = request.headers.octets("via")
    return len(lines) > 1 or b"," in lines[0]


def _contact_of(message: Message) -> SipUri | None:
    """The one SIP Contact; None when there is none that can be used, which is no reason to lose a call."""
    try:
        contacts = message.contacts
        return contacts[0].sip_uri.replace(headers=()) if contacts else None
    except ParseError:
        return None


def _route_set(message: Message, *, reverse: bool = False) -> tuple[str, ...]:
    """ParseError when a Record-Route is none: whoever follows it would be lost."""
    routes = message.record_routes
    for route in routes:
        _ = route.sip_uri
    return tuple(str(route) for route in (reversed(routes) if reverse else routes))
