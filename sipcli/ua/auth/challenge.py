"""One challenge outside the core: a verdict that is claimed once, and the handles through which people claim it.

::

    AuthChallenge ──defer()──► DeferredChallenge      level 3, account.py
    AuthChallengeParam ──defer()──► DeferredToken     level 2, authdesk.py
                └────────┬────────┘
                      Verdict    OPEN → ANSWERED | ABANDONED | DECLINED | REVOKED | EXPIRED | LOST
                         │
                       Gate      the one way onto the loop, into a turn

A verb checks first that the agent lives and knows the thread, *then* claims:
the other way round a mistaken call would burn the challenge.  It never waits
for the loop, for that would invite deadlock; what came of the answer is told
where it belongs, by ``await account.register()`` or ``await call.answered()``.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from sipcli.credentials import Credentials, DigestInput, SigningCredentials
from sipcli.errors import AgentClosed, ChallengeGone, LocalProtocolError
from sipcli.sip.auth import AuthSession, Challenged, ChallengeToken, GiveUp, RealmState
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.syntax.message import Request, Response
from sipcli.ua.auth.fitting import refuse_strangers
from sipcli.ua.lanes.inbox import Inbox
from sipcli.ua.lanes.threads import ThreadRegistry, running_loop

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.calls.call import Call

__all__ = ["AuthChallenge", "DeferredChallenge", "DeferredToken", "Gate", "Verdict", "VerdictState", "labels_of"]

log = logging.getLogger(__name__)


class VerdictState(enum.Enum):
    """What became of a challenge; the value is :attr:`ChallengeGone.state`."""

    OPEN = "open"
    ANSWERED = "answered"
    ABANDONED = "abandoned"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"
    LOST = "lost"


class Gate:
    """The way onto an agent's loop, and the check of who may take it."""

    __slots__ = ("_inbox", "closed", "loop", "threads", "turn")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: ThreadRegistry,
        turn: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.loop = loop
        self.threads = threads
        self.turn = turn
        self.closed = False
        self._inbox = Inbox(loop)

    def check(self) -> None:
        """Raise AgentClosed or UnregisteredThread unless the caller may act now.  Any thread."""
        if self.closed or self.loop.is_closed():
            raise AgentClosed("the user agent is closed")
        self.threads.require(self.loop)

    def run(self, act: Callable[[], None]) -> None:
        """Run *act* in a turn: at once on the loop's thread, else soon."""
        if running_loop() is self.loop:
            self._act(act)
            return
        try:
            self._inbox.put(partial(self._act, act))
        except RuntimeError as error:  # closed since check()
            raise AgentClosed("the loop is closed") from error

    def _act(self, act: Callable[[], None]) -> None:
        if not self.closed:
            with self.turn():
                act()


