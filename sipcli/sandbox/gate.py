"""Every new request passes here first: challenge it, register it, forward it, refuse it - or let the engine answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.guard import Guard, Passed
from sipcli.sandbox.location import Location
from sipcli.sandbox.relay import Relay
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request
from sipcli.sip.transactions.server_transaction import ServerTransaction
from sipcli.sip.transactions.transaction import TransactionLayer

__all__ = ["ANSWERING", "REFUSING", "Gate"]

ANSWERING: Final = frozenset({"echo", "music", "ivr"})
"""Extensions that answer a call: the engine is their phone."""
REFUSING: Final[Mapping[str, int]] = {"busy": 486, "decline": 603}

Headers: TypeAlias = tuple[tuple[str, str], ...]


class Gate:
    """The registrar and proxy of the sandbox, above the transactions of its engine.

    An address is known by its user part: an extension, a status code from 400
    to 699 that is answered as dialled, or a registered user.
    """

    def __init__(self, config: SandboxConfig, layer: TransactionLayer, random: Callable[[int], bytes]) -> None:
        self.guard = Guard(config, random)
        self.location = Location(config)
        self.relay = Relay(layer)
        self._config = config
        self._layer = layer

    @property
    def config(self) -> SandboxConfig:
        return self._config

    @config.setter
    def config(self, config: SandboxConfig) -> None:
        self._config = self.guard.config = self.location.config = config

    def admit(self, tx: ServerTransaction) -> bool:
        """True when *tx* is dealt with; False when the engine may have it.  ParseError for what makes no sense."""
        request, now = tx.request, self._layer.clock()
        headers: Headers = ()
        if self._is_challenged(tx):
            verdict = self.guard.judge(request, now)
            if not isinstance(verdict, Passed):
                self._answer(tx, verdict.status, verdict.headers)
                return True
            headers = verdict.headers
            if request.method == "REGISTER" and verdict.user != _registering(request):
                self._answer(tx, 403)  # section 10.3, step 4
                return True
        if request.method == "REGISTER":
            status, more = self.location.register(request, tx.flow, now)
            self._answer(tx, status, (*headers, *more))
            return True
        if self.relay.knows(request):
            self.relay.follow(tx)
            return True
        return request.to.tag is None and self._dial(tx, now)

    def _is_challenged(self, tx: ServerTransaction) -> bool:
        """Not whoever was called, inside the call: no phone that guards against its caller's challenges answers there
        (decision 16), and so no proxy asks."""
        asked = tx.request.method in self._config.challenged
        return asked and not self.relay.comes_from_the_callee(tx.request, tx.flow)

    def forget_flow(self, flow: Flow) -> None:
        self.location.forget_flow(flow)

    def _dial(self, tx: ServerTransaction, now: float) -> bool:
        user = tx.request.uri.user_text or ""
        if user in ANSWERING or (not user and tx.request.method == "OPTIONS"):
            return False
        if user == "ring" and tx.request.method == "INVITE":
            tx.user = _Ringing()
            tx.reply(180)
            return True
        status = REFUSING.get(user) or _dialled_status(user)
        if status is not None:
            if status != 408 or tx.request.method == "INVITE":  # else silence is the only way to say it (RFC 4320)
                self._answer(tx, status)
        elif bindings := self.location.find(user, now):
            self.relay.start(tx, bindings[-1].contact, bindings[-1].flow)
        elif tx.request.method == "SUBSCRIBE" and user in self._config.users:
            return False  # nobody watches over our users: the engine says so, and of what it does notify
        else:
            self._answer(tx, 480 if user in self._config.users else 404)
        return True

    def _answer(self, tx: ServerTransaction, status: int, headers: Headers = ()) -> None:
        """What was decided now goes out after the delay that was ordered."""
        if self._config.delay > 0:
            wheel = self._layer.wheel
            wheel.arm(_Later(tx, status, headers), "answer", self._layer.clock() + self._config.delay)
        else:
            tx.reply(status, headers=headers)


class _Later:
    """An answer that waits."""

    def __init__(self, tx: ServerTransaction, status: int, headers: Headers) -> None:
        self._tx = tx
        self._status = status
        self._headers = headers

    def on_timer(self, name: str) -> None:
        self._tx.reply(self._status, headers=self._headers)


class _Ringing:
    """The extension that never answers; only a CANCEL ends it."""

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        tx.reply(487)

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        pass

    def on_timeout(self, tx: ServerTransaction) -> None:
        pass

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        tx.reply(480)  # nobody hears it, but the transaction ends


def _registering(request: Request) -> str:
    return request.to.sip_uri.user_text


def _dialled_status(user: str) -> int | None:
    """A call to ``sip:503@…`` is answered 503."""
    return int(user) if len(user) == 3 and user.isascii() and user.isdigit() and "400" <= user <= "699" else None
