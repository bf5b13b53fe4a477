"""TLS in front of a server that speaks none: octets go through unread (SIPp of Debian is built without TLS)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self

from tests.support.wires import tls_server

_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TlsRelay:
    """``async with TlsRelay.before(port, certificate)``: TLS on :attr:`port`, TCP to *port* behind it.

    :meth:`towards` is the way out, for one connection only.  Both ends of a connection end together.
    """

    def __init__(
        self, behind: int, *, outer: ssl.SSLContext | None = None, inner: ssl.SSLContext | None = None
    ) -> None:
        self._behind = behind
        self._outer = outer
        self._inner = inner
        self._ready: _Pair | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def before(cls, port: int, certificate: str) -> Self:
        """Takes TLS with *certificate*, gives TCP to *port*."""
        return cls(port, outer=tls_server(certificate))

    @classmethod
    def towards(cls, port: int) -> Self:
        """Takes TCP, gives TLS to *port* over a connection that is there already: its near end is :attr:`source`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return cls(port, inner=context)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def source(self) -> int:
        assert self._ready is not None
        port: int = self._ready[1].get_extra_info("sockname")[1]
        return port

    async def __aenter__(self) -> Self:
        if self._inner is not None:
            self._ready = await asyncio.open_connection("127.0.0.1", self._behind, ssl=self._inner)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._outer)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ready is not None:
            self._ready[1].transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        away: asyncio.StreamWriter | None = None
        try:
            back, away = self._ready or await asyncio.open_connection("127.0.0.1", self._behind)
            ways = [asyncio.ensure_future(_pass(reader, away)), asyncio.ensure_future(_pass(back, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone: so is the other
        finally:
            for end in (writer, away):
                if end is not None:
                    end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
