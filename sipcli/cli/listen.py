"""``sipcli listen``: register, wait for calls, and answer them as told."""

from __future__ import annotations

import asyncio
import json
import os
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.oncall import CallProgram, Chooser, after, choosing
from sipcli.cli.parameters import (
    GlobalOptions,
    Seconds,
    account_options,
    control_option,
    follow_option,
    media_options,
    verb,
)
from sipcli.cli.restrained import register
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.talk import Talk
from sipcli.cli.who import listener
from sipcli.config import AccountConfig
from sipcli.errors import ConfigError, MediaFailed, NetworkError, NoAnswer, SipcliError

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["AnswerPlan", "command"]

_RING_S = 30.0
_BUSY, _FORBIDDEN, _NOBODY = 486, 403, 480
_WORDS = {"busy": 486, "decline": 603}


class AnswerPlan:
    """What each call gets: ``ask``, ``auto``, or a final status; the last of a list serves all that follow."""

    def __init__(self, text: str, allow: tuple[str, ...] = ()) -> None:
        self._plan = [self._step(word.strip()) for word in text.split(",")]
        self._allow = allow
        self._taken = 0

    @staticmethod
    def _step(word: str) -> str | int:
        if word in ("ask", "auto"):
            return word
        if word in _WORDS:
            return _WORDS[word]
        if word.isdigit() and 300 <= int(word) <= 699:
            return int(word)
        raise ConfigError(
            f"--answer cannot be “{word}”", hint="it is ask, auto, busy, decline, or codes from 300 to 699: 486,603"
        )

    def next_for(self, uri: str) -> str | int:
        """For a call from *uri*.  ``--allow`` keeps ``auto`` for those it names; others are refused with 403."""
        step = self._plan[min(self._taken, len(self._plan) - 1)]
        self._taken += 1
        if step == "auto" and self._allow and not any(_matches(uri, pattern) for pattern in self._allow):
            return _FORBIDDEN
        return step


def _matches(uri: str, pattern: str) -> bool:
    """Globs are written with the scheme or without."""
    bare = uri.partition(":")[2]
    return fnmatchcase(uri, pattern) or fnmatchcase(bare, pattern)


@verb("listen")
@click.option(
    "--answer",
    metavar="ask|auto|busy|decline|CODE[,CODE...]",
    help="What calls get; ask where nothing else is said.",
)
@click.option("--from", "aor", metavar="AOR", help="Who listens: an address, or an account's name.")
@click.option("--no-register", is_flag=True, help="Just listen, on --port.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port to listen on; 0 takes a free one."
)
@click.option(
    "--max-calls",
    type=click.IntRange(min=1),
    metavar="N",
    help="Leave after N calls; more than N at once are busy (2).",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Written when calls can come."
)
@click.option(
    "--allow", multiple=True, metavar="GLOB", help="Answer automatically only callers like this: '*@example.com'."
)
@click.option(
    "--answer-after", type=Seconds(), metavar="S", help="Let it ring for S seconds before it is answered automatically."
)
@click.option(
    "--on-call",
    metavar="CMD",
    help="A program decides: it reads the call as JSON; exit status 0 answers, 6 is busy, all others decline.",
)
@click.option("--allow-anonymous", is_flag=True, help="Take calls that did not come through our own server.")
@click.option("--early-media", is_flag=True, help="Let callers hear --audio while it rings (183).")
@media_options
@follow_option("transfer", "When they send us elsewhere")
@account_options
@control_option
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    answer: str | None,
    aor: str | None,
    no_register: bool,
    max_calls: int | None,
    ready_file: Path | None,
    allow: tuple[str, ...],
    answer_after: float | None,
    on_call: str | None,
    allow_anonymous: bool,
    early_media: bool,
    control: Path | None,
    **said: Any,
) -> int:
    """Register and wait for calls; with --timeout, leave when none came in that time.

    On a terminal a answers, r rejects (486) and R declines (603); in a call h or q hangs up, and digits are sent.
    """

    async def body(run: Run) -> Outcome:
        from sipcli.sip.profile import EngineConfig

        if answer is not None and on_call is not None:
            raise ConfigError("--answer and --on-call both decide about calls", hint="leave one of them out")
        plan = AnswerPlan(answer or ("auto" if on_call or answer_after else "ask"), allow)
        chooser: Chooser | None = None if on_call is None else CallProgram(on_call).decide
        if answer_after is not None:
            chooser = after(answer_after, chooser)
        ring = said.pop("ring_timeout") or _RING_S
        if answer_after is not None and answer_after >= ring:
            raise ConfigError(
                f"--answer-after {answer_after:g} is never: it rings for {ring:g} s",
                hint="--ring-timeout S rings longer",
            )
        talk = Talk.wanted(run, said)
        account = _account(run, aor, no_register, said)
        run.ends_with_reader = True
        # Without a registrar there is no server of ours that calls could come through.
        direct = no_register or not account.register
        engine = EngineConfig(accept_calls="any" if direct or allow_anonymous else "bound")
        port = said.pop("port")
        async with (
            run.agent([account], engine_config=engine, bind_port=0 if direct else port) as agent,
            run.controlled(agent, control),
        ):
            me = agent.account(account.name)
            talk.answers_for(agent)
            desk = _Desk(run, plan, talk, max_calls, ring, chooser, early=early_media)
            # A caller who names none of our contacts belongs to no account.
            me.incoming = agent.on_incoming = desk.incoming
            if not direct:
                run.reload_when_hung_up(agent, lambda: [_account(run, aor, no_register, said)])
                await register(run, agent, account, retry_now=said["retry_now"])
            else:
                await _open(agent, port)
            run.ready()
            if ready_file is not None:
                await run.in_thread(partial(_write_ready, ready_file, run.readiness()))
            await desk.serve(run.options.timeout)
        return desk.outcome()

    return run_verb("listen", options, body)


