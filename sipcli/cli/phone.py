"""The person at the terminal and his calls: what each key does, by the commands that ``sipcli ctl`` has, too."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.bottomline import columns_of
from sipcli.cli.callctl import CallCommands
from sipcli.cli.keys import Keyboard, KeyReader, Situation, key_rows, not_now
from sipcli.cli.livescreen import LiveScreen
from sipcli.cli.runtime import Run
from sipcli.cli.screen import statistics_rows
from sipcli.cli.switchctl import SwitchCommands
from sipcli.cli.terminal import TtyTerminal
from sipcli.cli.who import target_uri
from sipcli.credentials import Cancelled, CancelSignal, Unavailable
from sipcli.errors import SipcliError
from sipcli.ua.control.line import ControlError, Request

if TYPE_CHECKING:
    from sipcli.cli.incoming import CallDesk
    from sipcli.cli.talk import Talk
    from sipcli.sip.syntax.uri import SipUri
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.calls.redirects import RedirectRequest
    from sipcli.ua.calls.switchboard import Decision
    from sipcli.ua.calls.transfers import TransferRequest

__all__ = ["Phone", "person_there"]


def person_there(run: Run) -> bool:
    """Is a person at the terminal, who may press keys?"""
    return isinstance(run.terminal, TtyTerminal) and _is_tty(sys.stdin)


class Phone:
    """The calls of *agent* in the hands of a person.  *leave* is called when he wants no more of them."""

    def __init__(self, run: Run, agent: UserAgent, talk: Talk, *, leave: Callable[[], None] = lambda: None) -> None:
        self._run = run
        self._agent = agent
        self._talk = talk
        self._leave_verb = leave
        self._commands = {**CallCommands(agent).table, **SwitchCommands(agent).table}
        self._keyboard, self._reader = Keyboard(), KeyReader()
        self._question: TransferRequest | RedirectRequest | None = None
        self._digits: deque[tuple[Call, str]] = deque()
        self._dialling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[CancelSignal] = set()
        self._there = person_there(run)
        self.screen = LiveScreen(run, agent, self._keyboard)
        if self._there:
            self.screen.watch()

    @asynccontextmanager
    async def at_hand(self, ready: str = "") -> AsyncIterator[Phone]:
        """Read keys and draw the screen meanwhile, where there is a person.  *ready*: what we do without calls."""
        terminal = self._run.terminal
        if not self._there or not isinstance(terminal, TtyTerminal):
            yield self
            return
        self._agent.transfers.on_request = self._asked
        loop, stop = asyncio.get_running_loop(), CancelSignal()
        with self.screen.shown(terminal, ready):
            thread = terminal.start_keys(_post(loop, self._typed), stop)
            try:
                yield self
            finally:
                stop.set()
                for asking in self._asking:
                    asking.set()
                for task in list(self._tasks):
                    task.cancel()
                if thread is not None:
                    thread.join(0.5)  # it puts the terminal back; that takes microseconds
                stop.close()

    async def until_free(self, desk: CallDesk) -> None:
        """Until the calls that the person has besides are over."""
        if not self._there:
            return
        await desk.idle()
        while calls := self._agent.calls:
            await asyncio.gather(*(call.finished() for call in calls), return_exceptions=True)

    # ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def situations(self) -> set[Situation]:
        """What holds of our calls."""
        found: set[Situation] = set()
        if self.screen.ringing is not None:
            found.add("rings")
        call = self.screen.front
        if call is not None and call.is_up:
            found.add("held" if call.session.held else "up")
        elif call is not None:
            found.add("calling")
        return found

    def _typed(self, typed: str) -> None:
        keys, ignored = self._reader.feed(typed, time.monotonic())
        if ignored:
            self._say(f"{ignored} characters at once are no keys, and nothing was done")
        for key in keys:
            self._press(key)
        self.screen.draw()

    def _press(self, key: str) -> None:
        self._keyboard.asked = self._question is not None and self._question.open
        situations = self.situations
        command = self._keyboard.press(key, situations)
        if command is None:
            return
        if command.name == "not_now":
            self._say(not_now(key, situations))
            return
        done: Coroutine[Any, Any, None] | None = getattr(self, f"_on_{command.name}")(command.key)
        if done is not None:
            self._start(done)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._carefully(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carefully(self, work: Coroutine[Any, Any, None]) -> None:
        """What a key cannot do is a sentence, and the calls go on."""
        try:
            await work
        except (ControlError, SipcliError) as error:
            self._say(str(error))
            if error.hint:
                self._say(f"  {error.hint}")
        self.screen.draw()

    async def _command(self, word: str, call: Call, **fields: Any) -> Mapping[str, Any]:
        """What ``sipcli ctl WORD --call ID`` does."""
        name = f"call.{word}"
        return await self._commands[name](Request(id=None, command=name, fields={"call": call.id, **fields}))

    def _say(self, text: str) -> None:
        self._run.console.say(text)

    # ── one call ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_answer(self, _key: str) -> None:
        self._decide("answer")

    async def _on_reject(self, _key: str) -> None:
        self._decide("reject")

    async def _on_decline(self, _key: str) -> None:
        self._decide("decline")

    def _decide(self, decision: Decision) -> None:
        if (call := self.screen.ringing) is not None:
            self._agent.switchboard.decide(call, decision)

    async def _on_hangup(self, _key: str) -> None:
        if (call := self.screen.front) is not None:
            await call.hangup()

    async def _on_mute(self, _key: str) -> None:
        call = self._front
        told = await self._command("unmute" if call.muted else "mute", call)
        self._say("microphone off" if told["muted"] else "microphone on")

    async def _on_hold(self, _key: str) -> None:
        call = self._front
        await self._command("resume" if call.session.held else "hold", call)

    async def _on_record(self, _key: str) -> None:
        call = self._front
        if call.session.recording:
            await self._command("stop-recording", call)
            self._say("the recording is whole")
        else:
            path = recording_path(Path.cwd(), call.id, time.localtime())
            await self._command("record", call, file=str(path))
            self._say(f"recording both sides: {path}")

    async def _on_dtmf(self, key: str) -> None:
        """One after the other, each to the call that was in front when it was pressed."""
        self._digits.append((self._front, key))
        if self._dialling:
            return
        self._dialling = True
        try:
            while self._digits:
                call, digit = self._digits.popleft()
                await self._command("dtmf", call, digits=digit)
        finally:
            self._dialling = False
            self._digits.clear()

    def _on_digits(self, _key: str) -> None:
        self._say("digits: 0-9 * # A-D are sent, Enter ends it")

    def _on_digits_done(self, _key: str) -> None:
        self._say("keys are commands again")

    @property
    def _front(self) -> Call:
        call = self.screen.front
        if call is None:
            raise ControlError("no_call", "there is no call")
        return call

    # ── several calls ─────────────────────────────────────────────────────────────────────────────────────────

    async def _on_transfer(self, _key: str) -> None:
        call = self._front
        target = await self._target("Transfer to: ", call)
        if target is not None:
            await self._command("transfer", call, target=str(target))

    async def _on_consult(self, _key: str) -> None:
        """With one call: hold it, and call somebody.  With two: join their far ends, and be out of it."""
        call = self._front
        others = [other for other in self._agent.calls if other is not call and other is not self.screen.ringing]
        if len(others) == 1:
            waits = next((one for one in (call, others[0]) if not one.is_up), None)
            if waits is not None:
                raise ControlError("wrong_state", f"{waits.id} is not answered yet", hint="press T once it is")
            await self._command("transfer", others[0], to=call.id)
        elif others:
            ids = ", ".join(one.id for one in (call, *others))
            raise ControlError("which", f"which two of {ids}?", hint="sipcli ctl transfer CALL --to CALL")
        else:
            await self._ask_somebody(call)

    async def _ask_somebody(self, call: Call) -> None:
        target = await self._target("Call first: ", call)
        if target is None or call.is_over:
            return
        account = call.account or self._agent.accounts[0]
        if not call.session.held:
            await self._command("hold", call)
        new = await account.call(target, **self._talk.media)
        self.screen.bring(new)
        try:
            await new.answered()
        except SipcliError as error:
            raise ControlError("failed", str(error), hint=f"[o] resumes {call.id}") from None
        self._say("[T] joins the two, [Tab] goes back and forth, [h] hangs this one up")

    async def _on_conference(self, _key: str) -> None:
        told = await self._command("conference", self._front)
        self._say(f"{', '.join(told['conference'])} and you hear each other")

    async def _on_next(self, _key: str) -> None:
        following = self.screen.following
        if following is None:
            self._say("there is no other call" + (" to talk to: [a] answers" if self.screen.ringing else ""))
            return
        front = self.screen.front
        together = front is not None and front.conference is not None and following.conference is front.conference
        if following.is_up and not together:
            await self._command("switch", following)
        self.screen.bring(following)

    # ── panes ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_statistics(self, _key: str) -> None:
        session = self._front.session
        rows, lines = statistics_rows(session.report(verdict=False), session.facts())
        await self._table(("", "received", "sent"), rows)
        for line in lines:
            self._say(f"  {line}")

    async def _on_help(self, _key: str) -> None:
        await self._table(("", ""), key_rows(self.situations))

    async def _table(self, header: tuple[str, ...], rows: list[Any]) -> None:
        from sipcli.cli.tables import table_lines

        width = columns_of(self._run.environment.stderr) - 3
        # The first time rich is loaded: on a thread, for the loop is in the middle of its calls.
        for line in await self._run.in_thread(partial(table_lines, header, rows, width)):
            self._say(f"  {line}")

    def _on_ladder(self, _key: str) -> None:
        self.screen.toggle_ladder()

    def _on_trace(self, _key: str) -> None:
        self.screen.toggle_trace()

    # ── questions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _asked(self, request: TransferRequest | RedirectRequest) -> None:
        """Somebody sends us on."""
        self._question = request
        self._keyboard.asked = True
        self._say("go there?  [y]es  [n]o")
        self.screen.draw()

    def _on_go(self, _key: str) -> None:
        if self._question is not None:
            self._question.accept()

    def _on_remain(self, _key: str) -> None:
        if self._question is not None:
            self._question.refuse()

    def _on_quit(self, _key: str) -> None:
        self._say("hang up and leave?  [q] once more; any other key stays")

    def _on_stay(self, _key: str) -> None:
        self._say("staying")

    async def _on_leave(self, _key: str) -> None:
        self._leave_verb()
        await asyncio.gather(*(call.hangup() for call in self._agent.calls))

    async def _target(self, prompt: str, call: Call) -> SipUri | None:
        """Whom the person names, in a line of his; None: nobody after all."""
        terminal = self._run.terminal
        assert isinstance(terminal, TtyTerminal)
        cancel = CancelSignal()
        self._asking.add(cancel)
        try:
            line = await self._run.in_thread(partial(terminal.ask, prompt, secret=False, cancel=cancel))
        except (Cancelled, Unavailable):
            return None
        finally:
            self._asking.discard(cancel)
        text = line.reveal().decode("utf-8", "replace").strip()
        account = call.account or next(iter(self._agent.accounts), None)
        return target_uri(text, None if account is None else account.config) if text else None


def recording_path(folder: Path, call: str, at: time.struct_time) -> Path:
    """A file in *folder* that is not there yet, named by time and call."""
    name = f"call-{time.strftime('%Y%m%d-%H%M%S', at)}-{call}"
    path, number = folder / f"{name}.wav", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.wav"
    return path


def _post(loop: asyncio.AbstractEventLoop, act: Callable[[str], None]) -> Callable[[str], None]:
    def on_keys(typed: str) -> None:
        try:
            loop.call_soon_threadsafe(act, typed)
        except RuntimeError:
            pass  # the loop has closed: the key comes too late

    return on_keys


def _is_tty(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
