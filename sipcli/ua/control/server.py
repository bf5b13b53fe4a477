"""The control socket: other programs of the same user talk to a running agent, one JSON line at a time (threat T34).

What can be commanded is a table, command → coroutine, so that more can be added;
this module knows none of them.  A client that is slow, silent or mad costs one
of :data:`MOST_CLIENTS` places for a while, and never the loop.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sipcli.errors import ConfigError, SipcliError
from sipcli.ua.control.line import LONGEST_LINE, ControlError, LineSplitter, Request, parse_request, reply
from sipcli.ua.control.place import LONGEST_PATH, check_directory, peer_of, runtime_directory, sockets_in

__all__ = ["Command", "ControlServer", "control_path"]

log = logging.getLogger(__name__)

MOST_CLIENTS = 16
IDLE = 60.0
"""Seconds without a whole command after which a client is sent away."""
SLOW = 5.0
"""Seconds that a client may take to read an answer."""

Command: TypeAlias = Callable[[Request], Awaitable[Mapping[str, Any]]]


def control_path(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_RUNTIME_DIR/sipcli/PID.sock``, its directory made; None where there is no such place.

    Sockets that dead processes left there are removed.  Raises ConfigError for a place that cannot be trusted.
    """
    directory = runtime_directory(environ)
    if directory is None:
        return None
    try:
        check_parent(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        pass  # a file, or a link that leads nowhere: refused below, in words
    except OSError as error:
        raise ConfigError(f"{directory} cannot be made ({error.strerror})") from None
    for pid, path in sockets_in(directory):
        if _is_dead(pid) and not _is_served(path):
            path.unlink(missing_ok=True)
    return directory / f"{os.getpid()}.sock"


def check_parent(path: Path) -> None:
    """Raise ConfigError if others could put another directory in the place of ours."""
    try:
        seen = path.stat()
    except OSError as error:
        raise ConfigError(f"$XDG_RUNTIME_DIR is {path}, which is not there ({error.strerror})") from None
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        raise ConfigError(f"$XDG_RUNTIME_DIR is {path}, which is not ours alone", hint="it wants our own, mode 0700")


class ControlServer:
    """Listens at *path* from :meth:`start` to :meth:`close`; *commands* is what may be commanded."""

    def __init__(self, path: Path, commands: Mapping[str, Command], *, most: int = MOST_CLIENTS) -> None:
        self.path = path
        self._commands = commands
        self._most = most
        self._listener: socket.socket | None = None
        self._inode: int | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises ConfigError when the place is not to be trusted, or is taken."""
        check_directory(self.path.parent, private=False)
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise ConfigError(f"{self.path} is too long for a socket", hint=f"{LONGEST_PATH} octets at most")
        self._clear()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
        try:
            before = os.umask(0o177)  # never, not for a moment, is there a socket that others may open
            try:
                listener.bind(os.fspath(self.path))
            finally:
                os.umask(before)
            self._inode = self.path.lstat().st_ino
            listener.listen(self._most)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            self.remove()  # bind() makes the file, and listen() may fail after it
            raise ConfigError(f"{self.path} cannot be a control socket ({error.strerror})") from None
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _clear(self) -> None:
        """Make room: what is there is removed if it is a socket of ours that nobody serves, and refused otherwise."""
        try:
            seen = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(seen.st_mode) or seen.st_uid != os.geteuid():
            raise ConfigError(f"{self.path} is there already, and is no socket of ours", hint="name another place")
        if _is_served(self.path):
            raise ConfigError(f"another program listens at {self.path}", hint="name another place")
        self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the socket file, if it is still ours.  May be called at any time, also when leaving in a hurry."""
        inode, self._inode = self._inode, None
        try:
            if inode is not None and self.path.lstat().st_ino == inode:
                self.path.unlink()
        except OSError:
            pass  # gone already

    async def close(self) -> None:
        """Stop listening, send the clients away, remove the file."""
        self.remove()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for client in tuple(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    # --- clients ----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """One at a turn of the loop, so that a thousand who knock at once stall nobody."""
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.warning("control: no descriptor is left for a client")
                self._rest()
            return
        connection.setblocking(False)
        try:
            known = peer_of(connection) == os.geteuid()
        except OSError:
            known = False
        if not known or len(self._clients) >= self._most:
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection), name="control")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    def _rest(self) -> None:
        """Look away for a second: who cannot be accepted would wake us again at once."""
        loop, listener = asyncio.get_running_loop(), self._listener
        loop.remove_reader(listener)  # type: ignore[arg-type]  # _accept() runs while there is one

        def again() -> None:
            if self._listener is not None:
                loop.add_reader(self._listener, self._accept)

        loop.call_later(1.0, again)

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        splitter = LineSplitter()
        buffer = bytearray(LONGEST_LINE)
        until = loop.time() + IDLE
        try:
            while True:
                async with asyncio.timeout_at(until):
                    got = await loop.sock_recv_into(connection, buffer)
                if got == 0:
                    return
                lines = splitter.feed(buffer[:got])
                buffer[:got] = bytes(got)
                for line in lines:
                    told = reply(None, _too_long()) if line.octets is None else await self._obey(line.octets)
                    await self._send(connection, told)
                    until = loop.time() + IDLE
        except (OSError, TimeoutError):
            pass  # it went, or it was slow
        finally:
            splitter.wipe()
            connection.close()

    async def _send(self, connection: socket.socket, octets: bytes) -> None:
        async with asyncio.timeout(SLOW):
            await asyncio.get_running_loop().sock_sendall(connection, octets)

    async def _obey(self, line: bytearray) -> bytes:
        """Carry out one line, and answer it whatever happens."""
        try:
            request = parse_request(line)
        except ControlError as error:
            return reply(error.id, error)
        command = self._commands.get(request.command)
        try:
            if command is None:
                known = ", ".join(self._commands)
                raise ControlError("unknown_command", "there is no such command", hint=f"there are: {known}")
            return reply(request.id, await command(request))
        except ControlError as error:
            request.wipe()
            return reply(request.id, error)
        except SipcliError as error:
            request.wipe()
            return reply(request.id, ControlError("failed", str(error), hint=error.hint))
        except Exception as error:
            request.wipe()
            # The class, not the text: an exception may quote what it was given.
            log.error("control: %s failed: %s", request.command, type(error).__name__)
            return reply(request.id, ControlError("failed", f"this is a bug of sipcli: {type(error).__name__}"))


def _too_long() -> ControlError:
    return ControlError("bad_request", f"a command is at most {LONGEST_LINE} octets long")


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _is_served(path: Path) -> bool:
    """Does anybody listen there?  A pid alone does not tell: containers may share the directory, and not the pids."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # its queue is full, say: somebody is there
    return True
