"""Level 3: an account - register, call, send - and the method in which its challenges are decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sipcli.config import AccountConfig
from sipcli.credentials import Cancelled, Credentials
from sipcli.errors import AgentClosed, ChallengeGone, SipcliError
from sipcli.sip.auth import AuthSession, Challenged, GiveUp
from sipcli.sip.events import RegistrationChanged
from sipcli.sip.flow import Flow
from sipcli.sip.registrations.register import Binding, Registration, State
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.accountrequests import AccountRequests
from sipcli.ua.auth.authdesk import exchange_key, refuse_answer, refuse_coroutine
from sipcli.ua.auth.chain import Terms
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from sipcli.ua.auth.fitting import refuse_strangers
from sipcli.ua.auth.rations import Ration
from sipcli.ua.auth.terms import chain_for, prompt_burst, wait_limit
from sipcli.ua.calls.answering import CallHandler, hand_over
from sipcli.ua.failures import AuthStory, failure_of

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["Account", "Binding", "ChallengeCoroutine"]

log = logging.getLogger(__name__)

UNBIND_WAIT = 2.0
"""Seconds that taking a binding back may cost when leaving (RFC 3261 section 10.2.2; the command line promises 2 s)."""

Answer: TypeAlias = Credentials | Iterable[Credentials] | None
ChallengeCoroutine: TypeAlias = Callable[[DeferredChallenge], Awaitable[Answer]]


class Account(AccountRequests):
    """One address-of-record of an agent.  Made by ``agent.account(name)`` or ``agent.add_account(config)``.

    Subclass it and override :meth:`on_auth_challenge`; or use the decorator
    :meth:`on_challenge`; or do neither, and the credentials that the account was
    given answer.  Everything here is for the loop's thread.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_coroutine(cls.on_auth_challenge, f"{cls.__name__}.on_auth_challenge")

    def __init__(self, agent: UserAgent, config: AccountConfig, session: AuthSession) -> None:
        self.agent = agent
        self.config = config
        self.auth = session
        self.save = agent.save
        self.ration = Ration(config.policy.max_prompts)
        self.incoming: CallHandler | None = None
        self._hook: ChallengeCoroutine | None = None
        self._terms: Terms | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stories: dict[str, AuthStory] = {}
        self._registration: Registration | None = None
        self._last: RegistrationChanged | None = None
        self._bound: asyncio.Future[Binding] | None = None
        self._unbound: asyncio.Future[None] | None = None
        self._awaiting = 0
        self._keep = self._retry = False
        self._closed = False

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def aor(self) -> SipUri:
        return self.config.aor

    @property
    def binding(self) -> Binding | None:
        """What the registrar granted last, None while there is nothing; ``expires_at`` is on the loop's clock."""
        return None if self._registration is None else self._registration.binding

    @property
    def state(self) -> str:
        """The state of the last ``registration`` event; ``unregistered`` before the first."""
        return "unregistered" if self._last is None else self._last.state

    @property
    def local_address(self) -> str | None:
        """Our address on the way to the registrar, once a REGISTER went there."""
        flow = None if self._last is None else self._last.flow
        return None if flow is None else flow.local[0]

    @property
    def registered_over(self) -> Flow | None:
        """The flow of the last REGISTER; None before there was one."""
        return None if self._last is None else self._last.flow

    @property
    def terms(self) -> Terms:
        """What the broker must know of this account."""
        max_wait = wait_limit(self.config.policy, self.agent.max_wait)
        if self._terms is None or (self._terms.save, self._terms.max_wait) != (self.save, max_wait):
            self._terms = Terms(
                account=self.name,
                aor=str(self.aor),
                chain=lambda realm: chain_for(self.config, self.agent.config, realm),
                max_wait=max_wait,
                cache_ttl=self.config.policy.cache_ttl,
                save=self.save,
                prompt_burst=prompt_burst(self.config.policy),
            )
        return self._terms

    @property
    def is_binding(self) -> bool:
        """Is somebody waiting for the binding?  Otherwise a REGISTER is a refresh, which nobody sits in front of."""
        return self._bound is not None

    @property
    def is_closed(self) -> bool:
        return self._closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state}>"

    # --- registration -----------------------------------------------------------------------------------------

    async def register(self, *, expires: int | None = None, keep: bool = True, retry: bool = False) -> Binding:
        """Bind, and return when the registrar has granted it.

        *expires* is in seconds.  With *keep* the binding is refreshed until
        :meth:`unregister`; *retry* goes on after a failure, too, backing off, until
        it succeeds.  Raises the typed error of the first failure otherwise; cancelled, it takes everything back.
        """
        self.check_open()
        if self._bound is None:
            binding = self.binding
            if expires is None and binding is not None and self._is_bound(binding):
                return binding
            self._begin_binding(expires, keep=keep, retry=retry)
        waiter = self._bound
        assert waiter is not None
        self._awaiting += 1
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if self._awaiting == 1 and not waiter.done() and self._registration is not None:
                with self.agent.turn():
                    self._registration.unregister()
            raise
        finally:
            self._awaiting -= 1

    def _is_bound(self, binding: Binding) -> bool:
        """It holds, and is neither being taken back nor over while its refresh waits for a secret."""
        lives = binding.expires_at > asyncio.get_running_loop().time()
        return self.state == "registered" and self._unbound is None and lives

    def _begin_binding(self, expires: int | None, *, keep: bool, retry: bool) -> None:
        self.begin_action()
        self._stories["REGISTER"] = AuthStory()
        self._keep, self._retry = keep, retry
        self._bound = asyncio.get_running_loop().create_future()
        self._bound.add_done_callback(_looked_at)
        try:
            with self.agent.turn() as engine:
                self._registration = engine.register(self.name, expires=expires, keep=keep and retry)
        except SipcliError:
            self._bound = None
            raise

    async def unregister(self, *, timeout: float | None = None) -> None:
        """Take the binding back; returns when the registrar has confirmed it, or after *timeout* seconds."""
        registration = self._registration
        if registration is None:
            return
        if self._unbound is None:
            self._unbound = asyncio.get_running_loop().create_future()
            with self.agent.turn():
                registration.unregister()
        if self._unbound is not None:  # the turn may have ended it at once
            try:
                await asyncio.wait_for(asyncio.shield(self._unbound), timeout)
            except TimeoutError:
                log.warning("account %s: the registrar did not confirm that the binding is gone", self.name)

    def refresh(self) -> None:
        """Refresh the binding now, due or not; nothing happens while there is none."""
        if self._registration is not None:
            with self.agent.turn():
                self._registration.refresh()

    @asynccontextmanager
    async def registered(self, *, expires: int | None = None) -> AsyncIterator[Binding]:
        """Registered inside the block, unregistered after it (in 2 s at most)."""
        binding = await self.register(expires=expires)
        try:
            yield binding
        finally:
            await self.unregister(timeout=UNBIND_WAIT)

    def on_registration(self, event: RegistrationChanged) -> None:
        """The core tells how it goes.  Override to follow, and call ``super()``."""
        self._last = event
        if event.state == "registered":
            event.registration.keep = self._keep
            self._resolve(event.registration.binding, None)
        elif event.state == "waiting":
            self._retry = True  # whoever has waited for a person does not give up at the first time-out after him
        elif event.state == "trying" or (event.state == "retrying" and self._retry):
            pass
        elif event.state == "unregistered" and event.registration.state is not State.GONE:
            self._resolve_unbound()  # register() came meanwhile: the same registration binds anew
        elif event.state == "unregistered":
            self._over(AgentClosed("the registration was taken back") if not event.why else self._failure(event))
        elif event.state == "retrying":
            self._resolve(None, self._failure(event))
        else:
            self._over(self._failure(event))

    def _failure(self, event: RegistrationChanged) -> SipcliError:
        server = None if event.flow is None else event.flow.remote[0]
        story = self._stories.get("REGISTER")
        return failure_of(
            "registration", self.name, code=event.code, reason=event.reason, why=event.why, story=story, server=server
        )

    def _over(self, error: SipcliError) -> None:
        self._registration = None
        self._resolve(None, error)
        self._resolve_unbound()

    def _resolve_unbound(self) -> None:
        unbound, self._unbound = self._unbound, None
        if unbound is not None and not unbound.done():
            unbound.set_result(None)

    def _resolve(self, binding: Binding | None, error: SipcliError | None) -> None:
        bound, self._bound = self._bound, None
        if bound is None or bound.done():
            return
        if error is not None:
            bound.set_exception(error)
        elif binding is not None:
            bound.set_result(binding)

    # --- calls and messages -----------------------------------------------------------------------------------

    async def call(self, target: str | SipUri, **options: Any) -> Call:
        """Dial *target*; returns at once, ``await call.answered()`` waits.  Options: :meth:`Call.dial`."""
        from sipcli.ua.calls.call import Call  # media comes with it: a registration needs none

        self.check_open()
        self.begin_action()
        return await Call.dial(self.agent, self, self.parse_target(target), **options)

    def on_incoming(self, call: Call) -> None:
        """Somebody calls.  Default: :attr:`incoming`, else the agent's ``on_incoming``, else 480."""
        handler = self.incoming or self.agent.on_incoming
        if handler is None:
            call.reject(480)
        else:
            hand_over(handler, call)

    # --- challenges -------------------------------------------------------------------------------------------

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        """Decide *challenge*: ``respond()``, ``abandon()`` or ``defer()`` it, and return at once.

        Default: do nothing, so that the configured credentials answer.
        """

    def on_challenge(self, hook: ChallengeCoroutine) -> ChallengeCoroutine:
        """Decorator: ``async def hook(challenge)`` decides this account's challenges.

        What it returns is the answer; None leaves it to whoever would have been
        asked without the hook; ``Cancelled`` gives up.  It runs on the loop, and is
        cancelled when the challenge ends without it.
        """
        self._hook = hook
        return hook

    def hear_challenge(self, challenge: AuthChallenge) -> None:
        """Hand *challenge* to the hook that is set."""
        if self._hook is None:
            refuse_answer(self.on_auth_challenge(challenge), f"{type(self).__name__}.on_auth_challenge")  # type: ignore[func-returns-value]
            return
        deferred = challenge.defer()
        task = asyncio.get_running_loop().create_task(self._consult(self._hook, deferred))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

        def revoked() -> None:
            task.cancel()

        deferred.on_revoked(revoked)

    async def _consult(self, hook: ChallengeCoroutine, deferred: DeferredChallenge) -> None:
        answers: tuple[Credentials, ...] = ()
        try:
            answer = await asyncio.wait_for(hook(deferred), self.terms.max_wait)
            given = () if answer is None else tuple(answer) if isinstance(answer, Iterable) else (answer,)
            refuse_strangers(given)
            answers = given
        except (Cancelled, TimeoutError) as error:
            if deferred.is_valid:
                deferred.give_up(GiveUp.ABANDONED if isinstance(error, Cancelled) else GiveUp.DEADLINE)
        except Exception:
            log.exception("the on_challenge coroutine of account %s failed; going on without it", self.name)
        try:
            if not deferred.is_valid:
                return
            if answers:
                deferred.respond(*answers)
            else:
                self.undecided(deferred)
        except (ChallengeGone, AgentClosed) as error:
            log.debug("account %s: %s", self.name, error)

    def undecided(self, deferred: DeferredChallenge) -> None:
        """The coroutine left the challenge to us: the account's own credentials answer."""
        deferred.respond()

    def story(self, exchange: Challenged) -> AuthStory:
        """What is known of this request's authentication."""
        return self._stories.setdefault(exchange_key(exchange), AuthStory())

    def take_story(self, key: str) -> AuthStory | None:
        """The same, when the request is over: it is forgotten."""
        return self._stories.pop(key, None)

    # --- the end ----------------------------------------------------------------------------------------------

    def begin_action(self) -> None:
        """A person began something: he may be asked again (threat T03)."""
        self.ration = Ration(self.config.policy.max_prompts)

    async def close(self, *, timeout: float = UNBIND_WAIT) -> None:
        """Abandon what is pending, end the calls, take the binding back; *timeout* seconds at most.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        with self.agent.turn():
            for session, token in self.agent.auth_desk.pending(self):
                if token.live and token.exchange.interactive:
                    session.abandon(token)
        await self.agent.part_with(self, timeout)

    def check_open(self) -> None:
        """Raises AgentClosed when the account, or its agent, is closed."""
        if self._closed or self.agent.closed:
            raise AgentClosed(f"account {self.name} is closed")


def _looked_at(future: asyncio.Future[Binding]) -> None:
    """Whoever waited for it may be gone when it fails, and asyncio would complain of an error that nobody saw."""
    if not future.cancelled():
        future.exception()
