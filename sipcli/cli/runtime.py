"""One run of one verb: its loop, its console and terminal, its signals, and the one ``result`` at its end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sipcli.cli.console import Console
from sipcli.cli.environment import Environment, hide_memory
from sipcli.cli.exits import ExitStatus
from sipcli.cli.failure import report_failure
from sipcli.cli.logs import logs_on
from sipcli.cli.outputs import Outputs
from sipcli.cli.parameters import GlobalOptions
from sipcli.cli.patience import Patience
from sipcli.cli.signals import CLEAN_UP_S, Signals
from sipcli.cli.silent import SilentTerminal
from sipcli.cli.tally import Tally
from sipcli.cli.words import Talker
from sipcli.config import AccountConfig, Config, default_config_path, load_config
from sipcli.errors import NoAnswer

if TYPE_CHECKING:
    from sipcli.cli.control import ControlDesk
    from sipcli.cli.terminal import TtyTerminal
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.notices import Notice
    from sipcli.ua.statebook import StateBook

__all__ = ["Outcome", "Run", "run_verb"]

_T = TypeVar("_T")

SETTLED_S = 1.0
"""By then a verb has imported and made what it needs for as long as it lives."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a verb ended when nothing was raised.  *message* is what a person reads; *more* goes into ``result``."""

    outcome: str
    message: str = ""
    status: ExitStatus = ExitStatus.OK
    hint: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


