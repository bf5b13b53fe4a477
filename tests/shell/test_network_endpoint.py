"""The endpoint: one instant a turn, nothing forgotten, flows found or refused in a sentence (docs/architecture.md)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, cast

import pytest

from sipcli.errors import AgentClosed
from sipcli.sip.engine import Engine, EngineConfig
from sipcli.sip.events import Event, FlowReleased, FlowWanted, ProtocolWarning, RequestDone
from sipcli.sip.flow import Flow, Hop, Ticket
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.net.endpoint import Endpoint, EndpointConfig, TlsSettings
from sipcli.ua.net.resolve import Candidate, Naptr, Srv
from sipcli.ua.net.wirelog import WireRecord
from tests.support.certs import certificates
from tests.support.clock import SteppedLoop, advance, settle, stepped, until
from tests.support.real import require
from tests.support.wires import Peer, StreamServer, options, tls_server


class Script:
    """Stands where the engine stands; writes down what it is told, gives out what a test puts in."""

    def __init__(self) -> None:
        self.now = 0.0
        self.outbox: list[tuple[Flow, bytes]] = []
        self.events: deque[Event] = deque()
        self.timer: float | None = None
        self.heard: list[tuple[Any, ...]] = []
        self.on_ready: Callable[[Flow], None] = lambda flow: None

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        self.heard.append(("receive", data, flow))

    def handle_timer(self, now: float) -> None:
        self.heard.append(("timer", now))
        if self.timer is not None and self.timer <= now:
            self.timer = None

    def flow_ready(self, ticket: Ticket, flow: Flow, now: float) -> None:
        self.heard.append(("ready", ticket, flow))
        self.on_ready(flow)

    def flow_failed(self, ticket: Ticket, why: str, now: float) -> None:
        self.heard.append(("failed", ticket, why))

    def flow_lost(self, flow: Flow, why: str, now: float) -> None:
        self.heard.append(("lost", flow, why))

    def next_timer(self) -> float | None:
        return self.timer

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def packets_to_send(self) -> Iterator[tuple[Flow, bytes]]:
        packets, self.outbox = self.outbox, []
        yield from packets


class Hosts:
    """Records without DNS."""

    def __init__(self, **hosts: list[str]) -> None:
        self._hosts = hosts

    def naptr(self, name: str) -> Sequence[Naptr]:
        return []

    def srv(self, name: str) -> Sequence[Srv]:
        return []

    def addresses(self, host: str) -> Sequence[str]:
        return self._hosts.get(host, [])


def tell(text: str) -> ProtocolWarning:
    return ProtocolWarning("test", text)


def make(script: Script, on_event: Callable[[Event], None] = lambda event: None, **more: Any) -> Endpoint:
    return Endpoint(cast("Engine", script), on_event=on_event, **more)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def endpoint(script: Script) -> AsyncIterator[Endpoint]:
    made = make(script, records=Hosts(pbx=["127.0.0.2", "127.0.0.1"], six=["::1"], both=["2001:db8::1", "127.0.0.1"]))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def wanted(host: str, port: int | None = None, transport: Any = None, **more: Any) -> FlowWanted:
    return FlowWanted(Ticket(1), Hop(host, port, transport), **more)


# --- turns and the pump -----------------------------------------------------------------------


@stepped
async def test_a_turn_has_one_instant_and_the_timer_follows() -> None:
    script = Script()
    endpoint = make(script)
    await endpoint.start()
    loop = cast("SteppedLoop", endpoint.loop)
    with endpoint.turn() as engine:
        assert engine.now == loop.time()
        script.timer = loop.time() + 5
    await advance(4.9)
    assert script.heard == []
    with endpoint.turn():
        script.timer = loop.time() + 3  # later than before: the old one must not ring
    await advance(2.9)
    assert script.heard == []
    await advance(0.2)
    assert [name for name, *_ in script.heard] == ["timer"]
    assert script.heard[0][1] == pytest.approx(loop.time() - 0.1)
    with endpoint.turn():
        script.timer = loop.time() + 1
    with endpoint.turn():
        script.timer = None
    await advance(10)
    assert len(script.heard) == 1
    await endpoint.close()


@stepped
async def test_what_is_due_already_rings_at_once() -> None:
    script = Script()
    endpoint = make(script)
    await endpoint.start()
    with endpoint.turn():
        script.timer = endpoint.loop.time() - 1
    await settle()
    assert [name for name, *_ in script.heard] == ["timer"]
    await endpoint.close()


async def test_events_of_handlers_are_told_by_the_same_pump_in_order(script: Script) -> None:
    seen: list[str] = []
    depth = 0

    def on_event(event: Event) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "a handler was called inside a handler"
        assert isinstance(event, ProtocolWarning)
        seen.append(event.message)
        if event.message == "one":
            with phone.turn():
                script.events.append(tell("three"))
            seen.append("turn over")
        depth -= 1

    phone = make(script, on_event)
    await phone.start()
    with phone.turn():
        script.events += [tell("one"), tell("two")]
    assert seen == ["one", "turn over", "two", "three"]
    await phone.close()


async def test_a_handler_that_fails_is_reported_and_the_rest_goes_on(script: Script) -> None:
    seen: list[str] = []
    reported: list[dict[str, Any]] = []

    def on_event(event: Event) -> None:
        assert isinstance(event, ProtocolWarning)
        seen.append(event.message)
        if event.message == "bad":
            raise ValueError("oops")

    endpoint = make(script, on_event)
    await endpoint.start()
    endpoint.loop.set_exception_handler(lambda _, context: reported.append(context))
    with endpoint.turn():
        script.events += [tell("bad"), tell("good")]
    assert seen == ["bad", "good"]
    assert "ProtocolWarning" in reported[0]["message"]
    assert isinstance(reported[0]["exception"], ValueError)
    await endpoint.close()


async def test_an_error_inside_a_turn_still_flushes_it(script: Script, endpoint: Endpoint, peer: Peer) -> None:
    script.events.append(wanted("127.0.0.1", peer.port))
    with endpoint.turn():
        pass
    flow = script.heard[0][2]
    with pytest.raises(ValueError, match="oops"), endpoint.turn():
        script.outbox.append((flow, options()))
        raise ValueError("oops")
    await until(peer.poll)


async def test_packets_go_before_events_and_those_of_events_too(script: Script, peer: Peer) -> None:
    endpoint = make(script, lambda event: script.outbox.append((script.heard[0][2], options(2))))
    await endpoint.start()
    script.events.append(wanted("127.0.0.1", peer.port))
    with endpoint.turn():
        pass
    with endpoint.turn():
        script.outbox.append((script.heard[0][2], options(1)))
        script.events.append(tell("answer"))
    await until(lambda: len(peer.poll()) == 2)
    assert peer.got == [options(1), options(2)]
    await endpoint.close()


async def test_a_batch_is_one_turn(script: Script, endpoint: Endpoint, peer: Peer) -> None:
    _, port = await endpoint.listen("udp", "127.0.0.1", 0)
    instants: list[float] = []
    script.receive = lambda data, flow, now: instants.append(now)  # type: ignore[method-assign]
    for n in range(5):
        peer.send(options(n), port)
    await until(lambda: len(instants) == 5)
    assert len(set(instants)) == 1
    assert endpoint.listening == [("udp", "127.0.0.1", port)]


# --- from other threads, and the end --------------------------------------------------------------


async def test_post_from_a_thread_runs_in_a_turn(script: Script, endpoint: Endpoint) -> None:
    ran: list[tuple[str, float]] = []

    def act() -> None:
        ran.append((threading.current_thread().name, script.now))
        script.events.append(tell("from a thread"))

    script.now = -1.0
    thread = threading.Thread(target=endpoint.post, args=(act,))
    thread.start()
    thread.join()
    await until(lambda: ran)
    assert ran[0][0] == threading.current_thread().name
    assert ran[0][1] > 0
    assert not script.events


async def test_nothing_goes_on_after_the_end(script: Script, peer: Peer) -> None:
    endpoint = make(script)
    with pytest.raises(AgentClosed), endpoint.turn():
        pass
    with pytest.raises(AgentClosed):
        endpoint.post(lambda: None)
    assert endpoint.listening == []
    await endpoint.start()
    await endpoint.start()
    _, port = await endpoint.listen("udp", "127.0.0.1", 0)
    with endpoint.turn():
        script.timer = endpoint.loop.time() + 0.01
    ran: list[bool] = []
    endpoint.post(lambda: ran.append(True))
    await endpoint.close()
    await endpoint.close()
    peer.send(options(), port)
    await settle()
    assert (ran, script.heard) == ([], [])
    with pytest.raises(AgentClosed):
        endpoint.post(lambda: None)
    with pytest.raises(AgentClosed), endpoint.turn():
        pass
    with pytest.raises(AgentClosed):
        await endpoint.start()


def test_post_to_a_closed_loop_is_a_typed_error() -> None:
    endpoint = make(Script())
    asyncio.run(endpoint.start())
    with pytest.raises(AgentClosed):
        endpoint.post(lambda: None)


async def test_what_is_ready_leaves_before_the_end(script: Script, peer: Peer) -> None:
    endpoint = make(script)
    await endpoint.start()
    script.events.append(wanted("127.0.0.1", peer.port))
    with endpoint.turn():
        pass
    script.outbox.append((script.heard[0][2], options()))
    await endpoint.close()
    assert peer.poll() == [options()]


# --- flows ---------------------------------------------------------------------------------------


def ask(endpoint: Endpoint, script: Script, want: FlowWanted) -> None:
    script.heard.clear()
    script.events.append(want)
    with endpoint.turn():
        pass


async def test_udp_to_a_literal_address_is_ready_in_the_same_turn(
    script: Script, endpoint: Endpoint, peer: Peer
) -> None:
    script.on_ready = lambda flow: script.outbox.append((flow, options()))
    ask(endpoint, script, wanted("127.0.0.1", peer.port))
    name, ticket, flow = script.heard[0]
    assert (name, ticket, flow.remote) == ("ready", Ticket(1), ("127.0.0.1", peer.port))
    await until(peer.poll)


async def test_a_name_is_looked_up_and_the_next_address_tried(script: Script, endpoint: Endpoint) -> None:
    server = await StreamServer.start()
    ask(endpoint, script, wanted("pbx", server.port, "tcp"))
    await until(lambda: script.heard)
    assert script.heard[0][2].remote == ("127.0.0.1", server.port)
    ask(endpoint, script, wanted("pbx", server.port, "tcp", excluding=frozenset({("127.0.0.1", server.port)})))
    await until(lambda: script.heard)
    assert script.heard[0][0] == "failed"
    assert script.heard[0][2] == f"connect: no connection to 127.0.0.2 port {server.port}: connection refused"
    server.close()


async def test_C07_a_name_whose_ipv6_address_is_silent_is_reached_by_its_ipv4_one(
    script: Script, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305.  Fails, by never coming to an end, where ``Endpoint`` tries one address after the other."""
    server = await StreamServer.start()
    reached, tried = endpoint.transports.open, list[str]()

    async def silent_over_ipv6(candidate: Candidate, domain: str, account: str | None) -> Flow:
        tried.append(candidate.host)
        if ":" in candidate.host:
            await asyncio.get_running_loop().create_future()
        return await reached(candidate, domain, account)

    monkeypatch.setattr(endpoint.transports, "open", silent_over_ipv6)
    ask(endpoint, script, wanted("both", server.port, "tcp"))
    await until(lambda: script.heard)
    assert tried == ["2001:db8::1", "127.0.0.1"]
    assert (script.heard[0][0], script.heard[0][2].remote) == ("ready", ("127.0.0.1", server.port))
    server.close()


