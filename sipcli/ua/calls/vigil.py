"""Whoever is not heard any more is asked whether he is still there (RFC 3261 section 12.2.1.2).

::

    heard ── N s neither RTP nor RTCP ──> OPTIONS ── 2xx, most 4xx ──> alive: asked again, six times as rarely
                                                 ── 404, 408, 481... ──> the call is over (sip/calls/consequences)
                                                 ── it did not get through ──> asked again after N s

Why: docs/decisions/0131-who-is-silent-is-asked.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sipcli.sip.calls.consequences import consequence
from sipcli.sip.events import Why
from sipcli.sip.syntax.message import Response
from sipcli.ua.calls.silencenotices import SilenceNotice, SilenceState

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["RARELY", "SILENCE", "Vigil"]

SILENCE: Final = 20.0
"""Seconds; of a call without an account.  RTCP comes every 5 s, also where nobody speaks (RFC 3550 section 6.2)."""
_ASKED: Final = {408: "does not answer", 481: "answers 481: it knows no such call"}
RARELY: Final = 6
"""So many times longer is the silence of somebody who never sent anything, or answers without sending."""


class Vigil:
    """Of one call, from its answer on.  Everything is for the loop's thread, and on its clock."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._limit = SILENCE if call.account is None else call.account.config.silence
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        self._rarely = True
        self._timer: asyncio.TimerHandle | None = None
        self.verdict: str | None = None
        """Why the call ended, where it was its silence."""

    def begin(self) -> None:
        if self._limit > 0 and self._timer is None:
            self.note()
            self._look_in(self._limit)

    def note(self) -> None:
        """Something was agreed on just now: whatever was silent before is of no interest."""
        self._since = self._loop.time()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        self._timer = self._loop.call_later(max(0.0, seconds), self._look)

    def _look(self) -> None:
        call, session = self._call, self._call.media
        if call.core.over:
            return  # our BYE is on its way
        heard = None if session is None else session.heard_at
        if heard is not None and heard > self._since:
            self._since, self._rarely = heard, False
        if session is None or not session.listens or call.core.adrift:
            self.note()  # nothing has to come; and whoever lost his address has a deadline of his own
        left = self._since + self._limit * (RARELY if self._rarely else 1) - self._loop.time()
        if left <= 0:
            self._ask()
        else:
            self._look_in(min(left, self._limit))

    def _ask(self) -> None:
        """OPTIONS, which everybody answers, changes nothing (section 11): an UPDATE would be an offer's turn."""
        self._tell("asking")
        with self._call.agent.turn():
            self._call.core.requests.send("OPTIONS", headers=[("Accept", "application/sdp")], on_done=self._on_done)

    def _on_done(self, response: Response | None, why: Why) -> None:
        if self._call.is_over or self._call.core.over:
            return
        state = _verdict(response, why)
        self._tell(state)
        if state == "gone":  # the core ends the call by the same rule
            asked = "does not answer" if response is None else _ASKED.get(response.status, f"answers {response.status}")
            self.verdict = f"nothing was heard for {self._quiet:.0f} s, and the other side {asked}"
            return
        self._rarely = state == "alive"
        self.note()
        self._look_in(self._limit)

    @property
    def _quiet(self) -> float:
        return self._loop.time() - self._since

    def _tell(self, state: SilenceState) -> None:
        self._call.agent.tell(SilenceNotice(call=self._call.id, state=state, quiet_s=round(self._quiet, 1)))


def _verdict(response: Response | None, why: Why) -> SilenceState:
    """What a proxy says of itself (503), and a connection that breaks, say nothing of him."""
    if response is None:
        return "gone" if isinstance(why, str) and why.startswith("timeout:") else "unknown"
    if consequence("OPTIONS", response) is not None:
        return "gone"
    return "alive" if response.status < 500 else "unknown"
