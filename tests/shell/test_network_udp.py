"""UDP on loopback: batches, flows, ICMP, keep-alives (RFC 3261 section 18, RFC 3581; threat T23)."""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from sipcli.errors import NetworkError
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.transport import EndpointConfig, Transports
from sipcli.ua.net.udp import BATCH, MAX_FLOWS, SOURCE_TIME, UdpSocket
from tests.support.clock import advance, settle, stepped, until
from tests.support.wires import Notebook, Peer, options


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
async def bind() -> AsyncIterator[Callable[..., tuple[UdpSocket, Notebook]]]:
    made: list[UdpSocket] = []
    ids = itertools.count(1)

    def make(host: str = "0.0.0.0") -> tuple[UdpSocket, Notebook]:
        notebook = Notebook()
        made.append(UdpSocket(asyncio.get_running_loop(), notebook, host, 0, lambda: next(ids)))
        return made[-1], notebook

    yield make
    for udp in made:
        udp.close()


Bind = Callable[..., tuple[UdpSocket, Notebook]]


async def test_there_and_back(bind: Bind, peer: Peer) -> None:
    udp, notebook = bind()
    flow = udp.flow_to("127.0.0.1", peer.port)
    assert (flow.transport, flow.local, flow.remote) == ("udp", ("127.0.0.1", udp.port), ("127.0.0.1", peer.port))
    udp.send(flow, options(1))
    await until(peer.poll)
    peer.send(options(2), udp.port)
    await until(lambda: notebook.messages)
    assert peer.got == [options(1)]
    assert notebook.messages == [options(2)]
    assert notebook.flows == [flow]
    assert udp.flow_to("127.0.0.1", peer.port) is flow


async def test_a_stranger_is_one_flow_and_stays_it_when_chosen(bind: Bind, peer: Peer) -> None:
    udp, notebook = bind("127.0.0.1")
    peer.send(options(1), udp.port)
    peer.send(options(2), udp.port)
    await until(lambda: len(notebook.flows) == 2)
    assert notebook.flows[0] is notebook.flows[1]
    assert udp.flow_to("127.0.0.1", peer.port) is notebook.flows[0]


async def test_a_wake_drains_a_batch_and_leaves_the_rest(bind: Bind, peer: Peer) -> None:
    udp, notebook = bind("127.0.0.1")
    for n in range(BATCH + 8):
        peer.send(options(n), udp.port)
    await until(lambda: len(notebook.messages) == BATCH + 8)
    assert [len(batch) for batch in notebook.batches] == [BATCH, 8]
    assert notebook.messages == [options(n) for n in range(BATCH + 8)]


async def test_what_is_no_sip_is_not_looked_at(bind: Bind, peer: Peer) -> None:
    udp, notebook = bind("127.0.0.1")
    for noise in (b"", b"\0\0\0\0", b"\r\n\r\n", b"\x00\x01\x00\x08\x21\x12\xa4\x42" + b"x" * 12, b"\x16\xfe\xff"):
        peer.send(noise, udp.port)
    peer.send(b"\r\n" + options(), udp.port)
    await until(lambda: notebook.messages)
    assert notebook.messages == [b"\r\n" + options()]


async def test_the_largest_datagram(bind: Bind, peer: Peer) -> None:
    udp, notebook = bind("127.0.0.1")
    large = options(body=b"x" * 65000)
    peer.send(large, udp.port)
    await until(lambda: notebook.messages)
    assert notebook.messages == [large]
    udp.send(udp.flow_to("127.0.0.1", peer.port), b"x" * 70000)
    (flow, why), *_ = notebook.lost
    assert flow.remote[1] == peer.port
    assert why == f"connect: nothing can be sent to 127.0.0.1 port {peer.port}: message too long"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells an unconnected socket")
