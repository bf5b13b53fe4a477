"""What a stranger may write where ICE reads: SDP attributes and STUN; nothing of it is an error of ours."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipcli.media.candidates import Candidate, IceMismatch, PeerIce, find_ice, parse_candidate
from sipcli.media.sdp import parse_sdp
from tests.support.real import require

unhurried = settings(deadline=None)

CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
addresses = st.ip_addresses().map(str).filter(lambda text: "%" not in text)
ports = st.integers(1, 65535)
candidates = st.builds(
    Candidate,
    st.text(CHARS, min_size=1, max_size=32),
    st.integers(1, 256),
    st.integers(1, 2**31 - 1),
    addresses,
    ports,
    st.sampled_from(["host", "srflx", "prflx", "relay"]),
    st.none() | st.tuples(addresses, ports),
)
words = st.sampled_from(
    ["1", "2", "UDP", "udp", "TCP", "typ", "host", "relay", "192.0.2.1", "::1", "x.local", "raddr", "-1", "9" * 30]
)


@unhurried
@given(candidates)
def test_E04_a_candidate_comes_back(candidate: Candidate) -> None:
    assert parse_candidate(candidate.attribute().value or "") == candidate


@unhurried
@given(st.text() | st.lists(words, max_size=14).map(" ".join))
def test_E04_any_text_is_a_candidate_or_none(text: str) -> None:
    found = parse_candidate(text)
    assert found is None or parse_candidate(found.attribute().value or "") == found


lines = st.lists(
    st.sampled_from([
        "a=ice-lite", "a=ice-mismatch", "a=rtcp-mux", "a=ice-ufrag:abcd", "a=ice-ufrag", "a=ice-options:", "a=rtcp:",
        "a=rtcp:9", "a=rtcp:4000 IN IP4", "a=candidate", "a=candidate:", f"a=ice-pwd:{'p' * 22}", "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::",
    ])
    | st.lists(words, max_size=10).map(lambda some: "a=candidate:" + " ".join(some)),
    max_size=12,
)  # fmt: skip


@unhurried
@given(lines, st.booleans())
def test_E04_any_section_is_judged(section: list[str], mux: bool) -> None:
    text = "\r\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", "m=audio 4000 RTP/AVP 0", *section, ""])
    description = parse_sdp(text.encode())
    found = find_ice(description, description.media[0], mux=mux)
    assert found is None or isinstance(found, PeerIce | IceMismatch)


def _stun_like() -> st.SearchStrategy[bytes]:
    """A header that is right, and attributes that need not be."""

    def attribute(kind: int, claimed: int, value: bytes) -> bytes:
        return kind.to_bytes(2) + claimed.to_bytes(2) + value + bytes(-len(value) % 4)

    kinds = st.sampled_from(
        [1, 6, 8, 9, 0x12, 0x14, 0x15, 0x20, 0x24, 0x25, 0x8022, 0x8028, 0x8029, 0x802A]
    ) | st.integers(0, 65535)
    one = st.binary(max_size=24).flatmap(
        lambda value: st.builds(attribute, kinds, st.just(len(value)) | st.integers(0, 40), st.just(value))
    )

    def message(kind: int, body: bytes) -> bytes:
        return kind.to_bytes(2) + len(body).to_bytes(2) + bytes.fromhex("2112a442") + bytes(12) + body

    return st.builds(message, st.integers(0, 0x3FF), st.lists(one, max_size=6).map(b"".join))


@unhurried
@given(st.lists(_stun_like() | st.binary(max_size=80), max_size=8))
@example([bytes.fromhex("000100042112a442" + "00" * 12 + "00240000")])
def test_E04_no_datagram_breaks_a_wire(datagrams: list[bytes]) -> None:
    require("ice")
    from sipcli.media.candidates import LocalIce
    from sipcli.ua.media.icewire import Checks, Desk, OwnSocket, Wire

    async def feed() -> list[Any]:
        arrived: list[Any] = []
        desk = Desk()
        wire = Wire(desk, 1, lambda _, data, source: arrived.append(data))
        wire.become(Candidate("1", 1, 1, "127.0.0.1", 4000, "host"))
        wire.connection_made(OwnSocket(lambda *_: None, ("127.0.0.1", 4000)))
        desk.sessions["ufrag"] = Checks(LocalIce("ufrag", "p" * 22, ()), [wire])
        for data in datagrams:
            wire.datagram_received(data, ("127.0.0.1", 5000))
        return arrived

    # What is not STUN by its first octet came up, nothing else did, and nothing was raised.
    assert asyncio.run(feed()) == [data for data in datagrams if not data or data[0] > 3]