class Run:
    """What a verb's coroutine is given."""

    def __init__(self, verb: str, options: GlobalOptions, *, environment: Environment | None = None) -> None:
        self.verb = verb
        self.options = options
        self.environment = environment or Environment()
        self.console = Console(
            json=options.json, color=options.color, verbose=options.verbose, environment=self.environment
        )
        self.config = Config()
        self.tally = Tally()
        self._state: StateBook | None = None
        self._any_realm = False
        self.more: dict[str, Any] = {}
        """Fields for ``result`` that are known before the end, so that an interrupted run has them, too."""
        self.unsaid: frozenset[str] = frozenset()
        """Events that a verb puts into words of its own."""
        self.ends_with_reader = False
        """True for verbs that go on until told to stop: nobody reads, so nobody needs them."""
        self.talker = Talker()
        self.terminal: TtyTerminal | SilentTerminal = self._make_terminal()
        self.console.print_line = self.terminal.print_line
        self.signals: Signals | None = None
        self.on_notice: Callable[[str, dict[str, Any]], None] | None = None
        """A verb's own look at every event."""
        self._agent: UserAgent | None = None
        self._control: ControlDesk | None = None
        self._config_read = self._ready = self._save = False
        self._outputs = Outputs(self.environment)
        self._task: asyncio.Task[Outcome] | None = None
        self._signal: signal.Signals | None = None
        self._reader_left = False
        self._patience: list[Patience] = []

    # ── what a verb needs ─────────────────────────────────────────────────────────────────────────────────────

    def load_config(self) -> Config:
        """The configuration that ``--config``, ``$SIPCLI_CONFIG`` or the default place names.  Raises ConfigError."""
        self.config = load_config(self.options.config, environ=self.environment.variables)
        self._config_read = True
        return self.config

    def account(self, who: str | None = None, **said: Any) -> AccountConfig:
        """The account that *who*, ``--account`` or the configuration means, as the options of this run want it.

        It is part of :attr:`config` afterwards.  *said* are the verb's own
        options (transport, registrar, proxy, username, expires, password_file).
        """
        from sipcli.cli.who import choose_account

        if not self._config_read:
            self.load_config()
        return self.adopt(choose_account(self.config, self.options.account, who), **said)

    def adopt(self, account: AccountConfig, **said: Any) -> AccountConfig:
        """*account* as the options of this run want it; it is part of :attr:`config` afterwards."""
        from sipcli.cli.who import customise

        self._save = self._save or bool(said.get("save"))
        if said.get("insecure_any_realm"):
            self._any_realm = True  # what is answered this once must not be known the next time
        self.config, account = customise(self.config, account, self.options, said)
        return account

    @property
    def state(self) -> StateBook:
        """What is remembered of the accounts' servers, and of their refusals."""
        from sipcli.ua.statebook import StateBook, default_state_path

        if self._state is None:
            path = None if self._any_realm else default_state_path(self.environment.variables)
            self._state = StateBook(path, warn=self._doubt_state)
        return self._state

    def ready(self) -> None:
        """Tell programs, once, that we are up and where we listen."""
        if not self._ready and self._agent is not None:
            self._ready = True
            self.event("ready", self.readiness())

    def readiness(self) -> dict[str, Any]:
        """The fields of ``ready``: who we are, and where we listen."""
        from sipcli import __version__

        listening = self._agent.listening if self._agent is not None else ()
        control = None if self._control is None else self._control.path
        return {
            "pid": os.getpid(),
            "version": __version__,
            "listen": [at.to_json() for at in listening],
            "control": None if control is None else str(control),
        }

    def reload_when_hung_up(self, agent: UserAgent, again: Callable[[], Iterable[AccountConfig]]) -> None:
        """From now on SIGHUP reads the configuration again, where there is no terminal that could have hung up.

        *again* gives the accounts that the verb wants of it.
        """
        if self.signals is not None and not self.terminal.exists:
            from sipcli.cli.reload import Reloader

            self.signals.reload = Reloader(self, agent, again)

    @asynccontextmanager
    async def controlled(self, agent: UserAgent, control: Path | None) -> AsyncIterator[None]:
        """From now on other programs of this user may command us, and registrations wait for a person elsewhere.

        *control* names the socket; None: in the run-time directory, if there is one.
        """
        from sipcli.cli.control import ControlDesk

        self._control = ControlDesk(self, agent)
        self.talker.control = control
        async with self._control.open(control):
            agent.waits = lambda: not self.options.no_input and not self.terminal.available
            yield

    @property
    def config_path(self) -> Path | None:
        """Where the configuration is, or would be."""
        named = self.options.config or self.environment.variables.get("SIPCLI_CONFIG")
        return Path(named).expanduser() if named else default_config_path(self.environment.variables)

    @asynccontextmanager
    async def agent(self, accounts: Iterable[AccountConfig], **settings: Any) -> AsyncIterator[UserAgent]:
        """A user agent with *accounts*, started; closed - calls hung up, bindings removed - whatever happens."""
        from sipcli.ua.agent import UserAgent

        aors = {account.name: str(account.aor) for account in accounts}
        self.talker = Talker(aors, can_ask=lambda: self.terminal.available)
        settings.setdefault("state", self.state)
        settings["trace"] = bool(settings.get("trace") or self._outputs.want_messages or self.options.verbose)
        if (key_log := self._outputs.key_log) is not None:
            from sipcli.ua.net.endpoint import EndpointConfig
            from sipcli.ua.net.tls import TlsSettings

            tls = TlsSettings(key_log=key_log)
            settings["endpoint_config"] = EndpointConfig(bind_port=settings.pop("bind_port", 0), tls=tls)
        agent = UserAgent(
            self.config,
            terminal=self.terminal,
            interactive=not self.options.no_input,
            max_wait=self.options.max_wait,
            save=self._save,
            **settings,
        )
        unsubscribe = agent.subscribe(self.notice)
        try:
            await agent.start()
            self._agent = agent
            yield agent
        finally:
            # A little less than the signals allow, so that a slow server does not cut the last words short.
            await agent.close(timeout=CLEAN_UP_S - 0.3)
            unsubscribe()

    @asynccontextmanager
    async def patience(self, seconds: float | None, sentence: str) -> AsyncIterator[None]:
        """NoAnswer(*sentence*) after *seconds*; the time while a challenge waits for its secret does not count."""
        if seconds is None:
            yield
            return
        try:
            async with asyncio.timeout(None) as scope:
                patience = Patience(scope, seconds, self.tally)
                self._patience.append(patience)
                try:
                    yield
                finally:
                    self._patience.remove(patience)
        except TimeoutError:
            raise NoAnswer(sentence, hint="look at what was sent with --ladder") from None

    def notice(self, notice: Notice) -> None:
        """Everything the agent tells passes here once: to programs, to people, to the trace and the picture."""
        self.event(notice.event, notice.to_json())

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """One event of the schema, told to everybody who wants it."""
        self.tally.count(name, fields)
        for patience in self._patience:
            patience.look()
        if why := self._outputs.write(name, fields):
            self.event("warning", {"code": "trace_stopped", "message": f"the trace has stopped: {why}"})
        if name != "trace" or self.options.verbose >= 2:
            self.console.event(name, fields)
        for line in self._outputs.draw(name, fields):
            self.console.picture(line)
        self._say(name, fields)
        if self.on_notice is not None:
            self.on_notice(name, fields)

    async def in_thread(self, function: Callable[[], _T], name: str = "sipcli-cli") -> _T:
        """*function* on a daemon thread: what it waits for must not hold the exit, as an executor's would."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def settle(result: _T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T, for there was no error

        def work() -> None:
            try:
                result, error = function(), None
            except Exception as raised:
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop has closed: nobody waits any more

        threading.Thread(target=work, name=name, daemon=True).start()
        return await future

    # ── the run itself ────────────────────────────────────────────────────────────────────────────────────────

    def execute(self, verb: Callable[[Run], Awaitable[Outcome]]) -> int:
        """Run *verb* to its end; returns the exit status.  Raises nothing but what is a bug of sipcli itself."""
        from sipcli.ua.net.punctual import new_loop

        hide_memory()
        try:
            self._open_outputs()
            with logs_on(self.console), asyncio.Runner(loop_factory=new_loop) as runner:
                status = runner.run(self._supervise(verb))
            return ExitStatus.OTHER if status == ExitStatus.OK and self.console.output_failed else status
        except Exception as error:
            return self._fail(error)
        finally:
            gc.unfreeze()
            gc.enable()
            self._outputs.close()

    async def _supervise(self, verb: Callable[[Run], Awaitable[Outcome]]) -> int:
        loop = asyncio.get_running_loop()
        loop.call_later(SETTLED_S, _collect_from_now_on)
        self.console.on_reader_gone = self._on_reader_gone

        async def body() -> Outcome:
            return await verb(self)

        self._task = loop.create_task(body(), name=self.verb)
        with Signals(loop, self.terminal, stop=self._on_signal, leave=self._leave_now) as self.signals:
            await asyncio.wait({self._task})
            return self._conclude(self._task)

    def _conclude(self, task: asyncio.Task[Outcome]) -> int:
        error = None if task.cancelled() else task.exception()
        if self._signal is not None:
            return self._interrupted(self._signal)
        if self._reader_left and self.ends_with_reader:
            return ExitStatus.OK
        if task.cancelled():
            return self._interrupted(signal.SIGINT)
        if isinstance(error, Exception):
            return self._fail(error)
        if error is not None:
            raise error
        done = task.result()
        more = {"auth": self.tally.totals(), **self.more, **done.more}
        self.console.result(self.verb, done.status, done.outcome, done.message, hint=done.hint, **more)
        return done.status

    def _fail(self, error: Exception) -> int:
        more = {"auth": self.tally.totals(), **self.more}
        return report_failure(self.console, self.verb, error, verbose=self.options.verbose >= 2, **more)

    def _interrupted(self, number: signal.Signals) -> int:
        status = ExitStatus(128 + number)
        message = f"ended by {number.name}" if self.options.json else ""
        more = {"auth": self.tally.totals(), **self.more}
        self.console.result(self.verb, status, "interrupted", message, **more)
        return status

    def _on_signal(self, number: signal.Signals) -> None:
        self._signal = number
        assert self._task is not None
        self._task.cancel()
        # A provider or a server that does not listen to reason must not hold the exit.
        asyncio.get_running_loop().call_later(CLEAN_UP_S, self._leave_now, number)

    def _on_reader_gone(self) -> None:
        self._reader_left = True
        if self.ends_with_reader and self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _leave_now(self, number: signal.Signals) -> None:
        self._interrupted(number)
        self.terminal.restore()
        if self._control is not None:
            self._control.remove()
        self._outputs.close()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(128 + number)

    def _make_terminal(self) -> TtyTerminal | SilentTerminal:
        if self.options.no_input:
            return SilentTerminal(say=self.console.write_error, why="--no-input forbids asking")
        if sys.platform == "win32":
            return SilentTerminal(say=self.console.write_error, why="asking on a terminal needs Linux or macOS")
        from sipcli.cli.terminal import TtyTerminal

        return TtyTerminal(say=self.console.write_error)

    def _open_outputs(self) -> None:
        self._outputs.open(self.options)
        if self._outputs.key_log is not None:
            message = f"whoever has {self._outputs.key_log} can read what goes over TLS, keys of calls included"
            self.event("warning", {"code": "key-log", "message": message, "hint": "delete it once it has served"})

    def _doubt_state(self, words: str) -> None:
        self.event("warning", {"code": "state", "message": words, "hint": "what was remembered of servers is lost"})

    def _say(self, name: str, fields: dict[str, Any]) -> None:
        sentence = self.talker.sentence(name, fields)
        if sentence is not None and name not in self.unsaid:
            self.console.say(sentence.text, style=sentence.style, level=sentence.level)
        if name == "trace" and self.options.verbose >= 2:
            for line in fields["sip"].replace("\r\n", "\n").rstrip("\n").split("\n"):
                self.console.say(f"    {line}", level=2)


def _collect_from_now_on() -> None:
    """What is there by now stays: a full collection that walks through it takes half a beat of the audio."""
    gc.freeze()
    gc.enable()


def run_verb(verb: str, options: GlobalOptions, coroutine: Callable[[Run], Awaitable[Outcome]]) -> int:
    """What a click command returns: the exit status of *coroutine*."""
    return Run(verb, options).execute(coroutine)