class Verdict:
    """The one place where a challenge is decided.  Outlives the handles onto it, and never refers to them."""

    __slots__ = ("_callbacks", "_lock", "_taken", "gate", "generation", "session", "state", "token")

    def __init__(self, gate: Gate, session: AuthSession, token: ChallengeToken) -> None:
        self.gate = gate
        self.session = session
        self.token = token
        self.state = VerdictState.OPEN
        self.generation = 0
        self._taken = False
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return self.state is VerdictState.OPEN and self.token.live

    def claim(self, state: VerdictState) -> None:
        """Move to *state*, or raise ChallengeGone.  Any thread; eight race, one wins."""
        with self._lock:
            if self.state is not VerdictState.OPEN:
                raise ChallengeGone(self.state.value)
            self.state = state

    # --- verbs, from any registered thread --------------------------------------------------------------------

    def respond(self, credentials: tuple[Credentials, ...]) -> None:
        refuse_strangers(credentials)
        self.gate.check()
        self.claim(VerdictState.ANSWERED)
        self.gate.run(partial(self._answer, credentials))

    def abandon(self, why: GiveUp = GiveUp.ABANDONED) -> None:
        self.gate.check()
        self.claim(VerdictState.EXPIRED if why is GiveUp.DEADLINE else VerdictState.ABANDONED)
        self.gate.run(partial(self._abandon, why))

    def on_revoked(self, callback: Callable[[], None]) -> None:
        """Call *callback* once, on the loop, if the challenge ends by anything but one of our verbs."""
        with self._lock:
            if self.state is VerdictState.OPEN:
                self._callbacks.append(callback)
                return
        if self._taken:
            self.gate.run(callback)

    # --- on the loop ------------------------------------------------------------------------------------------

    def settled(self, state: VerdictState) -> None:
        """The core ended the challenge.  An answer claimed before but not yet run will find its token spent."""
        with self._lock:
            if self.state is VerdictState.OPEN:
                self.state = state
                self._taken = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks if self._taken else ():
            try:
                callback()
            except Exception:
                log.exception("an on_revoked callback failed")

    def disown(self) -> None:
        """The hook failed: a handle that it may have dropped must not take the decision from whoever is next."""
        self.generation += 1

    def lost(self, generation: int) -> None:
        """The last handle was dropped without a word."""
        if generation != self.generation:
            return
        try:
            self.claim(VerdictState.LOST)
        except ChallengeGone:
            return
        if self.gate.closed:
            return
        with self.gate.turn():
            self._abandon(GiveUp.LOST)
        realms = ", ".join(repr(challenge.realm) for challenge in self.token.challenges)
        account = self.token.exchange.account
        message = f"a deferred challenge of account {account!r} (realm {realms}) was dropped unanswered"
        log.warning("%s; it is abandoned", message)
        warnings.warn(message, ResourceWarning, stacklevel=2)

    def _answer(self, credentials: tuple[Credentials, ...]) -> None:
        if not self.token.live:
            return  # revoked meanwhile; AuthSettled has reported it
        why: GiveUp | None = None
        try:
            plan = self.session.reinit_request(self.token, credentials)
            if plan is not None:
                self.session.send_request(self.token, plan)
                return
            why = self.session.why_no_plan(self.token, credentials)
        except Exception:
            log.exception("the answer cannot be used; the challenge is abandoned")
        self._abandon(why or GiveUp.NO_CREDENTIALS)

    def _abandon(self, why: GiveUp) -> None:
        if self.token.live:
            self.session.abandon(self.token, why)


class _View:
    """What every handle shows of its challenge.  The first realm's facts are at hand, for nearly always it is alone."""

    __slots__ = ("__weakref__", "_verdict", "account", "call")

    def __init__(self, verdict: Verdict, account: Account, call: Call | None) -> None:
        self._verdict = verdict
        self.account = account
        self.call = call

    @property
    def challenges(self) -> tuple[Challenge, ...]:
        """The challenge to answer, one per realm."""
        return self._verdict.token.challenges

    @property
    def realms(self) -> Mapping[str, RealmState]:
        """Per realm: the attempt, and the very credentials that were refused."""
        return self._verdict.token.realms

    @property
    def realm(self) -> str:
        return self.challenges[0].realm

    @property
    def scheme(self) -> str:
        """``digest`` or ``bearer``."""
        return self.challenges[0].scheme

    @property
    def attempt(self) -> int:
        """1 for the first question of this realm."""
        return self.realms[self.realm].attempt

    @property
    def rejected(self) -> tuple[Credentials, ...]:
        """What was sent to this realm for this request, and refused."""
        return tuple(self.realms[self.realm].rejected)

    @property
    def exchange(self) -> Challenged:
        """The request that was challenged, all its attempts."""
        return self._verdict.token.exchange

    @property
    def method(self) -> str:
        return self.exchange.method

    @property
    def labels(self) -> Mapping[str, str]:
        """Realm → the id of its challenge in notices."""
        return labels_of(self._verdict.token)

    @property
    def request(self) -> Request:
        """Frozen: keep it as long as you like."""
        return self._verdict.token.request

    @property
    def response(self) -> Response:
        return self._verdict.token.response

    def digest_inputs(self, key: SigningCredentials) -> tuple[DigestInput, ...]:
        """What *key* must sign to answer: nonce count and cnonce are taken.  On the loop's thread, inside the hook say.

        Whoever holds the key may then sign on any thread, and answer with ``SignedCredentials``.
        Raises ChallengeGone, and LocalProtocolError on another thread.
        """
        verdict = self._verdict
        if running_loop() is not verdict.gate.loop:
            raise LocalProtocolError("digest_inputs() is for the loop's thread: call it in the hook, sign elsewhere")
        if not verdict.is_open:
            raise ChallengeGone(verdict.state.value)
        return verdict.session.digest_inputs(verdict.token, key)

    @property
    def is_valid(self) -> bool:
        """Not decided yet.  False is final; True may change at any moment."""
        return self._verdict.is_open

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} realm={self.realm!r} {self._verdict.state.value}>"


