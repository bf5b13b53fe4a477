"""The whole core behind seven calls in and three out; sans-IO (RFC 3261 section 8).

::

    in    receive  handle_timer  flow_ready  flow_failed  flow_lost  address_lost  network_changed
    out   next_timer  next_event  packets_to_send
    and   the commands: add_account, register, invite, message, options, request …

Every way in sets ``now`` once, in seconds of any monotonic clock; commands read
it, so whoever calls them sets it first.  Commands name where a request shall
go, never a flow; what comes of them is told by events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sipcli.errors import LocalProtocolError, ParseError, SipcliError
from sipcli.sip.account import AccountState
from sipcli.sip.auth import AuthSession
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.core import Core
from sipcli.sip.events import Event
from sipcli.sip.exchange import ExchangeState
from sipcli.sip.flow import Flow, Hop, Ticket
from sipcli.sip.letter import Letter
from sipcli.sip.oneshot import OneShot, patience_for
from sipcli.sip.profile import AccountProfile, EngineConfig
from sipcli.sip.reception import Reception
from sipcli.sip.registrations.keepalive import is_keepalive
from sipcli.sip.registrations.outage import flows_in_use, leave_address, lose, try_again
from sipcli.sip.registrations.register import Registration
from sipcli.sip.subscriptions.publication import Publication
from sipcli.sip.subscriptions.subscription import Subscription
from sipcli.sip.syntax.message import Request, Response, parse_message
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import CSeqCounter, out_of_dialog

__all__ = ["AccountProfile", "Engine", "EngineConfig"]


class Engine:
    """One SIP user agent, without a socket, a clock or a thread."""

    __slots__ = ("_core", "_reception")

    def __init__(self, config: EngineConfig | None = None) -> None:
        self._core = Core(config if config is not None else EngineConfig())
        self._reception = Reception(self._core)

    @property
    def config(self) -> EngineConfig:
        return self._core.config

    @property
    def now(self) -> float:
        """The instant of the current turn, in seconds."""
        return self._core.now

    @now.setter
    def now(self, instant: float) -> None:
        self._core.now = instant

    # -- in ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One whole message (a datagram, or what the framer cut from a stream).  Never raises."""
        core = self._core
        core.now = now
        core.arrival = flow
        core.flows.seen(flow)
        if is_keepalive(data):
            if (keeper := core.keepers.get(flow.id)) is not None:
                keeper.heard(data)
            return
        try:
            message = parse_message(data)
            if isinstance(message, Response):
                if not core.layer.on_response(message, flow):
                    self._stray(message)
            else:
                self._reception.on_request(message, flow)
        except ParseError as error:
            self._malformed(error, flow)
        except SipcliError as error:
            core.warn("protocol", f"{flow}: {error}")
        except Exception as error:  # a bug of ours must not end the transport that everybody uses
            core.warn("fault", f"{type(error).__name__}: {error}")
        finally:
            core.arrival = None

    def handle_timer(self, now: float) -> None:
        """Everything that is due at *now*."""
        core = self._core
        core.now = now
        for owner, name in core.wheel.due(now):
            try:
                owner.on_timer(name)
            except Exception as error:  # one owner's fault must not cost the others their timers
                core.warn("fault", f"{type(error).__name__} in timer {name}: {error}")

    def flow_ready(self, ticket: Ticket, flow: Flow, now: float) -> None:
        """The answer to FlowWanted: *flow* leads to the hop."""
        self._core.now = now
        self._core.flows.ready(ticket, flow)

    def flow_failed(self, ticket: Ticket, why: str, now: float) -> None:
        """The other answer; *why* is one sentence that begins with ``dns:``, ``connect:`` or ``tls:``."""
        self._core.now = now
        self._core.flows.failed(ticket, why)

    def flow_lost(self, flow: Flow, why: str, now: float) -> None:
        """Nothing goes through *flow* any more."""
        self._core.now = now
        lose(self._core, flow, why)

    def address_lost(self, host: str, now: float) -> None:
        """*host* is no address of this machine any more: registrations bind anew; see :attr:`Call.adrift`."""
        self._core.now = now
        leave_address(self._core, host)

    def network_changed(self, now: float) -> None:
        """What failed without an answer may succeed now."""
        self._core.now = now
        try_again(self._core)

    @property
    def local_hosts(self) -> set[str]:
        """Our own addresses at which something of us may be reached, or begins."""
        return {flow.local[0] for flow in flows_in_use(self._core)}

    # -- out -----------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """The instant at which ``handle_timer`` wants to be called."""
        return self._core.wheel.next()

    def next_event(self) -> Event | None:
        events = self._core.events
        return events.popleft() if events else None

    def packets_to_send(self) -> Iterator[tuple[Flow, bytes]]:
        """What is to go on the wire now, in order; taken out."""
        core = self._core
        if core.outbox:
            packets, core.outbox = core.outbox, []
            yield from packets

    # -- accounts --------------------------------------------------------------------------------------------

    def add_account(self, profile: AccountProfile, session: AuthSession) -> None:
        """*session* gets our clock and our events; all usages of the account share it."""
        core = self._core
        if profile.name in core.accounts:
            raise LocalProtocolError(f"there is an account {profile.name!r} already")
        session.clock = core.clock
        session.emit = core.emit
        core.accounts[profile.name] = AccountState(profile, session, core.new_call_id())

    def remove_account(self, name: str) -> None:
        """Revoke everything of it: challenges, requests, calls; the registration is dropped, not taken back."""
        account = self._core.accounts.pop(name, None)
        if account is not None:
            self._close((account,), f"closed: account {name} was removed")

    def close(self) -> None:
        """Remove every account, and end what belongs to none."""
        accounts = tuple(self._core.accounts.values())
        self._core.accounts.clear()
        self._close((*accounts, None), "closed: the engine was closed")

    def _close(self, accounts: tuple[AccountState | None, ...], why: str) -> None:
        """All of *accounts* in one walk over what there is, which may be as much as there are accounts."""
        core, gone = self._core, frozenset(accounts)
        for account in accounts:
            if account is not None:
                account.closed = True
                if account.registration is not None:
                    account.registration.close(why)
        for call in tuple(core.calls.values()):
            if call.belongs_to(gone):
                call.hangup()
        for usage in tuple(core.standing):
            if usage.belongs_to(gone):
                usage.close(why)
        for exchange in tuple(core.exchanges):
            if not exchange.belongs_to(gone):
                continue
            exchange.closing = True  # a BYE or CANCEL that is out may end in peace
            if isinstance(exchange.owner, OneShot) or exchange.state is ExchangeState.CHALLENGED:
                exchange.abort(why)
        core.flows.forget_accounts({account.name for account in accounts if account is not None})

    def _account(self, name: str | None) -> AccountState | None:
        if name is None:
            return None
        account = self._core.accounts.get(name)
        if account is None:
            raise LocalProtocolError(f"there is no account {name!r}")
        return account

    # -- commands --------------------------------------------------------------------------------------------

    def register(self, account: str, *, expires: int | None = None, keep: bool = True) -> Registration:
        """Bind, and stay bound.  While a registration of this account lives, it is that one, refreshed."""
        state = self._account(account)
        assert state is not None
        wanted = state.profile.expires if expires is None else expires
        if wanted <= 0:
            raise LocalProtocolError("a binding lasts for a second at least; unregister() takes one back")
        registration = state.registration
        if registration is None:
            registration = state.registration = Registration(self._core, state, expires=wanted, keep=keep)
        else:
            registration.expires, registration.keep = wanted, keep
        registration.refresh()
        return registration

    def invite(
        self,
        account: str | None,
        target: SipUri,
        sdp: bytes | None,
        *,
        headers: Sequence[tuple[str, str]] = (),
        shared_auth: bool | None = None,
    ) -> OutgoingCall:
        """Call *target*.  *sdp* None: the offer comes in the answer, and ``acknowledge`` answers it.

        *shared_auth* False gives it an AuthSession of its own; None: as the account says.
        """
        call = OutgoingCall(self._core, self._account(account), target, sdp, headers, shared_auth=shared_auth)
        call.start()
        return call

    def way_to(self, account: str | None, target: SipUri) -> tuple[Hop, Flow | None]:
        """Where a new request to *target* would go first, and what would carry it; None: that must be looked for."""
        state = self._account(account)
        hop = out_of_dialog(state, target).hop
        return hop, self._core.flows.find(state, hop)

    def message(
        self,
        account: str | None,
        target: SipUri,
        body: bytes,
        content_type: str = "text/plain",
        headers: Sequence[tuple[str, str]] = (),
    ) -> OneShot:
        """An instant message (RFC 3428)."""
        return self.request(account, "MESSAGE", target, headers, body, content_type)

    def options(self, account: str | None, target: SipUri, headers: Sequence[tuple[str, str]] = ()) -> OneShot:
        """Ask what *target* can (RFC 3261 section 11)."""
        return self.request(account, "OPTIONS", target, headers=(*headers, ("Accept", "application/sdp")))

    def request(
        self,
        account: str | None,
        method: str,
        target: SipUri,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        *,
        shared_auth: bool | None = None,
    ) -> OneShot:
        """Any other request outside of a dialog; ``RequestDone`` follows.  *shared_auth*: see :meth:`invite`."""
        if method in ("INVITE", "ACK", "BYE", "CANCEL", "REGISTER"):
            raise LocalProtocolError(f"{method} has a verb of its own")
        core, state = self._core, self._account(account)
        letter = Letter.outside(
            method,
            state,
            target,
            tag=core.new_tag(),
            call_id=core.new_call_id(),
            cseq=CSeqCounter(),
            contact="" if method in ("OPTIONS", "SUBSCRIBE") else None,
            headers=headers,
            body=body,
            content_type=content_type,
            session=None if state is None else state.session_for(shared=shared_auth),
        )
        oneshot = OneShot(core, state, letter, patience=patience_for(method, core.config.timers.f))
        oneshot.start()
        return oneshot

    def subscribe(
        self,
        account: str | None,
        target: SipUri,
        event: str,
        *,
        accept: tuple[str, ...],
        expires: int,
        forks: bool = False,
    ) -> Subscription:
        """Be told of *event* at *target* (RFC 6665); ``SubscriptionChanged`` and ``NotifyReceived`` follow."""
        subscription = Subscription(
            self._core, self._account(account), target, event, accept=accept, expires=expires, forks=forks
        )
        subscription.start()
        return subscription

    def publish(
        self, account: str, target: SipUri, event: str, body: bytes, content_type: str, *, expires: int
    ) -> Publication:
        """Keep *body* published as the state of *event* (RFC 3903); ``PublicationChanged`` follows."""
        state = self._account(account)
        assert state is not None
        publication = Publication(self._core, state, target, event, body, content_type, expires=expires)
        publication.start()
        return publication

    # -- what no transaction takes -----------------------------------------------------------------------------

    def _stray(self, response: Response) -> None:
        """A 2xx to an INVITE that came after Timer M is acknowledged all the same (RFC 3261 section 13.2.2.4)."""
        core = self._core
        if response.cseq.method != "INVITE" or not 200 <= response.status < 300:
            return
        dialog = core.dialogs.get((response.call_id, response.from_.tag or "", response.to.tag or ""))
        if dialog is not None and dialog.usage is not None:
            dialog.usage.acknowledge_again(response)

    def _malformed(self, error: ParseError, flow: Flow) -> None:
        """Answer what can be answered, statelessly; drop the rest (RFC 3261 section 8.2); tell of both."""
        core = self._core
        request = getattr(error, "partial", None)
        core.warn("malformed", f"{flow}: {error}")
        if isinstance(request, Request) and request.method != "ACK":
            core.send(flow, request.reply(error.status, to_tag=core.new_tag()).to_bytes())
