"""TLS and WebSocket among vandals: what comes of it is one sentence at most, and the next one is served (T23, T24)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sipcli.errors import NetworkError
from sipcli.sip.syntax.framing import KEEPALIVE, PONG
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.stream import MAX_UNSENT, MESSAGE_TIME
from sipcli.ua.net.tls import TlsSettings, client_context
from sipcli.ua.net.transport import EndpointConfig, Transports
from sipcli.ua.net.websocket import MAX_SMALL, WebSocketConnection
from tests.support.certs import certificates
from tests.support.clock import advance, live_until, settle, stepped, until
from tests.support.frames import agreed, frame, upgrade
from tests.support.real import require
from tests.support.wires import Notebook, options

TEXT, BINARY, MORE, CLOSE, PING, PONG_FRAME = 1, 2, 0, 8, 9, 10
HEADERS = ("status", "Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol")
VALUES = (b"", b"\xff\xfe", b"x" * 20_000, b"sip, sip", b"\xe4sip", b"permessage-deflate", b"\x00", b"keep-alive")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody's faults but ours are errors: no traceback on the terminal."""
    yield
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")]


class Ground(asyncio.Transport):
    """What a connection writes to; the wire is the test."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.out = b""
        self.gone = False

    def write(self, data: Any) -> None:
        self.out += bytes(data)

    def is_closing(self) -> bool:
        return self.gone

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.gone = True

    close = abort


class Socket:
    """A WebSocket connection of ours without a socket; ``ends`` is what it says at its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.notebook = Notebook()
        self.ways = Transports(loop, self.notebook, EndpointConfig())
        self.connection = WebSocketConnection(loop, self.ways, domain="example.com")
        self.ground = Ground()
        self.connection.connection_made(self.ground)
        self.request = self.ground.out
        self.ground.out = b""

    def opens(self) -> Socket:
        self.hears(upgrade(agreed(self.request)))
        assert not self.ground.gone
        return self

    def hears(self, data: bytes) -> None:
        if not self.ground.gone:
            self.connection.data_received(data)

    def ends(self) -> str | None:
        """None: it goes on."""
        gone = self.ground.gone
        self.connection.connection_lost(None)
        return self.connection.ended if gone else None


def wrong_upgrades() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    for number, name in enumerate(HEADERS):
        for value in VALUES:

            def changed(request: bytes, number: int = number, value: bytes = value) -> bytes:
                lines = agreed(request)
                lines[number] = (lines[number].partition(b": ")[0] + b": " if number else b"HTTP/1.1 ") + value
                return upgrade(lines)

            yield f"{name} {value[:6]!r}", changed
        yield (
            f"no {name}",
            lambda request, number=number: upgrade([*agreed(request)[:number], *agreed(request)[number + 1 :]]),
        )
    for status in (100, 103, 199, 200, 204, 301, 401, 407, 426, 500, 999):
        yield (
            f"status {status}",
            lambda request, status=status: upgrade([b"HTTP/1.1 %d So" % status, *agreed(request)[1:]]),
        )
    for extension in (b"permessage-deflate", b"foo; bar=\xff", b", , ,"):
        yield (
            f"extension {extension!r}",
            lambda request, extension=extension: upgrade([*agreed(request), b"Sec-WebSocket-Extensions: " + extension]),
        )
    yield "100 without end", lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 5000
    yield "headers without end", lambda _: b"HTTP/1.1 101 So\r\n" + b"A: b\r\n" * 50_000
    yield "HTTP/2", lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "SIP", lambda _: options()
    yield "noise", lambda _: random.Random(7).randbytes(50_000)


@pytest.mark.parametrize(("name", "answer"), [pytest.param(*each, id=each[0]) for each in wrong_upgrades()])
async def test_T24_an_upgrade_that_is_wrong_is_one_sentence(name: str, answer: Callable[[bytes], bytes]) -> None:
    """A header that is no ASCII was a traceback: the library's UnicodeDecodeError."""
    ws = Socket()
    ws.hears(answer(ws.request))
    said = ws.ends()
    assert said is not None and said.startswith(("lost: ", "connect: ", "protocol: ")) and len(said) < 200
    assert ws.notebook.messages == []
    with pytest.raises(NetworkError):
        await ws.connection.usable(1)


