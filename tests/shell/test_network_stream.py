"""TCP on loopback: frames, limits, reuse, and who may connect to us (RFC 3261 section 18, RFC 5923; T23)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipcli.errors import NetworkError, TlsError
from sipcli.ua.net.listener import MAX_ACCEPTED, Listener, party_of
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.stream import FIRST_OCTET, MAX_UNSENT, MESSAGE_TIME, StreamConnection
from sipcli.ua.net.transport import Transports
from tests.support.clock import advance, settle, stepped, until
from tests.support.streams import Serve, tcp, transports
from tests.support.wires import Notebook, StreamServer, options


@pytest.fixture
async def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
async def ways(notebook: Notebook) -> AsyncIterator[Transports]:
    made = transports(notebook)
    yield made
    await made.close()


# --- TCP -----------------------------------------------------------------------------------


async def test_there_and_back(ways: Transports, notebook: Notebook, serve: Serve) -> None:
    server = await serve()
    flow = await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    assert (flow.transport, flow.remote) == ("tcp", ("127.0.0.1", server.port))
    assert flow.local == server.transports[0].get_extra_info("peername")
    ways.send(flow, options(1))
    await until(lambda: server.got)
    assert server.got == options(1)
    stream = options(2) + b"\r\n\r\n" + options(3, body=b"hello")
    server.transports[0].write(stream[:50])
    await settle()
    server.transports[0].write(stream[50:])
    await until(lambda: len(notebook.messages) == 2)
    assert notebook.messages == [options(2), options(3, body=b"hello")]
    assert set(notebook.flows) == {flow}
    await until(lambda: server.got.endswith(b"\r\n\r\n\r\n"))
    assert server.got == options(1) + b"\r\n"  # the ping in between got its pong


async def test_one_connection_for_one_address(ways: Transports, serve: Serve) -> None:
    server, other = await serve(), await serve()
    first, second, third = await asyncio.gather(*[ways.open(tcp(server), name, None) for name in ("a", "b", "a")])
    assert first is second is third
    assert await ways.open(tcp(server), "c", None) is first
    assert await ways.open(tcp(other), "a", None) is not first
    await until(lambda: other.transports)
    assert len(server.transports) == 1


async def test_the_other_side_closes(ways: Transports, notebook: Notebook, serve: Serve) -> None:
    server = await serve()
    flow = await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    server.transports[0].close()
    await until(lambda: notebook.lost)
    assert notebook.lost == [(flow, "lost: the other side closed it")]
    ways.send(flow, options())
    assert notebook.lost[1:] == [(flow, "lost: the other side closed it")]
    assert await ways.open(tcp(server), "h", None) != flow


async def test_released_is_closed_after_what_waits(ways: Transports, serve: Serve) -> None:
    server = await serve()
    flow = await ways.open(tcp(server), "h", None)
    ways.send(flow, options())
    ways.release(flow)
    await until(lambda: server.lost)
    assert server.got == options()


async def test_nobody_listens(ways: Transports, serve: Serve) -> None:
    server = await serve()
    candidate = tcp(server)
    server.close()
    await settle()
    with pytest.raises(NetworkError) as caught:
        await ways.open(candidate, "h", None)
    assert str(caught.value) == f"connect: no connection to 127.0.0.1 port {candidate.port}: connection refused"


@stepped
async def test_no_answer_is_waited_for_only_so_long() -> None:
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    loop.sock_connect = lambda *_: never  # type: ignore[assignment, method-assign]
    ways = transports(Notebook(), connect_limit=5.0)
    opening = asyncio.ensure_future(ways.open(Candidate("tcp", "192.0.2.1", 5060), "h", None))
    await advance(5.1)
    with pytest.raises(NetworkError, match=r"^connect: no answer from 192\.0\.2\.1 port 5060 in 5 s$"):
        await opening
    await ways.close()


async def test_B16_a_lost_frame_earns_400_and_the_end(ways: Transports, notebook: Notebook, serve: Serve) -> None:
    server = await serve()
    flow = await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    server.transports[0].write(options(1) + options(2).replace(b"Content-Length: 0", b"Content-Length: -999"))
    await until(lambda: notebook.lost)
    assert notebook.messages == [options(1)]
    assert server.got.startswith(b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK2\r\n")
    assert notebook.lost == [(flow, "lost: the stream is lost: Content-Length is no number: '-999'")]


@stepped
async def test_T23_a_message_has_ten_seconds() -> None:
    notebook, server = Notebook(), await StreamServer.start()
    ways = transports(notebook, keepalive_stream=0)
    flow = await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    await advance(1000)  # silence is no crime on a connection that we made
    assert notebook.lost == []
    data = options(body=b"x" * 20)
    connection = ways._streams[flow.id]
    for octet in data[:9]:
        connection.data_received(bytes([octet]))
        await advance(1)
    assert notebook.lost == []
    await advance(MESSAGE_TIME - 8)
    assert notebook.lost == [(flow, "lost: a message did not end in time")]
    server.close()
    await ways.close()


@stepped
async def test_every_message_has_its_own_ten_seconds() -> None:
    notebook, server = Notebook(), await StreamServer.start()
    ways = transports(notebook, keepalive_stream=0)
    flow = await ways.open(tcp(server), "h", None)
    connection = ways._streams[flow.id]
    data = options()
    connection.data_received(data[:5])
    for _ in range(5):
        await advance(MESSAGE_TIME - 1)
        connection.data_received(data[5:] + data[:5])
    assert len(notebook.messages) == 5
    connection.data_received(data[5:])
    await advance(100)
    assert notebook.lost == []
    server.close()
    await ways.close()


@stepped
async def test_keep_alive_and_pong() -> None:
    notebook, server = Notebook(), await StreamServer.start()
    ways = transports(notebook, keepalive_stream=95, keepalive_udp=0)
    await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    await advance(120)
    await until(lambda: server.got)
    assert server.got == b"\r\n\r\n"
    server.transports[0].write(b"\r\n" + options())
    await until(lambda: notebook.messages)
    # The pong is the core's to count (RFC 5626 section 4.4.1).
    assert notebook.messages == [b"\r\n", options()]
    server.close()
    await ways.close()


async def test_a_peer_that_does_not_read(ways: Transports, notebook: Notebook, serve: Serve) -> None:
    server = await serve()
    flow = await ways.open(tcp(server), "h", None)
    await until(lambda: server.transports)
    server.transports[0].pause_reading()
    for _ in range(MAX_UNSENT // 60000 * 10):
        ways.send(flow, b"x" * 60000)
        if notebook.lost:
            break
        await asyncio.sleep(0)
    await until(lambda: notebook.lost)
    assert notebook.lost[0] == (flow, "lost: the other side does not read")


# --- listening -------------------------------------------------------------------------------


async def test_T23_pings_whose_pongs_nobody_reads(ways: Transports, notebook: Notebook) -> None:
    """Fails when only whole messages are counted in ``StreamConnection``."""
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(host, port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(options())
    await until(lambda: notebook.messages)
    with contextlib.suppress(ConnectionError):
        for _ in range(2000):
            writer.write(b"\r\n\r\n" * 16384)
            await writer.drain()
            if notebook.lost:
                break
    await until(lambda: notebook.lost)
    assert notebook.lost[0][1] == "lost: the other side does not read"
    writer.transport.abort()


async def test_T23_pings_that_come_together_are_answered_together(
    ways: Transports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when each is answered by itself: from Python 3.12 on asyncio adds up all that waits at every write, so that
    a million pongs which nobody reads stop the loop for minutes."""
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(host, port)
    await until(lambda: ways._streams)
    (connection,) = ways._streams.values()
    written: list[bytes] = []
    monkeypatch.setattr(connection, "write", written.append)
    connection.data_received(b"\r\n\r\n" * 1000)
    assert written == [b"\r\n" * 1000]
    writer.close()


