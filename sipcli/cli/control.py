"""What other programs may command a run: the table behind its control socket, and the life of that socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.callctl import CallCommands
from sipcli.cli.console import Style
from sipcli.cli.switchctl import SwitchCommands
from sipcli.errors import ConfigError
from sipcli.ua.auth.waiting import NotWaiting
from sipcli.ua.control.line import ControlError, Request
from sipcli.ua.control.server import Command, ControlServer, control_path

if TYPE_CHECKING:
    from sipcli.cli.runtime import Run
    from sipcli.ua.agent import UserAgent

__all__ = ["ControlDesk"]

_PATIENCE_S = 60.0
_LONGEST_S = 300.0


class ControlDesk:
    """Answers commands about *agent*; SIGUSR1 is the command ``status`` for those who have only a pid.

    A command is a method here and a line in :attr:`commands`; docs/events.md describes them.
    """

    def __init__(self, run: Run, agent: UserAgent) -> None:
        self._run = run
        self._agent = agent
        self._server: ControlServer | None = None
        self.commands: Mapping[str, Command] = {
            "status": self._status,
            "auth.waiting": self._waiting,
            "auth.answer": self._answer,
            **CallCommands(agent).table,
            **SwitchCommands(agent).table,
        }

    @property
    def path(self) -> Path | None:
        """Where the socket is; None when there is none."""
        return None if self._server is None else self._server.path

    @asynccontextmanager
    async def open(self, named: Path | None) -> AsyncIterator[None]:
        """Listen at *named*, or in the run-time directory; where there is none, or it is not safe, go on without.

        Raises ConfigError when *named* cannot be.
        """
        loop = asyncio.get_running_loop()
        self._server = await self._listen(named)
        self._agent.waiting.has_door = self._server is not None
        if sys.platform != "win32":
            loop.add_signal_handler(signal.SIGUSR1, self._print_status)
        try:
            yield
        finally:
            if sys.platform != "win32":
                loop.remove_signal_handler(signal.SIGUSR1)
            if self._server is not None:
                await self._server.close()

    def remove(self) -> None:
        """Leave no socket behind when there is no time for more."""
        if self._server is not None:
            self._server.remove()

    async def _listen(self, named: Path | None) -> ControlServer | None:
        if sys.platform == "win32":
            return None
        try:
            path = control_path(self._run.environment.variables) if named is None else named.expanduser().absolute()
            if path is None:
                return None
            server = ControlServer(path, self.commands)
            await server.start()
        except ConfigError as error:
            if named is not None:
                raise
            # Somebody may have planted it: that must not keep us from our work, and must be heard of.
            self._run.console.say(f"there is no control socket: {error}", style=Style.WARN)
            return None
        return server

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────

    def status(self) -> dict[str, Any]:
        """Who we are, and how it goes with accounts and calls."""
        agent, now = self._agent, asyncio.get_running_loop().time()
        accounts: list[dict[str, Any]] = []
        for account in agent.accounts:
            shown: dict[str, Any] = {"account": account.name, "aor": str(account.aor), "state": account.state}
            if (binding := account.binding) is not None and binding.expires_at > now:
                shown |= {"contact": binding.contact, "expires_in_s": round(binding.expires_at - now, 1)}
            accounts.append(shown)
        calls = [
            {
                "call": call.id,
                "account": None if call.account is None else call.account.name,
                "direction": call.direction,
                "state": call.state,
                "local": call.local,
                "remote": str(call.remote.uri),
            }
            for call in agent.calls
        ]
        return {
            **self._run.readiness(),
            "verb": self._run.verb,
            "up_ms": self._run.environment.milliseconds(),
            "accounts": accounts,
            "calls": calls,
            "dnd": agent.switchboard.dnd,
            "waiting": agent.waiting.listing(),
        }

    def _print_status(self) -> None:
        console = self._run.console
        if console.json:
            console.event("status", self.status())
        else:
            console.data(json.dumps(self.status(), separators=(",", ":")))

    async def _status(self, _request: Request) -> Mapping[str, Any]:
        return self.status()

    async def _waiting(self, _request: Request) -> Mapping[str, Any]:
        return {"pid": os.getpid(), "waiting": self._agent.waiting.listing()}

    async def _answer(self, request: Request) -> Mapping[str, Any]:
        account, username, secret = request.text("account"), request.text("username"), request.secrets.get("secret")
        if not account or not secret:
            raise ControlError("bad_request", "auth.answer wants “account” and “secret”")
        patience = request.fields.get("wait_s", _PATIENCE_S)
        if isinstance(patience, bool) or not isinstance(patience, int | float) or not 0 < patience <= _LONGEST_S:
            raise ControlError("bad_request", f"“wait_s” is a number of seconds, {_LONGEST_S:.0f} at most")
        realm, server = request.text("realm"), request.text("server")
        asked = None if realm is None else (server, realm)
        try:
            answered = await self._agent.waiting.answer(
                account, secret, username=username, timeout=patience, asked=asked
            )
        except NotWaiting as error:
            raise ControlError("not_waiting", str(error)) from None
        except ValueError as error:
            raise ControlError("bad_request", str(error)) from None
        told = {"outcome": answered.outcome, "account": account, "code": answered.code}
        return told | {"reason": answered.reason or None, "expires_s": answered.expires_s}
