"""``listen --on-call``: a program of the user's decides about each call, as twinkle's call scripts do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sipcli.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call
    from sipcli.ua.calls.switchboard import Decision

__all__ = ["CallProgram", "Chooser", "after", "choosing"]

Chooser: TypeAlias = "Callable[[Call], Coroutine[Any, Any, Decision]]"
"""Decides about a call that rings, unless a person is faster or the caller leaves: it is cancelled then."""

_BUSY = 6
_GRACE_S = 0.2  # from SIGTERM to SIGKILL
# What finds a person's files and windows, and nothing that is secret: as the provider exec hands on.
_HARMLESS = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TMPDIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
)  # fmt: skip


class CallProgram:
    """A program and its arguments.  It is run once for each call, with the call as JSON on its standard input.

    No shell, no search in PATH, the folder ``/``, a session and a process group
    of its own; what a caller wrote about himself reaches it in the JSON only.
    """

    def __init__(self, line: str) -> None:
        """*line* is split as a shell does.  Raises ConfigError where there is no such program."""
        try:
            self._argv = shlex.split(line)
            path = Path(self._argv[0]).expanduser()
        except (ValueError, IndexError, RuntimeError) as error:
            raise ConfigError(f"--on-call “{line}” is no command: {error}", hint=_HINT) from None
        if not path.is_absolute() or "\0" in line:
            raise ConfigError(f"--on-call wants the whole path of a program, not “{self._argv[0]}”", hint=_HINT)
        if not path.is_file() or not os.access(path, os.X_OK):
            raise ConfigError(f"--on-call: {path} is no program that may be run", hint=f"chmod u+x {path}")
        self._argv[0] = str(path)

    async def decide(self, call: Call) -> Decision:
        """Exit status 0 answers, 6 is busy, all others decline.  Cancelled, it ends the program and its children."""
        from sipcli.ua.notices import WarningNotice

        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,  # ours may be a stream of JSON
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            why = f"{self._argv[0]} cannot be run: {error.strerror}"
            call.agent.tell(WarningNotice(code="on_call", message=f"{why}; the call is declined"))
            return "decline"
        try:
            await process.communicate(json.dumps(_facts(call)).encode() + b"\n")
        except asyncio.CancelledError:
            await _end(process)
            raise
        if process.returncode == 0:
            return "answer"
        return "reject" if process.returncode == _BUSY else "decline"


_HINT = "for example --on-call /usr/local/bin/who-may-call"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the program and its group: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; or another user's by now
                os.killpg(process.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE_S)


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"} | {name: os.environ[name] for name in _HARMLESS if name in os.environ}


def _facts(call: Call) -> dict[str, Any]:
    """The fields of the ``call`` event, and who is called, and ids of the calls that are not over."""
    return {
        "v": 1,
        "call": call.id,
        "state": "ringing",
        "account": None if call.account is None else call.account.name,
        "local": call.local,
        "remote": str(call.remote.uri),
        "remote_name": call.remote.display or None,
        "sip_call_id": call.sip_call_id,
        "others": [other.id for other in call.agent.calls if other is not call and not other.is_over],
    }


def after(seconds: float, chooser: Chooser | None) -> Chooser:
    """Answers when it has rung for *seconds*; what *chooser* says against it holds at once."""

    async def decide(call: Call) -> Decision:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        decision: Decision = "answer" if chooser is None else await chooser(call)
        if decision == "answer":
            await asyncio.sleep(until - loop.time())
        return decision

    return decide


@asynccontextmanager
async def choosing(call: Call, chooser: Chooser | None) -> AsyncIterator[None]:
    """Meanwhile *chooser* decides about *call*, which somebody has asked the switchboard about."""
    if chooser is None:
        yield
        return
    task = asyncio.create_task(_choose(call, chooser), name=f"choose-{call.id}")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _choose(call: Call, chooser: Chooser) -> None:
    decision = await chooser(call)
    with contextlib.suppress(LocalProtocolError):  # a person was faster
        call.agent.switchboard.decide(call, decision)
