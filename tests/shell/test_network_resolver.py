"""The resolver's threads, its cache, and dnspython against a name server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from sipcli.errors import ResolveError
from sipcli.sip.flow import Hop
from sipcli.ua.net.resolve import Candidate, Naptr, Resolver, Srv, SystemRecords, look_up
from tests.support.clock import SteppedLoop, advance, stepped, until

ZONE = {
    ("example.test.", "NAPTR"): ['10 50 "s" "SIP+D2T" "" _sip._tcp.example.test.', '20 50 "u" "E2U+sip" "!.*!x!" .'],
    ("_sip._tcp.example.test.", "SRV"): ["10 0 5070 localhost.", "20 0 5071 localhost."],
}


class NameServer(threading.Thread):
    """Answers from ZONE, else that there is no such name."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.silent = False

    def run(self) -> None:
        while True:
            try:
                data, client = self.socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            if self.silent:
                continue
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            question = query.question[0]
            kind = dns.rdatatype.to_text(question.rdtype)
            records = ZONE.get((question.name.to_text().lower(), kind))
            if records is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            else:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
            reply.flags |= dns.flags.RA
            self.socket.sendto(reply.to_wire(), client)

    def stop(self) -> None:
        # Closing alone does not wake a thread that waits for a datagram.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self.join(5)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    made = NameServer()
    made.start()
    yield made
    made.stop()


def test_naptr_and_srv_from_a_real_server(server: NameServer) -> None:
    records = SystemRecords(["127.0.0.1"], server.port)
    found = look_up(Hop("example.test"), records)
    assert [(c.transport, c.port) for c in found if c.host == "127.0.0.1"] == [("tcp", 5070), ("tcp", 5071)]
    assert records.srv("_sip._udp.example.test") == []
    assert records.naptr("other.test") == []


def test_a_silent_server_is_no_answer(server: NameServer) -> None:
    server.silent = True
    assert SystemRecords(["127.0.0.1"], server.port, lifetime=0.2).srv("_sip._udp.example.test") == []


def test_hosts_come_from_the_system() -> None:
    assert "127.0.0.1" in SystemRecords().addresses("localhost")
    assert SystemRecords().addresses("no-such-host.invalid") == []
    assert SystemRecords().addresses("a" * 300) == []


class Slow:
    """Records that come when *gate* opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0
        self.known = ["192.0.2.1"]

    def naptr(self, name: str) -> Sequence[Naptr]:
        return []

    def srv(self, name: str) -> Sequence[Srv]:
        return []

    def addresses(self, host: str) -> Sequence[str]:
        self.asked += 1
        self.gate.wait(10)
        if host == "broken":
            raise RuntimeError("oops")
        return self.known


@stepped
async def test_one_question_for_many_and_an_answer_that_is_kept() -> None:
    slow = Slow()
    resolver = Resolver(asyncio.get_running_loop(), slow, ttl=30)
    waiting = [asyncio.ensure_future(resolver.resolve(Hop("pbx"))) for _ in range(5)]
    await until(lambda: slow.asked)
    slow.gate.set()
    assert await asyncio.gather(*waiting) == [[Candidate("udp", "192.0.2.1", 5060)]] * 5
    await advance(29)
    await resolver.resolve(Hop("pbx"))
    assert slow.asked == 1
    await advance(2)
    await resolver.resolve(Hop("pbx"))
    assert slow.asked == 2
    resolver.close()


@stepped
async def test_a_failure_is_not_kept() -> None:
    slow = Slow()
    slow.gate.set()
    slow.known = []
    resolver = Resolver(asyncio.get_running_loop(), slow)
    with pytest.raises(ResolveError):
        await resolver.resolve(Hop("pbx"))
    slow.known = ["192.0.2.1"]
    assert await resolver.resolve(Hop("pbx"))
    with pytest.raises(ResolveError, match="oops"):
        await resolver.resolve(Hop("broken"))
    resolver.close()


@stepped
async def test_a_stuck_resolver_costs_a_time_limit_not_the_loop() -> None:
    slow = Slow()
    resolver = Resolver(asyncio.get_running_loop(), slow, limit=15)
    asked = asyncio.ensure_future(resolver.resolve(Hop("pbx")))
    await until(lambda: slow.asked)
    await advance(16)
    with pytest.raises(ResolveError, match="15 s"):
        await asked
    again = asyncio.ensure_future(resolver.resolve(Hop("pbx")))
    await until(lambda: slow.asked == 2)
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("sipcli-resolve"))
    slow.gate.set()
    assert await again
    resolver.close()


def test_an_answer_after_the_loop_is_closed_is_dropped() -> None:
    slow, before = Slow(), set(threading.enumerate())
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:

        async def ask() -> None:
            resolver = Resolver(asyncio.get_running_loop(), slow)
            asking = asyncio.ensure_future(resolver.resolve(Hop("pbx")))
            await until(lambda: slow.asked)
            asking.cancel()
            resolver.close()

        runner.run(ask())
    slow.gate.set()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("sipcli-resolve"):
            thread.join(5)
            assert not thread.is_alive()
