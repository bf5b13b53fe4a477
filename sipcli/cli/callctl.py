"""What the control socket can do with a call: the commands ``call.*`` of docs/events.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sipcli.ua.control.line import ControlError, Request
from sipcli.ua.control.server import Command

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["CALL_COMMANDS", "LOOK", "CallCommands", "told"]

CALL_COMMANDS = (
    *("hangup", "hold", "resume", "mute", "unmute", "dtmf", "transfer"),
    *("conference", "record", "stop-recording"),
)
"""Each is ``call.WORD`` on the socket, and ``sipcli ctl WORD``."""
LOOK = "look what there is: sipcli status"


class CallCommands:
    """Commands about the calls of *agent*; ``call`` names one, and may be left out where there is only one."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent

    @property
    def table(self) -> Mapping[str, Command]:
        """By the words on the socket."""
        return {f"call.{word}": getattr(self, f"_{word.replace('-', '_')}") for word in CALL_COMMANDS}

    def _call(self, request: Request) -> Call:
        name, calls = request.text("call"), self._agent.calls
        meant = [call for call in calls if name in (None, call.id)]
        if len(meant) == 1:
            return meant[0]
        known = ", ".join(call.id for call in calls)
        what = f"there is no call {name}" if name else "which call?" if calls else "there is no call"
        raise ControlError("no_call", what, hint=f"--call names one of {known}" if calls else LOOK)

    async def _hangup(self, request: Request) -> Mapping[str, Any]:
        call = self._call(request)
        await call.hangup()
        return told(call)

    async def _hold(self, request: Request) -> Mapping[str, Any]:
        call = self._call(request)
        await call.hold()
        return told(call)

    async def _resume(self, request: Request) -> Mapping[str, Any]:
        call = self._call(request)
        await call.resume()
        return told(call)

    async def _mute(self, request: Request) -> Mapping[str, Any]:
        return self._muted(request, muted=True)

    async def _unmute(self, request: Request) -> Mapping[str, Any]:
        return self._muted(request, muted=False)

    def _muted(self, request: Request, *, muted: bool) -> Mapping[str, Any]:
        call = self._call(request)
        if call.media is None:
            raise ControlError("wrong_state", f"{call.id} has no audio yet", hint="wait until it is answered")
        if call.conference is not None:
            call.conference.muted = muted  # the person, not what the others say to each other
        else:
            call.media.muted = muted
        return told(call)

    async def _dtmf(self, request: Request) -> Mapping[str, Any]:
        call, digits = self._call(request), request.text("digits")
        if not digits:
            raise ControlError("bad_request", "call.dtmf wants “digits”")
        await call.dtmf(digits)
        return told(call)

    async def _conference(self, request: Request) -> Mapping[str, Any]:
        """All calls that are up, or one more into the conference that there is."""
        from sipcli.ua.calls.conference import Conference

        calls = [call for call in self._agent.calls if call.state in ("answered", "held")]
        joined = next((call.conference for call in calls if call.conference is not None), None)
        free = [call for call in calls if call.conference is None]
        if joined is None:
            joined = await Conference.start(free)
        for call in free:
            if call.conference is None:
                await joined.add(call)
        return told(joined.calls[0]) | {"conference": [call.id for call in joined.calls]}

    async def _record(self, request: Request) -> Mapping[str, Any]:
        call, file = self._call(request), request.text("file")
        if not file:
            raise ControlError("bad_request", "call.record wants “file”")
        call.session.record(file)
        return told(call) | {"recording": file}

    async def _stop_recording(self, request: Request) -> Mapping[str, Any]:
        call = self._call(request)
        if call.media is None or not call.media.stop_recording():
            raise ControlError(
                "wrong_state", f"{call.id} is not being recorded", hint="begin with: sipcli ctl record FILE.wav"
            )
        return told(call)

    async def _transfer(self, request: Request) -> Mapping[str, Any]:
        target, to = request.text("target"), request.text("to")
        if bool(target) == bool(to):
            raise ControlError("bad_request", "call.transfer wants “target”, or “to”, the id of another call")
        if target:
            call = self._call(request)
            await call.transfer(target)
            return told(call)
        other = self._agent.find_call(str(to))
        if other is None:
            raise ControlError("no_call", f"there is no call {to}", hint=LOOK)
        rest = [call for call in self._agent.calls if call is not other]
        call = rest[0] if len(rest) == 1 and request.text("call") is None else self._call(request)
        await call.transfer_to(other)
        return told(call)


def told(call: Call) -> dict[str, Any]:
    """What a command about *call* is answered with."""
    return {"call": call.id, "state": call.state, "muted": call.muted}
