"""Calls that come in while ``listen`` or ``call`` runs: what each gets, and how it is asked about."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sipcli.cli.oncall import Chooser, choosing
from sipcli.cli.runtime import Outcome, Run
from sipcli.errors import ConfigError, MediaFailed, NoAnswer, SipcliError
from sipcli.sip.syntax.uri import SipUri, Uri

if TYPE_CHECKING:
    from sipcli.cli.talk import Talk
    from sipcli.ua.calls.call import Call
    from sipcli.ua.calls.tones import CallTones

__all__ = ["RING_S", "AnswerPlan", "CallDesk"]

RING_S = 30.0
_BUSY, _FORBIDDEN, _NOBODY = 486, 403, 480
_WORDS = {"busy": 486, "decline": 603}
_REFUSALS = {"reject": _BUSY, "decline": 603}


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

    def next_for(self, caller: Uri) -> str | int:
        """For a call from *caller*.  ``--allow`` keeps ``auto`` for those it names; others are refused with 403."""
        step = self._plan[min(self._taken, len(self._plan) - 1)]
        self._taken += 1
        if step == "auto" and self._allow and not any(_matches(caller, pattern) for pattern in self._allow):
            return _FORBIDDEN
        return step


def _matches(caller: Uri, pattern: str) -> bool:
    """Globs are written with the scheme or without.

    Only the address itself is compared: no server vouches for the parameters behind it, where ``;x=.example.com`` is
    anybody's to write.
    """
    if isinstance(caller, SipUri):
        address = str(caller.aor._replace(host=caller.host.lower()))
    else:
        address = str(caller).partition(";")[0].partition("?")[0]
    return fnmatchcase(address, pattern) or fnmatchcase(address.partition(":")[2], pattern)


class CallDesk:
    """Takes the calls, counts them, and knows when enough were taken."""

    def __init__(
        self,
        run: Run,
        plan: AnswerPlan,
        talk: Talk,
        *,
        limit: int | None = None,
        at_once: int | None = None,
        ring: float = RING_S,
        early: bool = False,
        chooser: Chooser | None = None,
        keys: bool = True,
    ) -> None:
        """*limit*: leave after so many calls; *ring*: seconds in which a person decides, or *chooser* for ``auto``.

        *keys*: the person is at this terminal; else he decides from another one.
        """
        self._run = run
        self._plan = plan
        self._talk = talk
        self._limit = limit
        self._at_once = at_once or limit or 2
        self._ring = ring
        self._early = early
        self._chooser = chooser
        self.tones: CallTones | None = None
        """Rings where it can be heard."""
        self._keys = keys
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
            raise NoAnswer(f"no call came in {timeout:g} s", hint="call it, or wait longer: --timeout S") from None
        await self._enough.wait()
        await self.idle()

    def stop(self) -> None:
        """The person wants no more calls."""
        self._first.set()
        self._enough.set()

    async def idle(self) -> None:
        """Until the calls that were taken are over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self, call: Call) -> None:
        from sipcli.ua.notices import WarningNotice

        uri = str(call.remote.uri)
        step = self._plan.next_for(call.remote.uri)
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
            await self._talk.until_the_end(call)
        except SipcliError as error:
            if isinstance(error, MediaFailed):
                self._deaf = error
            # One caller's trouble must not end the service for the next.
            call.agent.tell(WarningNotice(code="call_failed", message=f"call from {uri}: {error}", hint=error.hint))
            await call.hangup()  # or whoever cannot be answered would ring until he gives up
        except Exception:
            await call.hangup()  # nor until our mistake is mended
            raise

    async def _asked(self, call: Call, chooser: Chooser | None) -> bool:
        """Ring, and let the person decide, or *chooser*; False when the call was refused, or went away."""
        if self._early:
            await call.early(**self._talk.media, record=self._talk.recording(call.id, self._answered + 1))
        else:
            call.ring()
        self._run.console.say(f"{self._how()}   rings {self._ring:g} s")
        async with self._audible(call), choosing(call, chooser):
            decision = await self._decision(call)
        if decision == "answer":
            return True
        if decision is not None:
            call.reject(_REFUSALS.get(decision, _NOBODY))
        return False

    def _audible(self, call: Call) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self.tones is None else self.tones.ringing(call)

    def _how(self) -> str:
        """How it is decided about a call that rings."""
        if self._keys:
            return "[a]nswer  [r]eject  [R] decline"
        if self._run.readiness()["control"] is not None:
            return "sipcli ctl answer, or: sipcli ctl reject"
        return "nobody can answer here: run it in a terminal, or name a socket with --control PATH"

    async def _decision(self, call: Call) -> str | None:
        """``answer``, ``reject``, ``decline``: what a person chose; ``late`` in the end; None: the caller left."""
        switchboard = call.agent.switchboard
        chosen = switchboard.ask(call)
        gone = asyncio.ensure_future(call.finished())
        try:
            waited: set[asyncio.Future[Any]] = {chosen, gone}
            await asyncio.wait(waited, timeout=self._ring, return_when=asyncio.FIRST_COMPLETED)
            if chosen.done():
                return chosen.result()
            return None if gone.done() else "late"
        finally:
            gone.cancel()
            switchboard.forget(call)

    def outcome(self) -> Outcome:
        """What became of all of them.  Raises MediaFailed when nobody could be heard."""
        if self._deaf is not None and not self._answered:
            raise self._deaf
        words = f"{self._seen} call{'s' * (self._seen != 1)}, {self._answered} answered"
        return Outcome("served", words, more={"calls": self._seen, "answered": self._answered})
