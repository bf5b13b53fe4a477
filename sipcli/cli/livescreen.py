"""The live call screen: which call is in front, the line below the log, the ladder and the trace, as things happen."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sipcli.cli.bottomline import BottomLine
from sipcli.cli.console import Style
from sipcli.cli.keys import Keyboard
from sipcli.cli.screen import CallView, View, media_words, status_line

if TYPE_CHECKING:
    from sipcli.cli.runtime import Run
    from sipcli.cli.terminal import TtyTerminal
    from sipcli.observe.ladder import Ladder
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.notices import Notice

__all__ = ["LiveScreen"]

_EVERY_S = 1.0
_LADDER_LINES = 40
"""How much of what has happened is drawn when the ladder is switched on."""
_NARROWEST = 10


class LiveScreen:
    """Watches the calls of *agent*; draws only where the terminal can take it, and where people read."""

    def __init__(self, run: Run, agent: UserAgent, keyboard: Keyboard) -> None:
        self._run = run
        self._agent = agent
        self._keyboard = keyboard
        self._front: Call | None = None
        self._since: dict[str, float] = {}
        self._ready = ""
        self._line: BottomLine | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._ladder: Ladder | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._picture: deque[str] = deque(maxlen=_LADDER_LINES)
        self._draws = self._traces = False

    def watch(self) -> None:
        """From now on, so that the ladder has its beginning; :meth:`shown` ends it."""
        from sipcli.observe.ladder import Ladder

        self._ladder = Ladder()
        self._unsubscribe = self._agent.subscribe(self._look)

    @contextmanager
    def shown(self, terminal: TtyTerminal, ready: str) -> Iterator[None]:
        """Draw meanwhile.  *ready*: what we do while there is no call."""
        loop, run = asyncio.get_running_loop(), self._run
        self._ready = ready
        if self._can_draw:
            self._line = BottomLine(run.environment.stderr, self._render, self._paint)
            run.console.below = terminal.below = self._line
            loop.add_signal_handler(signal.SIGWINCH, self.draw)
            self._beat()
        try:
            yield
        finally:
            self._unsubscribe()
            if self._line is not None:
                loop.remove_signal_handler(signal.SIGWINCH)
                self._line.end()
                run.console.below = terminal.below = None
            if self._tick is not None:
                self._tick.cancel()

    @property
    def _can_draw(self) -> bool:
        """Words for people, on a terminal that knows how to go back to the beginning of a line."""
        environment = self._run.environment
        dumb = environment.variables.get("TERM", "dumb") == "dumb"
        return not self._run.options.json and not dumb and environment.stderr.isatty()

    # ── which call ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def front(self) -> Call | None:
        """The call that keys are about: the last one that was dialled, answered or gone to; or what took its place."""
        call = self._front
        while call is not None and call.is_over and call.successor is not None:
            call = call.successor
        if call is None or call.is_over:
            mine = [other for other in self._agent.calls if not _rings(other)]
            call = next((other for other in mine if other.is_up), mine[0] if mine else None)
        self._front = call
        return call

    @property
    def ringing(self) -> Call | None:
        """The call that somebody must decide about; the one that came first."""
        return next((call for call in self._agent.calls if _rings(call)), None)

    @property
    def following(self) -> Call | None:
        """The call after the one in front."""
        mine = [call for call in self._agent.calls if not _rings(call)]
        if self.front not in mine or len(mine) < 2:
            return None
        return mine[(mine.index(self.front) + 1) % len(mine)]

    def bring(self, call: Call) -> None:
        """*call* is in front from now on."""
        self._front = call
        self.draw()

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────────────────

    def draw(self) -> None:
        """As it is now."""
        if self._line is not None:
            self._line.draw()

    def _beat(self) -> None:
        self._tick = asyncio.get_running_loop().call_later(_EVERY_S, self._beat)
        self.draw()

    def _render(self, columns: int) -> str:
        return status_line(self._view(), columns) if columns >= _NARROWEST else ""

    def _paint(self, text: str) -> str:
        front = self.front
        style = Style.BOLD if self.ringing is not None else Style.GOOD if front and front.is_up else Style.DIM
        return self._run.console.paint(text, style)

    def _view(self) -> View:
        front, keyboard = self.front, self._keyboard
        others = tuple(self._call_view(call) for call in self._agent.calls if call is not front)
        ready = self._ready
        if ready and self._agent.switchboard.dnd:
            ready += ", do not disturb"
        return View(
            front=None if front is None else self._call_view(front, figures=True),
            others=others,
            ready=ready,
            asked=keyboard.asked,
            leaving=keyboard.leaving,
            digits=keyboard.digits,
        )

    def _call_view(self, call: Call, *, figures: bool = False) -> CallView:
        since = self._since.get(call.id)
        measured: dict[str, Any] = {}
        if figures and call.is_up:
            report = call.session.report(verdict=False)
            measured = {"mos": report.mos, "media": media_words(call.session.facts())}
            measured["sent"], measured["heard"] = call.session.end.levels()
            if report.rx.packets:
                measured |= {"loss_pct": report.rx.lost_pct, "jitter_ms": report.rx.jitter_ms}
        state: str = call.state
        if state == "held" and call.media is not None and not call.media.held:
            state = "held by them"
        return CallView(
            id=call.id,
            who=str(call.remote.uri),
            state=state,
            incoming=call.direction == "in",
            seconds=None if since is None else asyncio.get_running_loop().time() - since,
            muted=call.muted,
            recording=call.media is not None and call.media.recording,
            conference=0 if call.conference is None else len(call.conference.calls),
            **measured,
        )

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, notice: Notice) -> None:
        fields = notice.to_json()
        if notice.event == "call":
            self._changed(fields)
        assert self._ladder is not None
        for line in self._ladder.feed(notice.event, fields, self._run.environment.milliseconds()):
            self._picture.append(line)
            if self._draws:
                self._run.console.picture(line)
        if notice.event == "trace" and self._traces:
            self._show_message(fields)
        if notice.event != "trace":
            asyncio.get_running_loop().call_soon(self.draw)  # once the call itself has settled

    def _changed(self, fields: dict[str, Any]) -> None:
        call = self._agent.find_call(fields["call"])
        if fields["state"] == "ended":
            self._since.pop(fields["call"], None)
        elif fields["state"] == "answered" and fields["call"] not in self._since:
            self._since[fields["call"]] = asyncio.get_running_loop().time()
            if fields["direction"] == "in":
                self._front = call
        elif fields["state"] == "calling":
            self._front = call

    def toggle_ladder(self) -> None:
        """Draw what has happened, and what happens; or no more."""
        console = self._run.console
        if self._run.options.ladder:
            console.say("the ladder is drawn already (--ladder)")
            return
        self._draws = not self._draws
        console.say("ladder on, [l] ends it" if self._draws else "ladder off")
        for line in self._picture if self._draws else ():
            console.picture(line)

    def toggle_trace(self) -> None:
        """Show every SIP message, secrets masked; or no more."""
        if self._run.options.verbose >= 2:
            self._run.console.say("messages are shown already (-vv)")
            return
        self._traces = not self._traces
        self._run.console.say("SIP messages on, [v] ends it" if self._traces else "SIP messages off")

    def _show_message(self, fields: dict[str, Any]) -> None:
        console, verbose = self._run.console, self._run.options.verbose
        if not verbose:
            sentence = self._run.talker.sentence("trace", fields)
            if sentence is not None:
                console.say(sentence.text, style=sentence.style)
        for line in fields["sip"].replace("\r\n", "\n").rstrip("\n").split("\n"):
            console.say(f"    {line}")


def _rings(call: Call) -> bool:
    return call.direction == "in" and call.state in ("ringing", "early")
