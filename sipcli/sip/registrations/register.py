"""Registration: bind, keep bound, unbind (RFC 3261 section 10.2, RFC 3608 section 6.1, RFC 5626 section 4.5).

::

    IDLE → REGISTERING → BOUND ⇄ REFRESHING → UNBINDING → GONE
           any failure, while it is to be kept: → RETRYING (backs off) → REGISTERING
           nobody but a person has the secret:  → WAITING → refresh() → REGISTERING
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sipcli.sip.authn.policy import GiveUp
from sipcli.sip.events import RegistrationChanged, RegistrationState, Why
from sipcli.sip.exchange import Exchange, ExchangeState
from sipcli.sip.flow import Flow
from sipcli.sip.letter import Letter
from sipcli.sip.pauses import refresh_in, retry_after
from sipcli.sip.registrations.binding import Binding, granted, service_route
from sipcli.sip.registrations.keepalive import keep_alive, leave_alone
from sipcli.sip.registrations.outbound import FIRST_HOP_LACKS_OUTBOUND
from sipcli.sip.registrations.pace import SPREAD, Pace
from sipcli.sip.softstate import SoftState, verdict
from sipcli.sip.syntax.message import Response, code_and_reason
from sipcli.sip.targets import Target, through

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["Binding", "Registration", "State"]

SIGN_IN_PACE = 300.0
"""Seconds from one unused sign-in to the next, in the long run: a code often lives that long, and none is hammered."""
LEAST_PAUSE = 5.0
STORE_TIME = 300.0
"""Longest pause while it is our own store that does not answer: no server is spared by a longer one."""
LAST_CHANCE = 5.0
"""Seconds below which what is left of a binding is not halved any more."""
# Nobody refused anything: the secret was not to be had in time.
_NO_SECRET = frozenset((GiveUp.NO_CREDENTIALS, GiveUp.DEADLINE))


class State(Enum):
    IDLE = "idle"
    REGISTERING = "registering"
    BOUND = "bound"
    REFRESHING = "refreshing"
    RETRYING = "retrying"
    WAITING = "waiting"
    UNBINDING = "unbinding"
    GONE = "gone"


class Registration(SoftState):
    """One account's binding at its registrar; at most one REGISTER is outstanding, a pending challenge included."""

    __slots__ = (
        "_account",
        "_begun_at",
        "_flow",
        "_offline",
        "_pace",
        "_rebind",
        "_unbind",
        "_waited",
        "_where",
        "binding",
        "bound_at",
        "keep",
        "state",
    )

    def __init__(self, core: Core, account: AccountState, *, expires: int, keep: bool) -> None:
        """*expires* in seconds is what we ask for.  With *keep* failures are retried; without, the first ends it."""
        super().__init__(core, expires=expires)
        self._account = account
        self.keep = keep
        self.state = State.IDLE
        self.binding: Binding | None = None
        self.bound_at = 0.0
        self._flow: Flow | None = None
        self._pace = Pace(core)
        self._offline = False  # the last failure came without an answer, or the way there is gone
        self._unbind = False
        self._rebind = False
        self._waited = False
        self._begun_at = 0.0
        self._where = _registrar_of(account)

    @property
    def account(self) -> str:
        return self._account.name

    @property
    def flow(self) -> Flow | None:
        """What carried the last REGISTER that ended; None once that is gone."""
        return self._flow

    def __repr__(self) -> str:
        return f"<Registration {self.account} {self.state.value}>"

    # -- commands ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """REGISTER now, unless one is on its way (RFC 3261 section 10.2: never a second before the first is done)."""
        if self.state in (State.GONE, State.UNBINDING):
            self._rebind = self.state is State.UNBINDING
        elif self._exchange is None:
            self._bind()

    def unregister(self) -> None:
        """Remove the binding.  Nothing goes on the wire while there is none and none is being made."""
        if self.state in (State.UNBINDING, State.GONE):
            self._rebind = False
            return
        self._core.wheel.disarm(self)
        exchange = self._exchange
        if exchange is not None and exchange.state is ExchangeState.SENT:
            self._unbind = True  # it may succeed yet: wait for its end, then take back what it made
            exchange.closing = True
            return
        self._drop_exchange()
        self._leave()

    def close(self, why: str) -> None:
        """The account goes: nothing more is sent."""
        if self.state is State.GONE:
            return
        self._drop_exchange()
        self._gone("unregistered", None, why)

    def flow_lost(self, flow: Flow) -> None:
        """The connection that carried the binding broke: nobody can call us until we bind a new one (RFC 5626 4.5)."""
        if self._flow is None or self._flow.id != flow.id or not (flow.reliable or self._account.outbound.keeps_flow):
            return
        self._flow = None
        if self.state is State.BOUND:
            self._offline = True  # another network is no reason to wait
            self._core.arm(self, "refresh", self._pace.lost(self.bound_at))

    def doubt(self) -> None:
        """Whoever keeps the binding was away for a moment.  A machine that was rebooted has forgotten it."""
        if self.state is State.BOUND:
            self._core.arm(self, "refresh", self._core.uniform(*SPREAD))

    def address_lost(self, host: str) -> None:
        """Our address is gone, and with it the binding, whatever the transport."""
        if self._flow is not None and self._flow.local[0] == host:
            self._flow = None
            if self.state is State.BOUND:
                self._offline = True
        self.network_changed()

    def network_changed(self) -> None:
        """Another REGISTER at once, if there is no binding that holds and nobody refused us."""
        if self._offline and self._exchange is None and self.state in (State.BOUND, State.RETRYING):
            self._pace.hurry()
            self._bind()

    def on_timer(self, name: str) -> None:
        if name == "expired":
            self._expired()
        elif self._exchange is None and self.state in (State.BOUND, State.RETRYING, State.WAITING):
            self._bind()

    # -- requests ------------------------------------------------------------------------------------

    def _bind(self) -> None:
        self._core.wheel.disarm(self)
        self._begun_at = self._core.now
        if self.binding is not None and self.binding.expires_at <= self._core.now:
            self.binding = None
        if self.binding is None:
            self._tell("trying")
        self.state = State.REGISTERING if self.binding is None else State.REFRESHING
        self._send(self.expires)

    def _send(self, expires: int) -> None:
        account = self._account
        allow = self._core.config.allow
        params = account.outbound.contact_params(expires, allow)
        headers = [
            ("Expires", str(expires)),
            self._core.config.allow_header,
            ("Supported", account.outbound.supported),
            *account.profile.register_headers,
        ]
        if expires == 0 and self.binding is not None:
            # What is taken back is the very Contact that was bound; a new connection would have another port.
            headers.append(("Contact", f"<{self.binding.contact}>{params}"))
        exchange = Exchange(
            self._core,
            self,
            account,
            Letter(
                method="REGISTER",
                target=lambda: self._where,
                sender=f"{account.sender};tag={self._core.new_tag()}",
                recipient=f"<{account.profile.aor.aor}>",
                call_id=account.register_call_id,
                cseq=account.register_cseq,
                contact=params if expires > 0 else None,
                replaces=account.outbound.left_behind(self.binding, self._flow),
                headers=headers,
            ),
            interactive=expires > 0,
        )
        self._start(exchange)

    # -- what came of them -----------------------------------------------------------------------------

    def _succeeded(self, exchange: Exchange, response: Response) -> None:
        self._flow = exchange.flow
        if self.state is State.UNBINDING:
            self._gone("unregistered", response, None)
        else:
            self._bound(exchange, response)

    def _not_granted(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        self._flow = exchange.flow
        if self.state is State.UNBINDING:
            self._gone("unregistered", response, why)
        elif self._unbind:
            self._leave()
        elif self._can_ask_otherwise(response):
            self._send(self.expires)
        else:
            self._failed(response, why)

    def _bound(self, exchange: Exchange, response: Response) -> None:
        seconds = granted(response, exchange.contact, self._account.profile.contact_user, self.expires)
        if seconds <= 0:
            self._failed(response, "protocol: the registrar accepted us for no time at all")
            return
        self._pace.succeeded()
        self._too_brief = self._waited = self._offline = False
        self.bound_at = self._core.now
        self.binding = Binding(exchange.contact, self._core.now + seconds, seconds)
        self.state = State.BOUND
        routes: tuple[str, ...] = ()
        if exchange.origin.bound:  # else it came from elsewhere than our server: who goes before us is not his to say
            routes = service_route(response)
            self._heed_flow(exchange, response)
        self._account.use_service_route(routes)
        if self._unbind:
            self._leave()
            return
        self._core.arm(self, "refresh", refresh_in(seconds))
        self._tell("registered", response, expires_s=seconds, contact=self.binding.contact, service_route=routes)

    def _heed_flow(self, exchange: Exchange, response: Response) -> None:
        """What the registrar says of the flow (RFC 5626 section 4.2.1), and whether it is to be kept alive."""
        outbound, flow = self._account.outbound, exchange.flow
        objection = outbound.learn(response, exchange.contact)
        if objection is not None:
            self._core.warn("outbound", objection)
        if flow is not None and outbound.keeps_flow:
            keep_alive(self._core, flow, outbound.flow_timer)
        elif flow is not None:
            leave_alone(self._core, flow)

    def _can_ask_otherwise(self, response: Response | None) -> bool:
        """423: ask for Min-Expires, once for each grant; 439: do without a flow (RFC 5626 section 4.2.1)."""
        if response is not None and response.status == FIRST_HOP_LACKS_OUTBOUND:
            return self._account.outbound.give_in()
        return self.asks_longer(response)

    def _failed(self, response: Response | None, why: Why) -> None:
        if why in (GiveUp.PERSON, GiveUp.SIGN_IN) or (self._waited and response is not None and response.status == 403):
            self._wait(response, why)
            return
        left = 0.0 if self.binding is None else self.binding.expires_at - self._core.now
        ours = why in _NO_SECRET
        if not (ours and left > 0):  # a binding that holds keeps its routes
            self._account.use_service_route(())
        if not self.keep:
            self._gone(verdict(response), response, why)
            return
        self._offline = response is None and not ours
        bound_at = self.bound_at if self.state is State.REFRESHING else None
        delay = self._pace.failed(heard=not self._offline, bound_at=bound_at)
        if ours:
            # A store may come back any moment, and the binding must not end between two looks.
            delay = min(delay, STORE_TIME, max(left / 2, LAST_CHANCE) if left > 0 else STORE_TIME)
        delay = max(delay, retry_after(response))
        self.state = State.RETRYING
        self._core.arm(self, "retry", delay)
        self._tell("retrying", response, retry_in_s=delay, why=why)

    def _wait(self, response: Response | None, why: Why) -> None:
        """Nobody but a person can go on: he is waited for, without a challenge and without hurry.

        Whoever waited for him does not give up at the first time-out after he came.
        A server may say 403 to what he gave, where others challenge again: he may give another.
        """
        self.keep = self._waited = True
        self.state = State.WAITING
        delay = None
        if why is GiveUp.SIGN_IN:  # he signs in elsewhere: that begins anew by itself, a new code replacing the old
            pace = min(SIGN_IN_PACE, self._pace.next())
            delay = max(LEAST_PAUSE, pace - (self._core.now - self._begun_at))
            self._core.arm(self, "retry", delay)
        binding, now = self.binding, self._core.now
        if binding is None or binding.expires_at <= now:
            self.binding = None
            self._account.use_service_route(())
            self._tell("waiting", response, why=why, retry_in_s=delay)
            return
        self._core.arm(self, "expired", binding.expires_at - now)
        left = int(binding.expires_at - now)
        self._tell("waiting", response, why=why, retry_in_s=delay, expires_s=left, contact=binding.contact)

    def _expired(self) -> None:
        """The binding that we had when we began to wait is over: nobody can call us any more."""
        if self.state is State.WAITING:
            self.binding = None
            self._account.use_service_route(())
            self._tell("waiting", why="expired: the binding ran out while a person was awaited")

    def _leave(self) -> None:
        """Un-REGISTER if there is something to take back."""
        self._unbind = False
        if self.binding is None or self.binding.expires_at <= self._core.now:
            self._gone("unregistered", None, None)
            return
        self.state = State.UNBINDING
        self._send(0)

    def _gone(self, state: RegistrationState, response: Response | None, why: Why) -> None:
        self._core.wheel.disarm(self)
        self.state = State.GONE
        self.binding = None
        account = self._account
        account.use_service_route(())
        account.outbound.forget()
        if self._flow is not None:
            leave_alone(self._core, self._flow)
        rebind, self._rebind = self._rebind, False
        if account.registration is self and not rebind:
            account.registration = None
        self._tell(state, response, why=why)
        if rebind and not account.closed:
            self._pace.forgive()
            self._bind()

    def _tell(
        self,
        state: RegistrationState,
        response: Response | None = None,
        *,
        expires_s: int | None = None,
        contact: str | None = None,
        retry_in_s: float | None = None,
        why: Why = None,
        service_route: tuple[str, ...] = (),
    ) -> None:
        code, reason = code_and_reason(response)
        self._core.emit(
            RegistrationChanged(
                self, state, code, reason, expires_s, contact, self._flow, retry_in_s, why, service_route
            )
        )


def _registrar_of(account: AccountState) -> Target:
    """The registrar, by the outbound proxy if there is one; never by Service-Route (RFC 3608 section 6.1)."""
    uri = account.profile.registrar.replace(user=None, password=None, headers=())  # section 10.2: no user part
    target = through(uri.without_param("method"), account.proxy_routes)
    return Target(target.uri, target.routes, account.registrar_hop)
