"""What ``call`` and ``listen`` do with an answered call: digits, hot-keys, the end of it, and how it sounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.runtime import Outcome, Run
from sipcli.cli.terminal import TtyTerminal
from sipcli.credentials import CancelSignal
from sipcli.errors import ConfigError
from sipcli.observe.quality import quality_lines

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call, CallReport
    from sipcli.ua.calls.redirects import RedirectRequest
    from sipcli.ua.calls.switchboard import Decision
    from sipcli.ua.calls.transfers import TransferRequest

__all__ = ["Talk", "call_facts"]

_CHOICES: dict[str, Decision] = {"a": "answer", "r": "reject", "R": "decline"}
_DIGITS = frozenset(",0123456789*#ABCDabcd")


class Talk:
    """The wishes of one run (``--audio --codec --ice --record`` and so on), and what became of its calls."""

    def __init__(
        self, run: Run, media: dict[str, Any], record: Path | None, dtmf: str | None, duration: float | None
    ) -> None:
        self._run = run
        self.media = media
        """Keywords of :class:`~sipcli.ua.media.media_io.MediaSession`."""
        self.record = record
        self._dtmf = dtmf
        self._duration = duration
        self._report: CallReport | None = None
        self._question: TransferRequest | RedirectRequest | None = None

    @classmethod
    def wanted(cls, run: Run, said: dict[str, Any]) -> Talk:
        """From the verb's options, which are taken out of *said*.  Raises ConfigError before anything is sent."""
        from sipcli.ua.media.audio import Stdio, parse_audio

        digits = said.pop("dtmf")
        if digits is not None and (not digits or not set(digits) <= _DIGITS):
            raise ConfigError(f"“{digits}” are no DTMF digits", hint="digits are 0-9 * # A-D, and a comma waits")
        audio = parse_audio(said.pop("audio"))
        if isinstance(audio, Stdio):
            if run.options.json:
                raise ConfigError("--json and --audio stdio both want stdout", hint="leave one of them out")
            run.console.stdout_taken = True
        media: dict[str, Any] = {"audio": audio, "record_mode": said.pop("record_mode")}
        if (named := said.pop("codec")) is not None:
            from sipcli.media.codecs import choose

            media["codecs"] = [codec.name for codec in choose(named.split(","))]
        for name in ("srtp", "srtp_keys", "ice"):
            if (policy := said.pop(name)) is not None:
                media[name] = policy
        return cls(run, media, said.pop("record"), digits, said.pop("duration"))

    async def until_the_end(self, call: Call) -> None:
        """From the answer to the last BYE: of this call, or of the one that took its place."""
        loop = asyncio.get_running_loop()
        until = None if self._duration is None else loop.time() + self._duration
        digits = asyncio.ensure_future(call.dtmf(self._dtmf)) if self._dtmf else None
        try:
            await self._stay(call, until)
            while call.successor is not None:
                call = call.successor
                await call.answered()
                await self._stay(call, until)
        finally:
            if digits is not None:
                digits.cancel()
        self._run.more["call"] = call_facts(self._report) if self._report is not None else None

    async def _stay(self, call: Call, until: float | None) -> None:
        """Until *call* is over; at *until*, on the loop's clock, we hang up."""
        ended = asyncio.ensure_future(call.finished())
        try:
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            await asyncio.wait({ended}, timeout=left)
            if not ended.done():
                await call.hangup()
            self._report = await ended
        finally:
            ended.cancel()

    def answers_for(self, agent: UserAgent) -> None:
        """A person at the terminal is asked when somebody sends us elsewhere; without one the answer is no."""
        if self._can_ask:
            agent.transfers.on_request = self._asked

    def _asked(self, request: TransferRequest | RedirectRequest) -> None:
        self._question = request
        self._run.console.say("go there?  [y]es  [n]o")

    def _decided(self, key: str) -> bool:
        """Was *key* the answer to a question?"""
        question = self._question
        if question is None or not question.open or key not in "yn":
            return False
        self._question = None
        if key == "y":
            question.accept()
        else:
            question.refuse()
        return True

    async def decision(self, call: Call, seconds: float) -> str | None:
        """``answer``, ``reject``, ``decline``: what a person chose; ``late`` after *seconds*; None: the caller left."""
        switchboard = call.agent.switchboard
        chosen = switchboard.ask(call)

        def act(key: str) -> None:
            choice = _CHOICES.get(key)
            if choice is not None and not chosen.done():
                switchboard.decide(call, choice)

        gone = asyncio.ensure_future(call.finished())
        try:
            async with self._keys(act):
                waited: set[asyncio.Future[Any]] = {chosen, gone}
                await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if chosen.done():
                return chosen.result()
            return None if gone.done() else "late"
        finally:
            gone.cancel()
            switchboard.forget(call)

    def recording(self, call_id: str, number: int) -> Path | None:
        """Where call *number* is recorded: ``%c`` is its id, ``%n`` its number; without either later ones get -2…"""
        if self.record is None:
            return None
        name = self.record.name
        if "%c" in name or "%n" in name:
            return self.record.with_name(name.replace("%c", call_id).replace("%n", str(number)))
        return self.record if number == 1 else self.record.with_stem(f"{self.record.stem}-{number}")

    @asynccontextmanager
    async def hot_keys(self, call: Call) -> AsyncIterator[None]:
        """``h`` and ``q`` hang up, digits are sent, ``y`` and ``n`` answer: only where a person is at the terminal."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def act(key: str) -> None:
            now = _latest(call)
            if self._decided(key):
                return
            if key in "hq":
                work = loop.create_task(now.hangup())
            elif key in "0123456789*#":
                work = loop.create_task(now.dtmf(key))
            else:
                return
            tasks.add(work)
            work.add_done_callback(tasks.discard)

        try:
            async with self._keys(act):
                yield
        finally:
            for task in list(tasks):
                task.cancel()

    @property
    def _can_ask(self) -> bool:
        return isinstance(self._run.terminal, TtyTerminal) and _is_tty(sys.stdin)

    @asynccontextmanager
    async def _keys(self, act: Callable[[str], None]) -> AsyncIterator[None]:
        terminal = self._run.terminal
        if not isinstance(terminal, TtyTerminal) or not self._can_ask:
            yield
            return
        stop = CancelSignal()
        thread = terminal.start_keys(_post(asyncio.get_running_loop(), act), stop)
        try:
            yield
        finally:
            stop.set()
            if thread is not None:
                thread.join(0.5)  # it puts the terminal back; that takes microseconds
            stop.close()

    def outcome(self, uri: str) -> Outcome:
        """The sentence, and the lines about the sound, of the last call."""
        assert self._report is not None
        facts = call_facts(self._report)
        for line in quality_lines(facts["stats"], facts["audio"], facts["codec"]):
            self._run.console.say(f"  {line}")
        seconds = (self._report.talk_ms or 0) / 1000
        return Outcome("completed", f"talked to {uri} for {seconds:.1f} s")


def call_facts(report: CallReport) -> dict[str, Any]:
    """The ``call`` object of ``result``."""
    media, audio = report.media, report.media.audio
    return {
        "by": report.by,
        "code": report.code,
        "setup_ms": report.setup_ms,
        "ring_ms": report.ring_ms,
        "talk_ms": report.talk_ms,
        "pdd_ms": report.pdd_ms,
        "codec": media.codec,
        "stats": {
            "rx": asdict(media.rx),
            "tx": asdict(media.tx),
            "remote": asdict(media.remote) if media.remote is not None else None,
            "rtt_ms": media.rtt_ms,
            "mos": media.mos,
        },
        "audio": {
            "rms_dbfs": audio.rms_dbfs,
            "speech_pct": audio.speech_pct,
            "tone_hz": audio.tone_hz,
            "longest_gap_ms": audio.longest_gap_ms,
        },
    }


def _latest(call: Call) -> Call:
    """The call that is up now: *call*, or what took its place."""
    while call.is_over and call.successor is not None:
        call = call.successor
    return call


def _post(loop: asyncio.AbstractEventLoop, act: Callable[[str], None]) -> Callable[[str], None]:
    def on_key(key: str) -> None:
        try:
            loop.call_soon_threadsafe(act, key)
        except RuntimeError:
            pass  # the loop has closed: the key comes too late

    return on_key


def _is_tty(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
