"""The far ends of transports: a sink that writes down, peers on real sockets, a TLS server with any certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from sipcli.sip.flow import Flow
from tests.support.certs import certificates

__all__ = ["Notebook", "Peer", "StreamServer", "options", "tls_server"]


def options(n: int = 1, *, body: bytes = b"") -> bytes:
    """A whole OPTIONS; *n* tells them apart."""
    return (
        b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
        b"Call-ID: c%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: %d\r\n\r\n%b" % (n, n, len(body), body)
    )


class Notebook:
    """A sink for transports: writes down all that comes."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.flows: list[Flow] = []
        self.lost: list[tuple[Flow, str]] = []

    def on_octets(self, batch: Sequence[tuple[bytes, Flow]]) -> None:
        self.batches.append([data for data, _ in batch])
        self.flows += [flow for _, flow in batch]

    def on_lost(self, flow: Flow, why: str) -> None:
        self.lost.append((flow, why))

    @property
    def messages(self) -> list[bytes]:
        return [data for batch in self.batches for data in batch]


class Peer:
    """A non-blocking UDP socket on loopback."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.host, self.port = self.socket.getsockname()[:2]
        self.got: list[bytes] = []

    def poll(self) -> list[bytes]:
        """All that came so far."""
        while True:
            try:
                self.got.append(self.socket.recv(65536))
            except BlockingIOError:
                return self.got

    def send(self, data: bytes, port: int) -> None:
        self.socket.sendto(data, (self.host, port))

    def close(self) -> None:
        self.socket.close()


class StreamServer(asyncio.Protocol):
    """``await StreamServer.start()``: takes one connection after the other, writes down what comes."""

    def __init__(self) -> None:
        self.transports: list[asyncio.Transport] = []
        self.got = b""
        self.lost = 0
        self.names: list[str | None] = []
        self.server: asyncio.Server | None = None
        self.on_data: Callable[[], None] = lambda: None

    @classmethod
    async def start(cls, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> StreamServer:
        made = cls()
        if context is not None:
            context.sni_callback = lambda _, name, __: made.names.append(name)
        made.server = await asyncio.get_running_loop().create_server(lambda: made, host, 0, ssl=context)
        return made

    @property
    def port(self) -> int:
        assert self.server is not None
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.on_data()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1

    def close(self) -> None:
        assert self.server is not None
        self.server.close()
        for transport in self.transports:
            transport.abort()


def tls_server(kind: str, *, highest: ssl.TLSVersion | None = None, ask: Path | None = None) -> ssl.SSLContext:
    """A server's context with the certificate *kind* of :class:`tests.support.certs.Authority`."""
    leaf = certificates().leaf(kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    if highest is not None:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, highest
        context.set_ciphers("ALL:@SECLEVEL=0")
    if ask is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ask)
    return context