async def test_nobody_there(bind: Bind, peer: Peer) -> None:
    """RFC 3261 section 18.4: an ICMP port unreachable is a transport error."""
    gone = Peer()
    gone.close()
    udp, notebook = bind()
    flow = udp.flow_to("127.0.0.1", gone.port)
    udp.send(flow, options())
    await until(lambda: notebook.lost)
    assert notebook.lost == [(flow, f"connect: nobody at 127.0.0.1 port {gone.port}: connection refused")]
    # The bad news of one is not the other's, whichever call hears it first.
    udp.send(flow, options())
    udp.send(udp.flow_to("127.0.0.1", peer.port), options(7))
    peer.send(options(8), udp.port)
    await until(lambda: notebook.messages and len(notebook.lost) == 2 and peer.poll())
    assert peer.got == [options(7)]
    assert notebook.messages == [options(8)]
    assert {lost.remote[1] for lost, _ in notebook.lost} == {gone.port}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells an unconnected socket")
def test_nobody_there_on_uvloop(peer: Peer) -> None:
    uvloop = pytest.importorskip("uvloop")
    gone = Peer()
    gone.close()

    def told(notebook: Notebook, n: int) -> bool:
        return len(notebook.lost) >= n and len(notebook.messages) == n

    async def run() -> None:
        notebook = Notebook()
        udp = UdpSocket(asyncio.get_running_loop(), notebook, "0.0.0.0", 0, itertools.count(1).__next__)
        for n in range(1, 4):
            udp.send(udp.flow_to("127.0.0.1", gone.port), options())
            peer.send(options(n), udp.port)
            await until(functools.partial(told, notebook, n))
        udp.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_T23_strangers_are_forgotten_those_we_chose_are_not(bind: Bind) -> None:
    udp, _ = bind("127.0.0.1")
    chosen = udp.flow_to("127.0.0.1", 5)
    for n in range(MAX_FLOWS + 10):
        udp._flow_from((f"127.0.{n // 256}.{n % 256}", 5060))
    assert len(udp._strangers) == MAX_FLOWS
    assert udp.flow_to("127.0.0.1", 5) is chosen
    udp.release(chosen)
    assert udp.chosen == ()


@stepped
async def test_T23_a_host_that_sends_too_much_is_not_listened_to_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.ua.net.udp.MAX_RATE", 5)
    notebook, noisy, friend = Notebook(), Peer(), Peer()
    udp = UdpSocket(asyncio.get_running_loop(), notebook, "127.0.0.1", 0, itertools.count(1).__next__)
    udp.flow_to("127.0.0.1", friend.port)
    for n in range(9):
        noisy.send(options(n), udp.port)
    for n in range(20, 29):
        friend.send(options(n), udp.port)
    await until(lambda: options(28) in notebook.messages)
    assert notebook.messages == [options(n) for n in (*range(5), *range(20, 29))]
    await advance(1)
    noisy.send(options(9), udp.port)
    await until(lambda: options(9) in notebook.messages)
    for closing in (udp, noisy, friend):
        closing.close()


@stepped
async def test_another_network_is_another_flow(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    udp, _ = bind()
    before = udp.flow_to("127.0.0.1", 5060)
    assert udp.flow_to("127.0.0.1", 5060) is before
    monkeypatch.setattr("sipcli.ua.net.udp._source_for", lambda *_: "192.0.2.77")
    assert udp.flow_to("127.0.0.1", 5060) is before  # the kernel is not asked for every account that begins
    await advance(SOURCE_TIME)
    after = udp.flow_to("127.0.0.1", 5060)
    assert (after.local, after.remote) == (("192.0.2.77", udp.port), before.remote)
    assert after.id != before.id
    assert udp.chosen == (after,)


async def test_no_route(bind: Bind) -> None:
    udp, _ = bind()
    # A broadcast address needs a permission that we never ask for.
    with pytest.raises(NetworkError, match=r"^connect: no route to 255\.255\.255\.255: permission denied$"):
        udp.flow_to("255.255.255.255", 5060)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENETUNREACH])