class _Deferred(_View):
    """Owned by whoever deferred: decide it, or its loss is warned about and abandons it."""

    __slots__ = ()

    def __init__(self, verdict: Verdict, account: Account, call: Call | None) -> None:
        super().__init__(verdict, account, call)
        weakref.finalize(self, _dropped, verdict, verdict.generation).atexit = False

    def abandon(self) -> None:
        """Give up.  Raises ChallengeGone, UnregisteredThread, AgentClosed; the caller's mistakes burn nothing."""
        self._verdict.abandon()

    def on_revoked(self, callback: Callable[[], None]) -> None:
        """*callback* runs on the loop if the challenge ends without you: the call hung up, the deadline passed."""
        self._verdict.on_revoked(callback)


def _dropped(verdict: Verdict, generation: int) -> None:
    # CPython runs this on whichever thread drops the last reference, or happens to collect, maybe inside a lock of
    # ours: so take none, log nothing, warn nothing.  call_soon_threadsafe is re-entrant; queue.Queue is not.
    if verdict.state is not VerdictState.OPEN:
        return
    try:
        verdict.gate.loop.call_soon_threadsafe(verdict.lost, generation)
    except RuntimeError:
        pass  # the loop is closed, and everything on it


class DeferredChallenge(_Deferred):
    """Level 3.  Every verb works on the loop's thread and on registered threads, and returns at once."""

    __slots__ = ()

    def respond(self, *credentials: Credentials) -> None:
        """Answer; without arguments, with the account's own credentials.

        Raises ChallengeGone (too late, or the second time), UnregisteredThread, AgentClosed.
        """
        self._verdict.respond(credentials)

    def give_up(self, why: GiveUp) -> None:
        """:meth:`abandon`, saying why: it decides which error the verb ends with."""
        self._verdict.abandon(why)


class DeferredToken(_Deferred):
    """Level 2: the same right, named as PJSIP's callers know it."""

    __slots__ = ()

    def send_request(self, *credentials: Credentials) -> None:
        """Retry with *credentials*, or with the account's own.  From the loop or any registered thread."""
        self._verdict.respond(credentials)


class AuthChallenge(_View):
    """Level 3, handed to ``Account.on_auth_challenge`` and valid only inside it: use one verb, or none."""

    __slots__ = ("_deferred", "_over")

    def __init__(self, verdict: Verdict, account: Account, call: Call | None) -> None:
        super().__init__(verdict, account, call)
        self._over = self._deferred = False

    @property
    def handled(self) -> bool:
        """A verb was used."""
        return self._deferred or self._verdict.state is not VerdictState.OPEN

    @property
    def is_valid(self) -> bool:
        return not (self._over or self._deferred) and self._verdict.is_open

    def respond(self, *credentials: Credentials) -> None:
        """Answer now; without arguments, with the account's own credentials."""
        self._require()
        self._verdict.respond(credentials)

    def abandon(self) -> None:
        """Give up now."""
        self._require()
        self._verdict.abandon()

    def defer(self) -> DeferredChallenge:
        """Take the decision along: answer or abandon it whenever you like, from any registered thread."""
        self._require()
        self._verdict.gate.check()
        self._deferred = True
        return DeferredChallenge(self._verdict, self.account, self.call)

    def fits(self) -> bool:
        """Would the account's own credentials answer every realm?"""
        return self._verdict.session.reinit_request(self._verdict.token) is not None

    def close(self) -> None:
        """The hook has returned."""
        self._over = True

    def _require(self) -> None:
        if self._verdict.state is not VerdictState.OPEN:
            raise ChallengeGone(self._verdict.state.value)
        if self._over or self._deferred:
            raise ChallengeGone("deferred" if self._deferred else "declined")


def labels_of(token: ChallengeToken) -> dict[str, str]:
    """Realm → the id of its challenge in notices: ``c7``, and ``c7.2`` for a second realm."""
    realms = [challenge.realm for challenge in token.challenges]
    return {realm: token.id if index == 0 else f"{token.id}.{index + 1}" for index, realm in enumerate(realms)}
