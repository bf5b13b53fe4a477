"""One logical request until its last final response: its authorised retries, and whichever server answers.

RFC 3261 sections 8.1 and 22, RFC 3263 section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sipcli.sip.auth import GiveUp, Pending, RealmState
from sipcli.sip.authn.origin import Origin
from sipcli.sip.events import Why
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.flowsearch import FlowSearch
from sipcli.sip.letter import Letter
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.targets import ANONYMOUS_USER, Target, contact_uri, is_literal
from sipcli.sip.transactions.client_transaction import NOBODY, ClientTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.auth import AuthSession, ChallengeToken
    from sipcli.sip.core import Core

__all__ = ["Exchange", "ExchangeOwner", "ExchangeState"]


class ExchangeState(Enum):
    """``RESOLVING → SENT ⇄ CHALLENGED → DONE``; RESOLVING again on fail-over.

    CHALLENGED: a final response came (an INVITE's is acknowledged already), *no
    transaction exists*, a token does.  That is why leaving from there puts
    nothing on the wire, and why the wait may be of any length on any transport.
    """

    RESOLVING = "resolving"
    SENT = "sent"
    CHALLENGED = "challenged"
    DONE = "done"


class ExchangeOwner(Protocol):
    """Whoever asked: a registration, a call, a one-shot."""

    def on_provisional(self, exchange: Exchange, response: Response) -> None: ...

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        """The last final response, or none and *why*.  To an INVITE, further 2xx may follow (RFC 6026 section 7.2)."""


class Exchange:
    """A :class:`~sipcli.sip.auth.Challenged`: what an AuthSession knows of a request, and what it resumes.

    CSeq, branch, Via and Contact are taken when a request is sent, never before:
    while a person looked for a password, a BYE may have used the next number.
    """

    __slots__ = (
        "__weakref__",
        "_account",
        "_core",
        "_held",
        "_origin",
        "_outcome",
        "_search",
        "_sends",
        "_session",
        "_token",
        "closing",
        "contact",
        "flow",
        "gate",
        "hop",
        "interactive",
        "last",
        "letter",
        "owner",
        "patience",
        "realms",
        "sent_at",
        "state",
        "tx",
    )

    def __init__(
        self,
        core: Core,
        owner: ExchangeOwner,
        account: AccountState | None,
        letter: Letter,
        *,
        interactive: bool = True,
        patience: float | None = None,
        flow_home: Callable[[Hop], Flow | None] | None = None,
    ) -> None:
        """*patience*: seconds after which an unanswered challenge is of no use any more (A22, A23).

        *flow_home*: a dialog's own idea of the flow for a hop, asked first.
        """
        self._core = core
        self.owner = owner
        self._account = account
        self._session: AuthSession | None = letter.session
        if self._session is None and account is not None:
            self._session = account.session
        self.letter = letter
        self.interactive = interactive
        self.patience = None if patience is None else core.now + patience
        self._search = FlowSearch(core, account, flow_home)
        self.state = ExchangeState.RESOLVING
        self.realms: dict[str, RealmState] = {}
        self.last: Request | None = None
        """What was sent last, if anything was."""
        self._origin: Origin | None = None
        self.contact = ""
        """The URI of our Contact as last sent."""
        self.flow: Flow | None = None
        self.hop: Hop | None = None
        self.tx: ClientTransaction | None = None
        self.sent_at = core.now
        self.closing = False
        """The owner wants no further attempt: neither another server nor an answer to a challenge."""
        self.gate: Callable[[], bool] | None = None
        """Asked before each sending: may it go out now?  After a no, the owner calls :meth:`release`."""
        self._sends = 0
        self._outcome: tuple[Response | None, Why] = (None, None)
        self._token: ChallengeToken | None = None
        self._held = False

    # -- what an AuthSession sees ----------------------------------------------------------------

    @property
    def account(self) -> str:
        return self._account.name if self._account is not None else ""

    @property
    def method(self) -> str:
        return self.letter.method

    @property
    def call_id(self) -> str:
        return self.letter.call_id

    @property
    def request(self) -> Request:
        """As last sent; nobody asks before."""
        assert self.last is not None
        return self.last

    @property
    def origin(self) -> Origin:
        assert self._origin is not None
        return self._origin

    def resume(self) -> None:
        """Build and send the next attempt, to the server that challenged if it is still there (A26)."""
        if self.state not in (ExchangeState.CHALLENGED, ExchangeState.SENT):
            return
        self._leave_transaction()
        self._token = None
        challenge, self._outcome = self._outcome[0], (None, None)
        if self._sends >= self._core.config.max_sends:
            self._finish(challenge, GiveUp.TOO_MANY_ATTEMPTS)
        elif self.flow is not None and self._core.flows.alive(self.flow):
            self.on_found(self.flow)
        else:
            self._resolve()

    def give_up(self, why: GiveUp) -> None:
        """The session answers no more: the challenge is the last word."""
        if self.state is ExchangeState.CHALLENGED:
            self._finish(self._outcome[0], why)

    # -- what an owner says ------------------------------------------------------------------------

    def start(self) -> None:
        self._core.exchanges.add(self)
        self._resolve()

    def stop(self) -> None:
        """End here: nothing more is sent, nobody is told, a pending token is revoked."""
        if self.state is ExchangeState.DONE:
            return
        challenged = self.state is ExchangeState.CHALLENGED
        self._close()
        if self.tx is not None:
            self.tx.stop()
            self.tx = None
        if challenged and self._session is not None:
            self._session.revoke(self)

    def release(self) -> None:
        """The gate is open: send what was held back, with a fresh route, CSeq and body."""
        if self._held and self.state is ExchangeState.RESOLVING:
            self._held = False
            self._resolve()

    def belongs_to(self, accounts: Container[AccountState | None]) -> bool:
        return self._account in accounts

    def abort(self, why: Why) -> None:
        """:meth:`stop`, and the owner is told *why*."""
        if self.state is not ExchangeState.DONE:
            self.stop()
            self.owner.on_final(self, None, why)

    def flow_lost(self, flow: Flow) -> None:
        """The connection of a challenged exchange broke: the retry will need another."""
        if self.flow is not None and self.flow.id == flow.id and self.state is ExchangeState.CHALLENGED:
            self.flow = None

    # -- on the way out ----------------------------------------------------------------------------

    def _resolve(self) -> None:
        self.state = ExchangeState.RESOLVING
        target = self.letter.target()
        self.hop = target.hop
        self._search.begin(self, self.letter, target)

    def on_found(self, flow: Flow) -> None:
        try:
            self._send(flow)
        except Exception:
            # Whoever asked has returned long ago.  The token is spent and no timer runs: without an end, this is none.
            if self._sends:
                self._finish(None, GiveUp.ABANDONED)
            raise

    def on_nothing_found(self, why: str) -> None:
        response, reason = self._outcome
        self._finish(response, reason if response is not None or reason is not None else why)

    def _send(self, flow: Flow) -> None:
        core, account = self._core, self._account
        self.state = ExchangeState.RESOLVING
        if self.gate is not None and not self.gate():
            self._held = True
            return
        target = self.letter.target()
        request = self._stamp(flow, target)
        self.flow = flow
        origin = account.origin(flow) if account is not None else Origin.of(flow, bound=False)
        self._origin = origin if self.letter.standing is None else self.letter.standing(origin, target)
        self.last = request
        if self._session is not None:
            self.last = request = self._session.authorize(self, request)
        if (why := self._search.unfit(request, flow, target.hop)) is not None:
            self._finish(None, why)
            return
        if self._search.outgrown(self, request, flow, target.hop):
            return
        self._sends += 1
        self.sent_at = core.now
        self.state = ExchangeState.SENT
        self.tx = core.layer.request(request, flow, self)

    def _stamp(self, flow: Flow, target: Target) -> Request:
        """The request as it goes out to *target* on *flow*, all but its credentials."""
        core, letter = self._core, self.letter
        self.hop = target.hop
        if letter.contact is not None:
            self.contact = self._contact(flow, secure=target.secure)
        return letter.stamp(target, flow, core.layer.new_branch(), self.contact, core.config.user_agent)

    def _contact(self, flow: Flow, *, secure: bool) -> str:
        if self._account is None:
            return contact_uri(ANONYMOUS_USER, flow, secure=secure)
        if self.letter.method == "REGISTER":  # what is bound is where we are, never a name that stands for it
            return contact_uri(self._account.profile.contact_user, flow, secure=secure)
        return self._account.outbound.contact(flow, secure=secure)

    # -- on the way in -----------------------------------------------------------------------------

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        if tx is not self.tx:
            return
        status = response.status
        if self.state is ExchangeState.DONE:
            if status < 300:  # another fork, or the same 2xx once more
                self.owner.on_final(self, response, None)
        elif status < 200:
            self._progress(response)
        elif status in (401, 407):
            self._challenged(response)
        elif status != 503 or not self._fail_over(response, None):
            self._finish(response, self._feedback(response))

    def _progress(self, response: Response) -> None:
        if response.status > 100 and self._session is not None and not self._from_elsewhere():
            self._session.passed(self)  # but 100 is the next hop's alone, before it has looked at us
        self.owner.on_provisional(self, response)

    def on_timeout(self, tx: ClientTransaction) -> None:
        if tx is self.tx and self.state is ExchangeState.SENT:
            why = f"timeout: no answer from {tx.flow}"
            if not self._fail_over(None, why):
                self._finish(None, why)

    def on_transport_error(self, tx: ClientTransaction, why: str) -> None:
        if tx is self.tx and self.state is ExchangeState.SENT and not self._fail_over(None, why):
            self._finish(None, why)

    def on_timer(self, name: str) -> None:
        """The ceiling of a token: whatever forgot us, this ends it."""
        if self.state is not ExchangeState.CHALLENGED or self._session is None:
            return
        self._session.expire(self._core.now)
        if self._token is not None and self._token.live:  # our own patience ends before the token's
            self._session.abandon(self._token, GiveUp.DEADLINE)

    def _challenged(self, response: Response) -> None:
        session = self._session
        if session is None or self.closing:
            self._finish(response, GiveUp.NO_CREDENTIALS if session is None else None)
            return
        self._check_arrival()
        self._outcome = (response, None)
        outcome = session.challenge(self, response)
        if isinstance(outcome, GiveUp):
            self._finish(response, outcome)
        elif isinstance(outcome, Pending):
            self._leave_transaction()
            self.state = ExchangeState.CHALLENGED
            self._token = outcome.token
            when = outcome.token.expires_at
            self._core.wheel.arm(self, "token", when if self.patience is None else min(when, self.patience))
        else:
            self.resume()

    def _check_arrival(self) -> None:
        """What came from elsewhere than our request went is neither that server's challenge nor its verdict (T28).

        Whoever is further down the path knows our branch and could write to us
        directly.  RFC 3261 section 18.1.2 matches responses by branch and method,
        not by source, and over UDP a server with several addresses may answer from
        another: so the response itself counts - who could forge it could as well
        end the request - but it asks for no secret, and shows none to be right or
        wrong.
        """
        arrival = self._core.arrival
        if arrival is not None and self._from_elsewhere():
            self._origin = Origin.of(arrival, bound=False)

    def _from_elsewhere(self) -> bool:
        arrival, flow = self._core.arrival, self.flow
        if arrival is None or flow is None or self._account is None:
            return False
        same = (arrival.remote, arrival.encrypted) == (flow.remote, flow.encrypted)  # anybody can write UDP from there
        return not same and not self._account.origin(arrival).bound

    def _feedback(self, response: Response) -> Why:
        """Tell the session what this says about the secret that was sent, if one was."""
        session = self._session
        if session is None:
            return None
        self._check_arrival()
        if response.status != 403:
            session.accepted(self, response)
            return None
        why = session.refused(self, response)
        carried = "authorization" in self.request.headers or "proxy-authorization" in self.request.headers
        return why if carried else None

    # -- fail-over and the end -----------------------------------------------------------------------

    def _fail_over(self, response: Response | None, why: Why) -> bool:
        """Try the next server with a new branch (RFC 3263 section 4.3).  False when there is nothing left to try."""
        flow, hop = self.flow, self.hop
        if flow is None or hop is None or self.closing:
            return False
        self._core.flows.forget(flow)
        if self._sends >= self._core.config.max_sends or is_literal(hop.host):
            return False
        self._search.exclude(flow)
        self._outcome = (response, why)
        self._leave_transaction()
        self._resolve()
        return True

    def _leave_transaction(self) -> None:
        if self.tx is not None:
            self.tx.user = NOBODY  # it lingers to absorb repetitions, and need not keep us alive meanwhile
            self.tx = None
        self._core.wheel.disarm(self)

    def _close(self) -> None:
        self.state = ExchangeState.DONE
        self._token = None  # it refers to us: without this only the collector could free either
        self._core.exchanges.discard(self)
        self._core.wheel.disarm(self)
        self._search.stop()

    def _finish(self, response: Response | None, why: Why) -> None:
        self._close()
        if self.letter.method != "INVITE":  # to an INVITE, the 2xx of other forks may still come
            self._leave_transaction()
        self.owner.on_final(self, response, why)
