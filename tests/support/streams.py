"""Our transports and a server of streams on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.transport import EndpointConfig, Transports
from tests.support.wires import Notebook, StreamServer


def transports(notebook: Notebook, **config: object) -> Transports:
    return Transports(asyncio.get_running_loop(), notebook, EndpointConfig(**config))  # type: ignore[arg-type]


Serve = Callable[..., Awaitable[StreamServer]]


def tcp(server: StreamServer) -> Candidate:
    return Candidate("tcp", "127.0.0.1", server.port)


def tls(server: StreamServer) -> Candidate:
    return Candidate("tls", "127.0.0.1", server.port)