ONE = options()
HALVES = [frame(TEXT, ONE[:90], fin=False), frame(PING, b"amid"), frame(MORE, b"", fin=False), frame(MORE, ONE[90:])]
GOOD = {
    "text": [frame(TEXT, ONE)],
    "binary": [frame(BINARY, ONE)],
    "fragments with a ping amid them": HALVES,
    "an octet cut by fragments": [frame(TEXT, ONE + b"\xc3", fin=False), frame(MORE, b"\xa4")],
    "keep-alives before it": [*[frame(TEXT, b"\r\n\r\n")] * 3, frame(TEXT), frame(TEXT, ONE)],
    "pongs that nobody asked for": [*[frame(PONG_FRAME, b"x")] * 3, frame(TEXT, ONE)],
}
BAD = {
    "masked": [frame(TEXT, ONE, mask=b"abcd")],
    "a fragmented ping": [frame(PING, b"x", fin=False)],
    "a ping too long": [frame(PING, b"x" * 126)],
    "reserved bits": [frame(TEXT, ONE, rsv=4)],
    "a reserved opcode": [frame(3, ONE)],
    "a reserved control opcode": [frame(11)],
    "2**62 octets": [frame(TEXT, b"x" * 70_000, length=1 << 62)],
    "the highest bit of a length": [frame(TEXT, b"x", length=(1 << 63) + 5)],
    "64 bits for a short length": [frame(TEXT, ONE, wide=8)],
    "16 bits for a short length": [frame(TEXT, b"hi", wide=2)],
    "no UTF-8": [frame(TEXT, b"\xff\xfe")],
    "half an octet of UTF-8": [frame(TEXT, b"\xc3", fin=False), frame(MORE)],
    "a fragment first": [frame(MORE, ONE)],
    "a message in a message": [frame(TEXT, ONE, fin=False), frame(TEXT, ONE)],
    "100 kB": [frame(TEXT, b"x" * 100_000)],
    "100 kB in fragments": [frame(TEXT, b"x" * 1000, fin=False), *[frame(MORE, b"x" * 1000, fin=False)] * 100],
    "a close": [frame(CLOSE)],
    "a close with one octet": [frame(CLOSE, b"x")],
    "a close and more": [frame(CLOSE, struct.pack("!H", 1000)), frame(TEXT, ONE), frame(PING)],
    **{
        f"close code {code}": [frame(CLOSE, struct.pack("!H", code))]
        for code in (0, 999, 1005, 1006, 3000, 5000, 65535)
    },
    "a close with a reason that is no UTF-8": [frame(CLOSE, struct.pack("!H", 1000) + b"\xff")],
}


@pytest.mark.parametrize("how", ["at once", "octet by octet", "with the upgrade"])
@pytest.mark.parametrize("kind", [*GOOD, *BAD])
async def test_T24_frames_of_every_kind(kind: str, how: str) -> None:
    good = kind in GOOD
    octets = b"".join(GOOD[kind] if good else BAD[kind])
    ws = Socket()
    if how == "with the upgrade":
        ws.hears(upgrade(agreed(ws.request)) + octets)
    else:
        ws.opens()
        for part in [octets] if how == "at once" else [bytes((octet,)) for octet in octets[:2000]]:
            ws.hears(part)
        if how == "octet by octet" and len(octets) > 2000:
            ws.hears(octets[2000:])
    said = ws.ends()
    assert (said is None) is good
    assert len(ws.notebook.messages) == good, "and no pong: we asked for none"
    assert said is None or len(said) < 200


