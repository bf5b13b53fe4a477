"""What the control socket can do with several calls: answer, reject and switch, and do not disturb."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sipcli.cli.callctl import LOOK, told
from sipcli.ua.control.line import ControlError, Request
from sipcli.ua.control.server import Command

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["SWITCH_COMMANDS", "SwitchCommands"]

SWITCH_COMMANDS = ("answer", "reject", "switch")
"""Each is ``call.WORD`` on the socket, and ``sipcli ctl WORD``; ``dnd`` is about no call."""

_PATIENCE_S = 30.0


class SwitchCommands:
    """Commands about the calls of *agent* that ring, and about which one is talked to."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent

    @property
    def table(self) -> Mapping[str, Command]:
        """By the words on the socket."""
        calls = {"call.answer": self._answer, "call.reject": self._reject, "call.switch": self._switch}
        return {**calls, "dnd": self._dnd}

    def _ringing(self, request: Request) -> Call:
        """The call that *request* names; without a name, the only one that rings here."""
        name = request.text("call")
        ringing = [call for call in self._agent.calls if call.direction == "in" and call.state in ("ringing", "early")]
        meant = [call for call in ringing if name in (None, call.id)]
        if len(meant) == 1:
            return meant[0]
        known = ", ".join(call.id for call in ringing)
        what = f"{name} does not ring" if name else "which call?" if ringing else "no call rings"
        raise ControlError("no_call", what, hint=f"calls that ring: {known}" if ringing else LOOK)

    async def _answer(self, request: Request) -> Mapping[str, Any]:
        call = self._ringing(request)
        self._agent.switchboard.decide(call, "answer")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await call.answered()
        except TimeoutError:
            raise ControlError("failed", f"{call.id} was not answered within {_PATIENCE_S:g} s") from None
        return told(call)

    async def _reject(self, request: Request) -> Mapping[str, Any]:
        call = self._ringing(request)
        self._agent.switchboard.decide(call, "reject")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await call.finished()
        except TimeoutError:
            raise ControlError("failed", f"{call.id} still rings") from None
        return told(call)

    async def _switch(self, request: Request) -> Mapping[str, Any]:
        name = request.text("call")
        call = next((call for call in self._agent.calls if call.id == name), None)
        if call is None:
            raise ControlError("no_call", f"there is no call {name}", hint=LOOK)
        await self._agent.switchboard.switch(call)
        return told(call)

    async def _dnd(self, request: Request) -> Mapping[str, Any]:
        on = request.fields.get("on")
        if on is not None:
            if not isinstance(on, bool):
                raise ControlError("bad_request", "dnd wants “on”: true or false")
            self._agent.switchboard.dnd = on
        return {"dnd": self._agent.switchboard.dnd}