@stepped
async def test_T23_somebody_connects_and_says_nothing() -> None:
    notebook = Notebook()
    ways = transports(notebook)
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    assert ways.listening == [("tcp", "127.0.0.1", port)]
    reader, writer = await asyncio.open_connection(host, port)
    await until(lambda: ways._streams)
    await advance(FIRST_OCTET + 1)
    assert [why for _, why in notebook.lost] == ["lost: nothing came for a while"]
    assert await reader.read() == b""
    writer.close()
    await ways.close()


async def test_an_answer_on_the_connection_it_came_on(ways: Transports, notebook: Notebook) -> None:
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(options())
    await until(lambda: notebook.messages)
    (flow,) = notebook.flows
    assert (flow.local, flow.remote, flow.verified_identity) == ((host, port), writer.get_extra_info("sockname"), None)
    ways.send(flow, b"SIP/2.0 200 OK\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"SIP/2.0 200 OK\r\n\r\n"
    writer.close()


async def test_T23_strangers_get_so_many_connections(ways: Transports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.ua.net.listener.MAX_ACCEPTED", 3)
    assert MAX_ACCEPTED == 100
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    pairs = [await asyncio.open_connection(host, port) for _ in range(3)]
    await until(lambda: len(ways._streams) == 3)
    reader, writer = await asyncio.open_connection(host, port)
    assert await reader.read() == b""
    pairs[0][1].close()
    await until(lambda: len(ways._streams) == 2)
    again = await asyncio.open_connection(host, port)
    await until(lambda: len(ways._streams) == 3)
    for _, each in [*pairs, again, (reader, writer)]:
        each.close()


async def test_T23_one_host_does_not_get_all_of_them(
    ways: Transports, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says a word on each may hold them for ever.  Fails without the check in ``Guests.admit``."""
    monkeypatch.setattr("sipcli.ua.net.listener.MAX_OF_ONE_HOST", 3)
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    pairs = [await asyncio.open_connection(host, port) for _ in range(3)]
    await until(lambda: len(ways._streams) == 3)
    reader, writer = await asyncio.open_connection(host, port)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert notebook.lost == [], "it never was one"
    other = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
    await until(lambda: len(ways._streams) == 4)
    pairs[0][1].close()
    await until(lambda: len(ways._streams) == 3)
    again = await asyncio.open_connection(host, port)
    await until(lambda: len(ways._streams) == 4)
    for _, each in [*pairs, other, again, (reader, writer)]:
        each.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_T23_a_host_of_ipv6_is_its_network(one: str, other: str, same: bool) -> None:
    assert (party_of(one) == party_of(other)) is same


async def test_a_port_that_is_taken(ways: Transports) -> None:
    _, port = await ways.listen("tcp", "127.0.0.1", 0)
    with pytest.raises(NetworkError, match=f"cannot listen on tcp 127.0.0.1 port {port}"):
        await ways.listen("tcp", "127.0.0.1", port)
    with pytest.raises(TlsError, match="a certificate is needed"):
        await ways.listen("tls", "127.0.0.1", 0)


async def test_a_port_that_udp_and_tcp_both_have_free(ways: Transports, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives one that is free for the first of them: "any port" was then said to be in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        half = taken.getsockname()[1]
        kernels = itertools.chain([half, half], itertools.repeat(0))

        def listener(loop: asyncio.AbstractEventLoop, host: str, port: int, **more: Any) -> Listener:
            return Listener(loop, host, port or next(kernels), **more)

        monkeypatch.setattr("sipcli.ua.net.transport.Listener", listener)
        host, port = await ways.listen_both("127.0.0.1", 0)
        assert port != half
        assert ways.listening == [("udp", host, port), ("tcp", host, port)], "what was tried before is closed"
        with pytest.raises(NetworkError, match=f"cannot bind UDP 127.0.0.1 port {half}"):
            await ways.listen_both("127.0.0.1", half)


async def test_no_port_that_udp_and_tcp_both_have_free(ways: Transports, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        half = taken.getsockname()[1]
        monkeypatch.setattr(
            "sipcli.ua.net.transport.Listener", lambda loop, host, _, **more: Listener(loop, host, half, **more)
        )
        with pytest.raises(NetworkError, match=r"no port of 127\.0\.0\.1 is free for both UDP and TCP"):
            await ways.listen_both("127.0.0.1", 0)
    assert not ways.listening


# --- TLS -------------------------------------------------------------------------------------


async def test_T23_where_no_descriptor_is_left_it_is_tried_again_and_nothing_is_said(
    ways: Transports, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's own servers wrote a traceback for each try."""
    monkeypatch.setattr("sipcli.ua.net.listener.BREATH", 0.01)
    host, port = await ways.listen("tcp", "127.0.0.1", 0)
    [(_, listener)] = ways._listeners
    real, refused = listener._socket, 0

    class Full:
        def accept(self) -> Any:
            nonlocal refused
            refused += 1
            if refused > 2:
                return real.accept()
            raise OSError(errno.EMFILE, "Too many open files")

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    listener._socket = Full()  # type: ignore[assignment]
    _, writer = await asyncio.open_connection(host, port)
    await until(lambda: len(ways._streams) == 1)
    assert refused > 2
    assert not caplog.records
    writer.close()


def test_a_connection_knows_no_flow_before_it_is_one() -> None:
    with asyncio.Runner() as runner:

        async def run() -> None:
            connection = StreamConnection(asyncio.get_running_loop(), transports(Notebook()))
            connection.data_received(options())
            connection.send(options())
            connection.abort("lost: for a test")
            connection.close()
            assert connection.flow is None

        runner.run(run())