@pytest.mark.parametrize("seed", range(20))
async def test_T24_damaged_frames(seed: int) -> None:
    chance = random.Random(seed)
    kinds = [*GOOD.values(), *BAD.values()]
    for _ in range(20):
        octets = bytearray(b"".join(b"".join(chance.choice(kinds)) for _ in range(chance.randint(1, 4)))[:70_000])
        for _ in range(chance.randint(0, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        ws = Socket().opens()
        while octets:
            cut = chance.randint(1, len(octets))
            ws.hears(bytes(octets[:cut]))
            del octets[:cut]
        said = ws.ends()
        assert said is None or len(said) < 200


@pytest.mark.parametrize(
    "unit",
    [
        frame(PING),
        frame(PING, b"x" * 20),
        frame(PONG_FRAME),
        frame(TEXT),
        frame(TEXT, b"x"),
        frame(TEXT, b"\r\n\r\n"),
        frame(BINARY),
    ],
    ids=["pings", "longer pings", "pongs", "empty ones", "one octet", "line ends", "binary"],
)
async def test_T23_a_flood_of_frames_that_carry_next_to_nothing(unit: bytes) -> None:
    """A quarter of a megabyte of them held the loop for four seconds.  Fails without the count in ``_count``."""
    ws = Socket().opens()
    ws.hears(unit * ((1 << 18) // len(unit)))
    assert len(ws.notebook.messages) <= MAX_SMALL
    assert len(ws.ground.out) < 64 << 10
    assert ws.ends() == f"lost: {MAX_SMALL} empty frames in 10 s"


async def test_T23_empty_fragments_take_no_memory_and_no_time() -> None:
    ws = Socket().opens()
    ws.hears(frame(TEXT, ONE[:90], fin=False) + frame(MORE, fin=False) * MAX_SMALL)
    assert ws.connection._parts == [ONE[:90]]
    ws.hears(frame(MORE, fin=False))
    assert ws.ends() == f"lost: {MAX_SMALL} empty frames in 10 s"


@stepped
async def test_T23_pings_now_and_then_are_no_flood() -> None:
    ws = Socket().opens()
    for _ in range(2 * MAX_SMALL):
        ws.hears(frame(PING, b"still there?"))
        await advance(0.1)
    pong = 2 + 4 + len(b"still there?")  # its head, its mask, which is random, and the payload
    heads = {ws.ground.out[at : at + 2] for at in range(0, len(ws.ground.out), pong)}
    assert (len(ws.ground.out), heads) == (2 * MAX_SMALL * pong, {b"\x8a\x8c"})
    assert ws.ends() is None


@stepped
async def test_T23_a_message_in_frames_has_ten_seconds_too() -> None:
    ws = Socket().opens()
    ws.hears(frame(TEXT, ONE[:90], fin=False))
    await advance(MESSAGE_TIME - 0.1)
    assert not ws.ground.gone
    ws.hears(frame(PING))
    await advance(0.2)
    assert ws.ends() == "lost: a message did not end in time"


async def test_a_pong_is_one_only_to_a_ping_of_ours() -> None:
    ws = Socket().opens()
    ws.hears(frame(PONG_FRAME))
    ws.connection.send(KEEPALIVE)
    ws.hears(frame(PONG_FRAME) * 3)
    assert ws.notebook.messages == [PONG]


# --- TLS ------------------------------------------------------------------------------------------------------


class Hall:
    """What listens for TLS, and whom it is given."""

    port = 0

    def __init__(self) -> None:
        leaf = certificates().leaf("good")
        self.notebook = Notebook()
        settings = TlsSettings(cert_file=leaf.cert_file, key_file=leaf.key_file)
        self.ways = Transports(asyncio.get_running_loop(), self.notebook, EndpointConfig(tls=settings))
        self.context = client_context(TlsSettings(ca_file=certificates().ca_file))

    async def hello(self) -> bytes:
        """A ClientHello as it should be."""
        out = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="sip.test").do_handshake()
        return out.read()

    async def raw(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def serves(self) -> None:
        """Somebody who behaves is heard."""
        known = len(self.notebook.messages)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="sip.test", local_addr=("127.0.0.2", 0)
        )
        writer.write(ONE)
        await until(lambda: len(self.notebook.messages) > known)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def hall() -> AsyncIterator[Hall]:
    require("openssl")
    made = Hall()
    _, made.port = await made.ways.listen("tls", "127.0.0.1", 0)
    yield made
    await made.ways.close()
    await settle()


async def test_T24_hellos_of_every_kind_and_the_next_one_is_served() -> None:
    chance = random.Random(11)
    async with hall() as h:
        hello = await h.hello()
        hellos = [
            b"\x16",
            hello[:5],
            hello[:-1],
            ONE,
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(300),
            b"\x80\x2e\x01\x00\x02" + bytes(50),
        ]
        hellos += [
            b"\x16\x03\x01\xff\xff" + chance.randbytes(2000),
            b"\x15\x03\x01\x00\x02\x02\x28",
            hello * 2,
            hello + ONE,
        ]
        for _ in range(60):
            damaged = bytearray(hello)
            for _ in range(chance.randint(1, 5)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            hellos.append(bytes(damaged[: chance.randint(1, len(damaged))] if chance.random() < 0.3 else damaged))
        for each in hellos:
            _, writer = await h.raw(each)
            writer.write_eof()
            await until(lambda: not len(h.ways._guests))
            writer.close()
        await h.serves()
        await until(lambda: not len(h.ways._guests))
        assert h.notebook.messages == [ONE]


@stepped
async def test_T23_a_hello_octet_by_octet_has_ten_seconds() -> None:
    async with hall() as h:
        hello = await h.hello()
        _, writer = await h.raw(hello[:1])
        await live_until(lambda: len(h.ways._guests))
        for octet in hello[1:20]:
            writer.write(bytes((octet,)))
            await advance(0.5)
        assert len(h.ways._guests) == 1
        await advance(1.0)
        await until(lambda: not len(h.ways._guests))
        writer.close()


async def test_T23_an_end_without_a_good_bye_is_an_end() -> None:
    """The connection breaks below TLS: no close_notify (RFC 8446 section 6.1), half a message, half a record."""
    async with hall() as h:
        loop = asyncio.get_running_loop()
        for tail in (b"", b"\x17\x03\x03", b"\x17\x03\x03\x00\x20" + bytes(32), ONE):
            lost = len(h.notebook.lost)
            made = socket.create_connection(("127.0.0.1", h.port))
            inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = h.context.wrap_bio(inbox, outbox, server_hostname="sip.test")
            made.setblocking(False)
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await loop.sock_sendall(made, outbox.read())
                    inbox.write(await loop.sock_recv(made, 65536))
            client.write(ONE[:60])
            await loop.sock_sendall(made, outbox.read() + tail)
            await until(lambda: len(h.ways._streams))
            made.close()
            await until(lambda lost=lost: len(h.notebook.lost) > lost)
        assert h.notebook.messages == []
        await h.serves()


async def test_T23_no_handshake_is_begun_anew() -> None:
    """By TLS 1.2, which could: each costs us more than him."""
    require("dtls")
    from OpenSSL import SSL

    async with hall() as h:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)

        def vandalise() -> None:
            made = socket.create_connection(("127.0.0.1", h.port), 10)
            client = SSL.Connection(context, made)
            made.setblocking(True)
            client.set_connect_state()
            client.do_handshake()
            client.send(ONE)
            with pytest.raises(SSL.Error):
                client.renegotiate()
                client.do_handshake()
                client.recv(1)
            made.close()

        await asyncio.to_thread(vandalise)
        await until(lambda: h.notebook.messages == [ONE])
        await h.serves()


async def test_T23_pings_over_tls_whose_pongs_nobody_reads() -> None:
    async with hall() as h:
        _, writer = await asyncio.open_connection("127.0.0.1", h.port, ssl=h.context, server_hostname="sip.test")
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(400):
            writer.write(b"\r\n\r\n" * 16384)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            if h.notebook.lost:
                break
            [connection] = list(h.ways._streams.values()) or [None]
            if connection is not None and connection._transport is not None:
                assert connection._transport.get_write_buffer_size() <= MAX_UNSENT + (1 << 20)
        await until(lambda: h.notebook.lost)
        assert h.notebook.lost[0][1] == "lost: the other side does not read"
        writer.transport.abort()
        await h.serves()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x15\x03\x03\x00\x02\x02\x28",
        bytes(100),
        ONE,
        b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00",
        b"\x16\x03\x03\xff\xff" + bytes(9000),
    ],
    ids=["nothing", "an alert", "zeros", "SIP", "the wrong message", "a record too long"],
)
@pytest.mark.parametrize("transport", ["tls", "wss"])
async def test_T24_a_server_that_answers_our_hello_with_junk(transport: Any, answer: bytes) -> None:
    async def junk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(junk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ways = Transports(asyncio.get_running_loop(), Notebook(), EndpointConfig(connect_limit=5.0))
    with pytest.raises(NetworkError) as caught:
        await ways.open(Candidate(transport, "127.0.0.1", port), "sip.test", None)
    assert str(caught.value).startswith(("tls: ", "connect: ")) and len(str(caught.value)) < 200
    assert not ways._streams
    await ways.close()
    server.close()
