"""Level 2: the user agent - one loop, one engine, any number of accounts, nothing global."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sipcli.config import AccountConfig, Config
from sipcli.credentials import CredentialProvider, Credentials, Terminal
from sipcli.errors import AgentClosed, ConfigError
from sipcli.sip.auth import AuthSession, Challenged
from sipcli.sip.engine import Engine, EngineConfig
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import UNBIND_WAIT, Account
from sipcli.ua.auth.authdesk import AuthChallengeParam, AuthDesk, ChallengeHook
from sipcli.ua.auth.broker import CredentialBroker
from sipcli.ua.auth.challenge import Gate
from sipcli.ua.auth.shelf import NoTerminal, RelayTerminal, Shelf
from sipcli.ua.auth.terms import auth_policy, profile_of
from sipcli.ua.auth.waiting import WaitingRoom
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.calls.answering import CallHandler
from sipcli.ua.calls.switchboard import Switchboard
from sipcli.ua.calls.transfers import TransferDesk
from sipcli.ua.eventdesk import EventDesk
from sipcli.ua.instance import Instance
from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import Workers
from sipcli.ua.listeners import Listeners
from sipcli.ua.net.endpoint import Endpoint, EndpointConfig
from sipcli.ua.net.roaming import Roaming
from sipcli.ua.net.tls import TlsSettings
from sipcli.ua.notices import Listening, Notice
from sipcli.ua.oneshot import MessageReport, OneShots, OptionsReport, ask_options, send_message
from sipcli.ua.statebook import StateBook
from sipcli.ua.subscriptions.soft import SoftStates

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["AuthChallengeParam", "UserAgent"]

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Account)


class UserAgent:
    """Register, call and be called, under accounts whose secrets may come later.

    ::

        async with UserAgent(config) as agent:
            account = agent.account("work")
            async with account.registered():
                call = await account.call("sip:bob@example.net")

    *on_auth_challenge* is the level-2 hook; *providers* makes a provider from its
    name (default: the plug-ins that the configuration names); *terminal* is the
    person, who is asked only if *interactive*; while *waits* says so, a
    registration that only a person could answer waits for :attr:`waiting` to be
    given the secret, instead of failing; *max_wait* in seconds bounds every
    wait for a secret; *save* keeps accepted secrets; *state* remembers across restarts
    what servers asked for; *trace* emits every message
    on the wire as a ``trace`` notice.  Everything is for the loop's thread, but
    :attr:`threads` and the handles of deferred challenges.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        on_auth_challenge: ChallengeHook | None = None,
        on_incoming: CallHandler | None = None,
        engine_config: EngineConfig | None = None,
        endpoint_config: EndpointConfig | None = None,
        providers: Callable[[str], CredentialProvider] | None = None,
        terminal: Terminal | None = None,
        interactive: bool = True,
        waits: Callable[[], bool] = lambda: False,
        max_wait: float | None = None,
        save: bool = False,
        trace: bool = False,
        state: StateBook | None = None,
        bind_host: str | None = None,
        bind_port: int = 0,
    ) -> None:
        self.config = config if config is not None else Config()
        self.threads = ThreadRegistry()
        self.interactive = interactive
        self.waits = waits
        self.waiting = WaitingRoom(self)
        self.switchboard = Switchboard(self)
        self.roaming = Roaming(self)
        self.max_wait = max_wait
        self.save = save
        self.trace = trace
        self.state = state
        self._instance = Instance(None if state is None else state.folder)
        self.on_incoming = on_incoming
        self.engine = Engine(engine_config)
        self.auth_desk = AuthDesk(self, on_auth_challenge)
        self.transfers = TransferDesk(self)
        self.closed = False
        self.draining = False
        self._endpoint_config = endpoint_config or EndpointConfig(bind_host=bind_host, bind_port=bind_port)
        self._given_providers = providers
        self._terminal = terminal if terminal is not None else NoTerminal()
        self._accounts: dict[str, Account] = {}
        self._calls: dict[str, Call] = {}
        self.attending: set[asyncio.Task[None]] = set()
        self._listeners = Listeners()
        self._endpoint: Endpoint | None = None
        self._gate: Gate | None = None
        self._workers: Workers | None = None
        self._broker: CredentialBroker | None = None
        self.oneshots = OneShots(self.turn)
        self.soft = SoftStates(self)

    # --- life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the running loop.  Sockets are opened when they are needed."""
        if self._endpoint is not None or self.closed:
            raise AgentClosed("a user agent is started once")
        loop = asyncio.get_running_loop()
        desk = EventDesk(self)
        self._endpoint = Endpoint(
            self.engine,
            config=self._endpoint_config,
            on_event=desk.on_event,
            tls_for=self._tls_for,
            wire=desk.on_wire if self.trace else None,
        )
        self._gate = Gate(loop, self.threads, self._endpoint.turn)
        self._workers = Workers(loop, self.threads, width=self.config.policy.fetch_width)
        shelf = Shelf(self._given_providers or self._plugin_factory(RelayTerminal(self._terminal, loop)))
        self._broker = CredentialBroker(
            loop, self._workers, shelf, tell=self.tell, is_heard=lambda: bool(self._listeners)
        )
        await self._endpoint.start()
        self.roaming.start(loop)

    async def close(self, *, timeout: float = 5.0) -> None:
        """Abandon what is pending, end calls, take bindings back, tell providers; *timeout* seconds at most."""
        if self.closed:
            return
        self.closed = True
        if self._endpoint is None or self._broker is None or self._workers is None or self._gate is None:
            self._listeners.close()
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        try:
            accounts = [account.close(timeout=min(UNBIND_WAIT, timeout)) for account in self._accounts.values()]
            await asyncio.gather(*accounts, self._end_calls(None, timeout))
            await self._broker.drain(max(0.0, until - loop.time()))
        finally:
            with self.turn() as engine:
                engine.close()
            for call in self.calls:
                await call.drop()
            for task in self.attending:
                task.cancel()
            self.roaming.close()
            self.transfers.close()
            self._gate.closed = True
            self._broker.close()
            self._workers.close()
            await self._endpoint.close()
            self._instance.close()
            if self._workers.orphans:
                log.warning("left without providers that never came back: %s", ", ".join(self._workers.orphans))
            self._listeners.close()

    async def drain(self) -> None:
        """Take no more calls (they get 480), and return when none is up any more; a good time to close."""
        self.draining = True
        while self._calls:
            await asyncio.gather(*(call.finished() for call in self.calls), return_exceptions=True)

    async def __aenter__(self) -> UserAgent:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def turn(self) -> AbstractContextManager[Engine]:
        """Do something with the engine, at one instant; what it wants to send and to tell goes out at the end."""
        return self.endpoint.turn()

    @property
    def endpoint(self) -> Endpoint:
        """The sockets.  Raises AgentClosed before :meth:`start`."""
        return _started(self._endpoint)

    @property
    def gate(self) -> Gate:
        return _started(self._gate)

    @property
    def broker(self) -> CredentialBroker:
        return _started(self._broker)

    @property
    def listening(self) -> tuple[Listening, ...]:
        """Where SIP is received now."""
        return tuple(Listening(transport=t, host=h, port=p) for t, h, p in self.endpoint.listening)

    # --- accounts ---------------------------------------------------------------------------------------------

    @property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(self._accounts.values())

    def account(self, name: str | None = None, *, credentials: Iterable[Credentials] = ()) -> Account:
        """The account *name* of the configuration (default: its default account); added at the first call.

        *credentials* answer before the chain is asked.  Raises ConfigError.
        """
        name = name or self.config.default_account or next(iter(self.config.accounts), None)
        if name in self._accounts:
            return self._accounts[name]
        if name is None or name not in self.config.accounts:
            if not self.config.accounts:
                raise ConfigError("there is no account", hint="write one: sipcli config init")
            known = ", ".join(self.config.accounts)
            raise ConfigError(f"there is no account {name!r}", hint=f"accounts of the configuration: {known}")
        return self.add_account(self.config.accounts[name], credentials=credentials)

    @overload
    def add_account(
        self,
        config: AccountConfig,
        *,
        credentials: Iterable[Credentials] = (),
        session: AuthSession | None = None,
    ) -> BrokeredAccount: ...

    @overload
    def add_account(
        self,
        config: AccountConfig,
        cls: type[A],
        *,
        credentials: Iterable[Credentials] = (),
        session: AuthSession | None = None,
    ) -> A: ...

    def add_account(
        self,
        config: AccountConfig,
        cls: type[Account] = BrokeredAccount,
        *,
        credentials: Iterable[Credentials] = (),
        session: AuthSession | None = None,
    ) -> Account:
        """A new account of class *cls*; *credentials* answer its challenges when nobody decides them.

        *session* replaces the one that the account's policy would make.
        """
        self._check_open()
        if config.name in self._accounts:
            raise ConfigError(f"there is an account {config.name!r} already")
        if session is None:
            brokered = issubclass(cls, BrokeredAccount)
            policy = auth_policy(config, self.config, self.max_wait, brokered=brokered)
            session = AuthSession(credentials, asynchronous=True, policy=policy)
            if self.state is not None:
                session.pins = self.state.pins(config)
        account = cls(self, config, session)
        self.engine.add_account(profile_of(config, self._instance), session)
        self._accounts[config.name] = account
        return account

    def find_account(self, name: str | None) -> Account | None:
        return None if name is None else self._accounts.get(name)

    async def part_with(self, account: Account, timeout: float) -> None:
        """The rest of ``account.close()``: its calls, its binding, its place in the engine."""
        try:
            await asyncio.gather(
                self._end_calls(account, timeout),
                self.soft.leave(account, timeout),
                account.unregister(timeout=timeout),
            )
        finally:
            with self.turn() as engine:
                engine.remove_account(account.name)
            if not self.closed:
                self._accounts.pop(account.name, None)
                self.broker.reset(account.name)  # the next account of this name may be another person

    # --- requests ---------------------------------------------------------------------------------------------

    async def message(
        self,
        account: Account | None,
        target: SipUri,
        text: str,
        *,
        content_type: str = "text/plain",
        headers: Sequence[tuple[str, str]] = (),
    ) -> MessageReport:
        """Send a MESSAGE (RFC 3428).  Raises the typed error when it is not taken."""
        self._check_open()
        return await send_message(self, account, target, text, content_type, headers)

    async def options(
        self, account: Account | None, target: SipUri, *, headers: Sequence[tuple[str, str]] = ()
    ) -> OptionsReport:
        """Ask what *target* can (RFC 3261 section 11).  Any SIP answer is a success, 401 without a secret, too."""
        self._check_open()
        return await ask_options(self, account, target, headers)

    # --- calls ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls that are not over."""
        return tuple(self._calls.values())

    def find_call(self, id: str) -> Call | None:  # noqa: A002 - the schema's word
        return self._calls.get(id)

    def add_call(self, call: Call) -> None:
        self._calls[call.id] = call

    def drop_call(self, call: Call) -> None:
        self._calls.pop(call.id, None)
        self.roaming.forget(call)

    def call_of(self, exchange: Challenged) -> Call | None:
        """The call whose request this is, if it is one."""
        owner: Any = getattr(exchange, "owner", None)
        inner: Any = getattr(owner, "call", owner)  # a request inside a call knows its call
        return self._calls.get(getattr(inner, "id", ""))

    async def _end_calls(self, account: Account | None, timeout: float) -> None:
        calls = [call for call in self._calls.values() if account is None or call.account is account]
        if calls:
            await asyncio.wait([asyncio.ensure_future(call.hangup()) for call in calls], timeout=timeout)

    # --- telling ----------------------------------------------------------------------------------------------

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def subscribe(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """Call *callback* with every notice, on the loop, at once.  Returns what ends that."""
        return self._listeners.subscribe(callback)

    def events(self) -> AsyncIterator[Notice]:
        """Every notice from now on, until the agent is closed: the same objects that ``--json`` prints."""
        return self._listeners.stream()

    def tell(self, notice: Notice) -> None:
        """Give *notice* to everybody who listens."""
        self._listeners.tell(notice)

    # --- inside -----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise AgentClosed("the user agent is closed")

    def _tls_for(self, name: str | None) -> TlsSettings:
        account = self.find_account(name)
        if account is None:
            return self._endpoint_config.tls
        config, common = account.config, self._endpoint_config.tls
        own = TlsSettings(ca_file=config.ca_file, cert_file=config.cert_file, key_file=config.key_file)
        return common if own == TlsSettings() else own._replace(key_log=common.key_log)

    def _plugin_factory(self, terminal: Terminal) -> Callable[[str], CredentialProvider]:
        def make(name: str) -> CredentialProvider:
            # By name and at run time, as entry points are: the import arrows stay one way (docs/architecture.md).
            plugins = importlib.import_module("sipcli.plugins")
            known = self.config.providers.get(name)
            table = {"type": name} if known is None else {"type": known.type, **known.options}
            provider: CredentialProvider = plugins.make_provider(name, table, terminal)
            return provider

        return make


T = TypeVar("T")


def _started(thing: T | None) -> T:
    if thing is None:
        raise AgentClosed("the user agent was not started")
    return thing
