"""Two streams and the network between them, on a stepped clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sipcli.media.latch import Address
from sipcli.media.offer import Negotiator
from sipcli.media.rtp import RtpPacket, is_rtcp, parse_rtp
from sipcli.media.stream import AudioStream, Datagram
from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from tests.support.networks import Network, steady

A, B, STRANGER = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("203.0.113.66", 6666)


def seeded(seed: object) -> Callable[[int], bytes]:
    return random.Random(str(seed)).randbytes


@dataclass
class Party:
    """One end: its stream, its negotiation, what it heard; *seen_from* is its address behind the NAT."""

    address: Address
    hz: int | None
    seen_from: Address | None = None
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    heard: list[bytes] = field(default_factory=list)
    digits: list[str] = field(default_factory=list)
    sent: list[Datagram] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = AudioStream(random=seeded((self.address, self.hz)), now=0.0, ntp_offset=3.9e9)
        self.negotiator = Negotiator(rtp=self.address, session_id=1, codecs=self.codecs)
        self.oscillator = Oscillator(self.hz) if self.hz else None

    def configure(self) -> None:
        assert self.negotiator.agreement is not None
        self.stream.configure(self.negotiator.agreement)

    def beat(self, now: float) -> list[Datagram]:
        self.heard.append(self.stream.play(now))
        self.digits += [event.digit for event in self.stream.receiver.digits]
        self.stream.receiver.digits.clear()
        datagrams = self.stream.beat(self.oscillator.read() if self.oscillator else None, now)
        self.sent += datagrams
        return datagrams

    @property
    def rtp(self) -> list[RtpPacket]:
        return [parse_rtp(datagram.data) for datagram in self.sent if not is_rtcp(datagram.data)]

    def tone(self) -> float | None:
        return dominant_hz(samples_of(b"".join(self.heard[-40:])))


class Call:
    """Two parties and a network each way; *seconds* pass in steps of 20 ms."""

    def __init__(
        self,
        a: Party,
        b: Party,
        to_b: Callable[[int], float | None] | None = None,
        to_a: Callable[[int], float | None] | None = None,
    ) -> None:
        self.a, self.b = a, b
        self.networks: tuple[Network[Datagram], Network[Datagram]] = (
            Network(to_b or steady(0.02)),
            Network(to_a or steady(0.02)),
        )
        self.now = 0.0
        self.negotiate(a, b)

    def negotiate(self, a: Party, b: Party) -> None:
        a.negotiator.accept_answer(b.negotiator.answer(a.negotiator.offer()))
        a.configure()
        b.configure()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            for sender, receiver, network in ((self.a, self.b, self.networks[0]), (self.b, self.a, self.networks[1])):
                for datagram in sender.beat(self.now):
                    network.send(datagram, self.now)
                for when, datagram in network.arrivals(self.now):
                    self.deliver(receiver, datagram, sender.seen_from or sender.address, when)
            self.now += 0.02

    def deliver(self, receiver: Party, datagram: Datagram, source: Address, when: float) -> None:
        host, port = source
        if datagram.rtcp:
            receiver.stream.receive_rtcp(datagram.data, (host, port + 1), when)
        else:
            receiver.stream.receive_rtp(datagram.data, source, when)