async def test_udp_by_name_skips_what_failed(script: Script, endpoint: Endpoint, peer: Peer) -> None:
    ask(endpoint, script, wanted("pbx", peer.port))
    await until(lambda: script.heard)
    assert script.heard[0][2].remote[0] == "127.0.0.2"
    ask(endpoint, script, wanted("pbx", peer.port, excluding=frozenset({("127.0.0.2", peer.port)})))
    await until(lambda: script.heard)
    assert script.heard[0][2].remote[0] == "127.0.0.1"
    both = frozenset({("127.0.0.2", peer.port), ("127.0.0.1", peer.port)})
    ask(endpoint, script, wanted("pbx", peer.port, excluding=both))
    await until(lambda: script.heard)
    assert script.heard[0][2] == f"connect: no other address of pbx:{peer.port} is left"


async def test_a_literal_that_failed_is_not_given_again(script: Script, endpoint: Endpoint) -> None:
    ask(endpoint, script, wanted("127.0.0.1", 5, excluding=frozenset({("127.0.0.1", 5)})))
    await until(lambda: script.heard)
    assert script.heard[0][0] == "failed"


async def test_nobody_knows_the_host(script: Script, endpoint: Endpoint) -> None:
    ask(endpoint, script, wanted("nowhere"))
    await until(lambda: script.heard)
    assert script.heard[0] == ("failed", Ticket(1), "dns: nobody knows a host nowhere")


