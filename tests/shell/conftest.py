"""What several tests of the shell are given."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest

from tests.support.streams import Serve
from tests.support.wires import StreamServer


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    made: list[StreamServer] = []

    async def start(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> StreamServer:
        made.append(await StreamServer.start(context, host))
        return made[-1]

    yield start
    for server in made:
        server.close()