async def test_T23_a_stranger_who_cannot_be_answered_costs_the_others_nothing(
    bind: Bind, peer: Peer, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """No file descriptor is left to ask the kernel with, or a forged source has no route: his datagram is dropped.

    Fails without the ``except NetworkError`` in ``UdpSocket._flow_from``: the whole batch went with it.
    """
    udp, notebook = bind()
    forged = Peer("127.0.0.2")
    udp.flow_to("127.0.0.1", peer.port)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("sipcli.ua.net.udp.socket.socket", refuse)
    peer.send(options(1), udp.port)
    forged.send(options(2), udp.port)  # after it, so that they are one batch when this one fails
    await until(lambda: notebook.messages)
    assert notebook.messages == [options(1)]
    monkeypatch.undo()
    forged.send(options(3), udp.port)
    await until(lambda: options(3) in notebook.messages)
    forged.close()


# --- through Transports -----------------------------------------------------------------------


def transports(notebook: Notebook, **config: object) -> Transports:
    return Transports(asyncio.get_running_loop(), notebook, EndpointConfig(**config))  # type: ignore[arg-type]


async def test_a_socket_per_family_bound_when_needed(peer: Peer) -> None:
    notebook = Notebook()
    ways = transports(notebook)
    assert ways.listening == []
    four = ways.udp_flow(Candidate("udp", "127.0.0.1", peer.port))
    six_peer = Peer("::1")
    six = ways.udp_flow(Candidate("udp", "::1", six_peer.port))
    assert {(transport, host) for transport, host, _ in ways.listening} == {("udp", "0.0.0.0"), ("udp", "::")}
    assert (four.local[0], six.local[0]) == ("127.0.0.1", "::1")
    ways.send(four, options(4))
    ways.send(six, options(6))
    await until(lambda: peer.poll() and six_peer.poll())
    assert (peer.got, six_peer.got) == ([options(4)], [options(6)])
    six_peer.close()
    await ways.close()


async def test_B13_what_listens_is_what_sends(peer: Peer) -> None:
    notebook = Notebook()
    ways = transports(notebook)
    host, port = await ways.listen("udp", "127.0.0.1", 0)
    assert ways.listening == [("udp", host, port)]
    flow = ways.udp_flow(Candidate("udp", "127.0.0.1", peer.port))
    assert flow.local == ("127.0.0.1", port)
    with pytest.raises(NetworkError, match=r"cannot bind UDP 127\.0\.0\.1"):
        await ways.listen("udp", "127.0.0.1", port)
    await ways.close()


async def test_a_bound_address_chooses_the_family() -> None:
    ways = transports(Notebook(), bind_host="127.0.0.1")
    assert ways.allows(Candidate("udp", "192.0.2.1", 5060))
    assert not ways.allows(Candidate("udp", "2001:db8::1", 5060))
    await ways.close()


async def test_a_response_goes_where_via_says(peer: Peer) -> None:
    """The core gives us a flow with another remote port: RFC 3261 section 18.2.2."""
    notebook, other = Notebook(), Peer()
    ways = transports(notebook)
    _, port = await ways.listen("udp", "127.0.0.1", 0)
    peer.send(options(), port)
    await until(lambda: notebook.flows)
    ways.send(notebook.flows[0]._replace(remote=("127.0.0.1", other.port)), b"SIP/2.0 200 OK")
    await until(other.poll)
    assert other.got == [b"SIP/2.0 200 OK"]
    other.close()
    await ways.close()


@stepped
async def test_keep_alives_when_nothing_else_goes_out() -> None:
    notebook, peer = Notebook(), Peer()
    ways = transports(notebook, keepalive_udp=25.0)
    flow = ways.udp_flow(Candidate("udp", "127.0.0.1", peer.port))
    ways.send(flow, options())
    await advance(20)
    ways.send(flow, options())
    await advance(20)
    assert peer.poll() == [options(), options()]
    await advance(13)
    assert peer.poll()[2:] == [b"\r\n\r\n"]
    await advance(100)
    assert 3 <= len(peer.poll()[3:]) <= 4
    ways.release(flow)
    so_far = len(peer.poll())
    await advance(100)
    assert len(peer.poll()) == so_far
    peer.close()
    await ways.close()
    await settle()


@stepped
async def test_no_keep_alives_when_nobody_wants_them() -> None:
    peer = Peer()
    ways = transports(Notebook(), keepalive_udp=0, keepalive_stream=0)
    ways.send(ways.udp_flow(Candidate("udp", "127.0.0.1", peer.port)), options())
    await advance(1000)
    assert peer.poll() == [options()]
    peer.close()
    await ways.close()