async def test_an_address_of_the_wrong_family(script: Script, peer: Peer) -> None:
    endpoint = make(script, config=EndpointConfig(bind_host="127.0.0.1"), records=Hosts(six=["::1"]))
    await endpoint.start()
    ask(endpoint, script, wanted("six", peer.port))
    await until(lambda: script.heard)
    assert script.heard[0][2] == f"connect: no address of six:{peer.port} fits"
    await endpoint.close()


async def test_a_port_that_is_taken_is_a_sentence(script: Script, peer: Peer) -> None:
    endpoint = make(script, config=EndpointConfig(bind_host="127.0.0.1", bind_port=peer.port))
    await endpoint.start()
    ask(endpoint, script, wanted("127.0.0.1", peer.port))
    await until(lambda: script.heard)
    assert script.heard[0][2] == f"connect: cannot bind UDP 127.0.0.1 port {peer.port}: Address already in use"
    await endpoint.close()


async def test_tls_is_verified_for_the_accounts_domain(script: Script) -> None:
    require("openssl")
    server = await StreamServer.start(tls_server("strict"))
    asked: list[str | None] = []

    def tls_for(account: str | None) -> TlsSettings:
        asked.append(account)
        return TlsSettings(ca_file=certificates().ca_file)

    hosts = {"sip.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    endpoint = make(script, tls_for=tls_for, records=Hosts(**hosts))
    await endpoint.start()
    ask(endpoint, script, wanted("sip.test", server.port, "tls", account="work"))
    await until(lambda: script.heard)
    flow = script.heard[0][2]
    assert flow.verified_identity == "sip.test"
    assert asked == ["work"]
    facts = endpoint.tls_facts(flow)
    assert facts is not None
    assert facts.identities == ("sip.test",)
    ask(endpoint, script, wanted("other.test", server.port, "tls", account="work"))
    await until(lambda: script.heard)
    assert script.heard[0][2] == "tls: the certificate there is for sip.test, not for other.test"
    server.close()
    await endpoint.close()


async def test_a_fault_in_the_settings_is_told_to_who_waits(script: Script) -> None:
    endpoint = make(script, tls_for=lambda account: {}[account])
    await endpoint.start()
    ask(endpoint, script, wanted("127.0.0.1", 5061, "tls", account="nobody"))
    await until(lambda: script.heard)
    assert script.heard[0] == ("failed", Ticket(1), "connect: KeyError: 'nobody'")
    await endpoint.close()


async def test_a_released_connection_closes_and_a_lost_one_is_told(script: Script, endpoint: Endpoint) -> None:
    server = await StreamServer.start()
    ask(endpoint, script, wanted("127.0.0.1", server.port, "tcp"))
    await until(lambda: script.heard and server.transports)
    flow = script.heard[0][2]
    server.transports[0].close()
    await until(lambda: len(script.heard) == 2)
    assert script.heard[1] == ("lost", flow, "lost: the other side closed it")
    ask(endpoint, script, wanted("127.0.0.1", server.port, "tcp"))
    await until(lambda: script.heard)
    again = script.heard[0][2]
    assert again.id != flow.id
    script.events.append(FlowReleased(again))
    with endpoint.turn():
        pass
    await until(lambda: server.lost == 2)
    server.close()


async def test_closing_while_a_flow_is_sought(script: Script) -> None:
    gate = threading.Event()

    class Slow(Hosts):
        def addresses(self, host: str) -> Sequence[str]:
            gate.wait(10)
            return ["127.0.0.1"]

    endpoint = make(script, records=Slow())
    await endpoint.start()
    ask(endpoint, script, wanted("slow"))
    await settle()
    await endpoint.close()
    gate.set()
    await settle()
    assert script.heard == []


# --- the wire, and a real engine ---------------------------------------------------------------------


async def test_two_engines_talk_and_the_wire_sees_it() -> None:
    done: list[Event] = []
    wire: list[WireRecord] = []
    answering = Endpoint(Engine(EngineConfig(accept_calls="any")), on_event=lambda event: None)
    asking = Endpoint(Engine(), on_event=done.append, wire=wire.append)
    await answering.start()
    await asking.start()
    for transport in ("udp", "tcp"):
        host, port = await answering.listen(transport, "127.0.0.1", 0)
        with asking.turn() as engine:
            engine.options(None, SipUri.parse(f"sip:{host}:{port};transport={transport}"))
        await until(lambda: done)
        (event,) = done
        assert isinstance(event, RequestDone)
        assert event.response is not None
        assert event.response.status == 200
        assert event.rtt_s is not None
        assert [record.direction for record in wire] == ["out", "in"]
        assert wire[0].data.startswith(b"OPTIONS ")
        assert wire[0].flow.transport == transport
        done.clear()
        wire.clear()
    await asking.close()
    await answering.close()


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_an_unreachable_server_is_known_at_once(kind: str) -> None:
    """Not after Timer F: ICMP says so, and so does the refused connection."""
    factory = None if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    gone = Peer()
    gone.close()

    async def run() -> None:
        done: list[Event] = []
        endpoint = Endpoint(Engine(), on_event=done.append)
        await endpoint.start()
        for transport in ("udp", "tcp"):
            with endpoint.turn() as engine:
                engine.options(None, SipUri.parse(f"sip:127.0.0.1:{gone.port};transport={transport}"))
            await until(lambda: [event for event in done if isinstance(event, RequestDone)])
            event = next(event for event in done if isinstance(event, RequestDone))
            assert str(event.why).startswith("connect: ")
            assert "refused" in str(event.why)
            done.clear()
        await endpoint.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