async def _open(agent: UserAgent, port: int) -> None:
    """Listen for everybody, by UDP and TCP, on *port*; 0 takes one that both have free."""
    for transport in ("udp", "tcp"):
        try:
            _, port = await agent.endpoint.listen(transport, "0.0.0.0", port)  # noqa: S104  # calls come from anywhere
        except NetworkError as error:
            why = str(error).removeprefix("connect: ")
            raise NetworkError(why, hint="choose another: --port N") from error.__cause__


def _account(run: Run, aor: str | None, no_register: bool, said: dict[str, Any]) -> AccountConfig:
    if no_register and aor is None and run.options.account is None and not run.load_config().accounts:
        return run.adopt(listener(), **said)
    return run.account(aor, **said)


class _Desk:
    """Takes the calls, counts them, and knows when enough were taken."""

    def __init__(
        self,
        run: Run,
        plan: AnswerPlan,
        talk: Talk,
        max_calls: int | None,
        ring: float,
        chooser: Chooser | None,
        *,
        early: bool,
    ) -> None:
        self._run = run
        self._plan = plan
        self._talk = talk
        self._limit = max_calls
        self._at_once = max_calls or 2
        self._ring = ring
        self._chooser = chooser
        self._early = early
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = asyncio.Event()
        self._enough = asyncio.Event()
        self._seen = self._answered = 0
        self._deaf: MediaFailed | None = None

    def incoming(self, call: Call) -> None:
        """Hook of the account: decides nothing itself, so that the stack goes on."""
        self._first.set()
        self._seen += 1
        if len(self._tasks) >= self._at_once:
            call.reject(_BUSY)
            return
        task = asyncio.get_running_loop().create_task(self._take(call), name=f"call-{call.id}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._limit is not None and self._seen >= self._limit and not self._tasks:
            self._enough.set()

    async def serve(self, timeout: float | None) -> None:
        """Until enough calls were taken.  NoAnswer when the first did not come within *timeout*."""
        try:
            async with asyncio.timeout(timeout):
                await self._first.wait()
        except TimeoutError:
            raise NoAnswer(f"no call came in {timeout:g} s") from None
        await self._enough.wait()

    async def _take(self, call: Call) -> None:
        from sipcli.ua.notices import WarningNotice

        uri = str(call.remote.uri)
        step = self._plan.next_for(uri)
        try:
            if isinstance(step, int):
                call.reject(step)
                return
            chooser = self._chooser if step == "auto" else None
            if (step == "ask" or chooser is not None) and not await self._asked(call, chooser):
                return
            if step == "ask":
                await call.agent.switchboard.hold_others(call)  # a person talks to one; a bot may talk to many
            await call.accept(**self._talk.media, record=self._talk.recording(call.id, self._answered + 1))
            self._answered += 1
            async with self._talk.hot_keys(call):
                await self._talk.until_the_end(call)
        except SipcliError as error:
            if isinstance(error, MediaFailed):
                self._deaf = error
            # One caller's trouble must not end the service for the next.
            call.agent.tell(WarningNotice(code="call_failed", message=f"call from {uri}: {error}", hint=error.hint))

    async def _asked(self, call: Call, chooser: Chooser | None) -> bool:
        """Ring, and let the person decide, or *chooser*; False when the call was refused, or went away."""
        if self._early:
            await call.early(**self._talk.media, record=self._talk.recording(call.id, self._answered + 1))
        else:
            call.ring()
        self._run.console.say(f"[a]nswer  [r]eject  [R] decline   rings {self._ring:g} s")
        async with choosing(call, chooser):
            decision = await self._talk.decision(call, self._ring)
        if decision == "answer":
            return True
        if decision is not None:
            call.reject({"reject": 486, "decline": 603}.get(decision, _NOBODY))
        return False

    def outcome(self) -> Outcome:
        if self._deaf is not None and not self._answered:
            raise self._deaf
        words = f"{self._seen} call{'s' * (self._seen != 1)}, {self._answered} answered"
        return Outcome("served", words, more={"calls": self._seen, "answered": self._answered})


def _write_ready(path: Path, fields: dict[str, Any]) -> None:
    """The ``ready`` event as JSON, complete when the file appears: written beside it, and moved there."""
    text = json.dumps({"event": "ready", **fields}) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)
