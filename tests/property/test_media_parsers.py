"""Every parser of the media core: what is written comes back, and nothing but ParseError comes out of noise."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipcli.errors import MediaFailed, ParseError
from sipcli.media import g711
from sipcli.media.dtmf import EventPayload
from sipcli.media.offer import Negotiator
from sipcli.media.resample import Resampler
from sipcli.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from sipcli.media.rtcpxr import Delay, ExtendedReport, VoipMetrics
from sipcli.media.rtp import RtpPacket, is_rtcp, parse_rtp
from sipcli.media.sdp import (
    Attribute,
    Connection,
    MediaDescription,
    Origin,
    SessionDescription,
    parse_sdp,
)
from sipcli.media.stream import AudioStream
from sipcli.media.tone import SILENCE, pcm_of, samples_of
from sipcli.media.wav import parse_wav_header, to_mono, wav_header

# Time is no property of a parser on a machine that does other things as well.
unhurried = settings(deadline=None)

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))

# -- RTP ----------------------------------------------------------------------

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=u16,
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    csrcs=st.lists(u32, max_size=15).map(tuple),
    extension=st.none() | st.tuples(u16, st.integers(0, 8).map(lambda words: bytes(4 * words))),
)


@unhurried
@given(packets, st.integers(0, 8))
def test_rtp_comes_back_with_any_padding(packet: RtpPacket, padding: int) -> None:
    data = bytearray(packet.to_bytes())
    if padding:
        data[0] |= 0x20
        data += bytes(padding - 1) + bytes([padding])
    assert parse_rtp(bytes(data)) == packet


@unhurried
@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda tail: b"\x80" + tail))
def test_rtp_of_noise(data: bytes) -> None:
    try:
        packet = parse_rtp(data)
    except ParseError:
        return
    assert parse_rtp(packet.to_bytes()) == packet


# -- RTCP ---------------------------------------------------------------------

blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=u32,
        fraction_lost=u8,
        lost=st.integers(-(2**23), 2**23 - 1),
        highest_sequence=u32,
        jitter=u32,
        last_sr=u32,
        delay=u32,
    ),
    max_size=31,
).map(tuple)
metrics = st.builds(VoipMetrics, u32, *[u8] * 4, *[u16] * 4, *[u8] * 10, *[u16] * 3)
names = st.text(max_size=60).filter(lambda text: "\0" not in text)
reports: st.SearchStrategy[RtcpPacket] = st.one_of(
    st.builds(
        SenderReport,
        ssrc=u32,
        ntp=st.integers(0, 2**64 - 1),
        rtp_timestamp=u32,
        packets=u32,
        octets=u32,
        blocks=blocks,
    ),
    st.builds(ReceiverReport, ssrc=u32, blocks=blocks),
    st.builds(SourceDescription, cnames=st.lists(st.tuples(u32, names), max_size=5).map(tuple)),
    st.builds(Bye, ssrcs=st.lists(u32, max_size=5).map(tuple), reason=names),
    st.builds(
        ExtendedReport,
        ssrc=u32,
        reference=st.none() | st.integers(0, 2**64 - 1),
        delays=st.lists(st.builds(Delay, u32, u32, u32), max_size=4).map(tuple),
        metrics=st.lists(metrics, max_size=2).map(tuple),
    ),
)


@unhurried
@given(st.lists(reports, min_size=1, max_size=5))
def test_rtcp_comes_back(compound: list[RtcpPacket]) -> None:
    data = build_compound(*compound)
    assert len(data) % 4 == 0
    assert parse_compound(data) == tuple(compound)


@unhurried
@given(st.binary(max_size=120) | st.lists(reports, min_size=1, max_size=2).map(lambda r: build_compound(*r)), st.data())
def test_rtcp_of_noise_and_of_damage(data: bytes, drawn: st.DataObject) -> None:
    if data:
        at = drawn.draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([drawn.draw(u8)]) + data[at + 1 :]
    try:
        parse_compound(data)
    except ParseError:
        pass


@unhurried
@given(
    st.lists(
        st.binary(max_size=120)
        | st.binary(max_size=60).map(lambda tail: b"\x80\xc8" + tail)
        | st.binary(max_size=60).map(lambda tail: b"\x80\xcf" + tail)
        | st.lists(reports, min_size=1, max_size=3).map(lambda r: build_compound(*r)[:200]),
        max_size=8,
    ),
    st.booleans(),
)
def test_E01_no_rtcp_whatever_harms_a_stream(datagrams: list[bytes], own_port: bool) -> None:
    """Truncated, hostile, or of somebody else: nothing raises, and what is sent afterwards is what would have been."""
    a, b = (Negotiator(rtp=(host, 4000), session_id=1, codecs=("PCMU",)) for host in ("192.0.2.1", "192.0.2.2"))
    a.accept_answer(b.answer(a.offer()))
    assert a.agreement is not None
    stream = AudioStream(random=random.Random(1).randbytes, now=0.0, ntp_offset=3.9e9)
    stream.configure(a.agreement)
    for n, data in enumerate(datagrams):
        (stream.receive_rtcp if own_port else stream.receive_rtp)(data, ("192.0.2.2", 4000), n / 50)
        stream.play(n / 50)
        for datagram in stream.beat(SILENCE, n / 50):
            parse_rtp(datagram.data) if not is_rtcp(datagram.data) else parse_compound(datagram.data)
    report = stream.report()
    assert report.mos is None
    assert report.tx.packets == len(datagrams)
    assert not stream.ended_by_peer, "nobody was heard whose good-bye would count"


# -- SDP ----------------------------------------------------------------------

tokens = st.from_regex(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]{1,12}", fullmatch=True)
texts = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=30)
connections = st.builds(
    Connection,
    address=st.ip_addresses().map(str) | tokens,
    address_type=st.sampled_from(["IP4", "IP6"]),
)
attributes = st.lists(st.builds(Attribute, tokens, st.none() | texts), max_size=5).map(tuple)
descriptions = st.builds(
    SessionDescription,
    origin=st.builds(Origin, st.integers(0, 2**63), st.integers(0, 2**63), connections, tokens),
    name=texts,
    connection=st.none() | connections,
    attributes=attributes,
    media=st.lists(
        st.builds(
            MediaDescription,
            kind=tokens,
            port=u16,
            protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "udp"]),
            formats=st.lists(tokens, min_size=1, max_size=5).map(tuple),
            port_count=st.integers(1, 4),
            connection=st.none() | connections,
            others=st.lists(st.tuples(st.sampled_from("bk"), texts), max_size=2).map(tuple),
            attributes=attributes,
        ),
        max_size=4,
    ).map(tuple),
)


@unhurried
@given(descriptions)
def test_sdp_comes_back(description: SessionDescription) -> None:
    assert parse_sdp(description.to_bytes()) == description


sdp_lines = st.one_of(
    st.sampled_from(
        ["v=0", "s=-", "t=0 0", "o=- 1 1 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0", "c=IN IP6 ::1",
         "m=audio 6000 RTP/AVP 0 8 101", "m=audio 0 RTP/AVP 0", "m=video 6000 RTP/AVP 31", "m=audio 1 RTP/SAVP 0",
         "a=rtpmap:101 telephone-event/8000", "a=rtpmap:0 G729/8000", "a=rtpmap:x", "a=inactive", "a=rtcp:0",
         "a=rtcp:99999999 IN IP4 x", "a=rtcp-mux", "a=ptime:999"]
    ),
    st.text(max_size=20),
)  # fmt: skip


@unhurried
@given(st.lists(sdp_lines, max_size=20).map(lambda lines: "\r\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", *lines])))
@example("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.9\r\nm=audio 65535 RTP/AVP 0")
def test_an_answer_to_anything_is_an_answer_or_488(text: str) -> None:
    """RFC 3264 section 6: as many media lines, in the same order, none accepted that was refused by its offerer."""
    negotiator = Negotiator(rtp=("192.0.2.1", 4000), session_id=1)
    try:
        answer = parse_sdp(negotiator.answer(text.encode("utf-8", "surrogateescape")))
    except MediaFailed as error:
        assert error.code == 488
        assert negotiator.agreement is None
        return
    offer = parse_sdp(text.encode("utf-8", "surrogateescape"))
    assert [(line.kind, line.protocol) for line in answer.media] == [(line.kind, line.protocol) for line in offer.media]
    assert sum(not line.rejected for line in answer.media) == 1
    for asked, given_back in zip(offer.media, answer.media, strict=True):
        assert given_back.rejected or not asked.rejected
        assert set(given_back.formats) <= set(asked.formats)


@unhurried
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"v=0\no=- 1 1 IN IP4 h\n" + tail))
def test_sdp_of_noise(data: bytes) -> None:
    try:
        description = parse_sdp(data)
    except ParseError:
        return
    assert parse_sdp(description.to_bytes()).media == description.media


# -- the rest -------------------------------------------------------------------


@unhurried
@given(st.integers(0, 255), st.booleans(), st.integers(0, 63), u16)
def test_events_come_back(event: int, end: bool, volume: int, duration: int) -> None:
    payload = EventPayload(event, end, volume, duration)
    assert EventPayload.parse(payload.to_bytes()) == payload


@unhurried
@given(st.binary(max_size=3))
def test_an_event_cut_short(data: bytes) -> None:
    try:
        EventPayload.parse(data)
    except ParseError:
        return
    raise AssertionError("accepted")


@unhurried
@given(st.binary(max_size=400))
def test_g711_of_anything(payload: bytes) -> None:
    for law in ("PCMU", "PCMA"):
        pcm = g711.decode(payload, law)
        assert len(pcm) == 2 * len(payload)
        # Coded once, a signal stays as it is.
        assert g711.decode(g711.encode(pcm, law), law) == pcm


@unhurried
@given(st.binary(max_size=400))
def test_samples_and_octets(data: bytes) -> None:
    assert pcm_of(samples_of(data)) == data[: len(data) & ~1]


@unhurried
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"RIFF\0\0\0\0WAVE" + tail), st.data())
def test_wav_of_noise_and_of_damage(data: bytes, drawn: st.DataObject) -> None:
    if drawn.draw(st.booleans()):
        header = bytearray(wav_header(len(data)))
        for _ in range(drawn.draw(st.integers(1, 4))):
            header[drawn.draw(st.integers(12, 43))] = drawn.draw(u8)
        data = bytes(header) + data
    try:
        found = parse_wav_header(data)
    except ParseError:
        return
    assert 20 <= found.data_offset <= len(data)
    to_mono(data[found.data_offset :], found.format)


@unhurried
@given(
    st.integers(1000, 96000),
    st.integers(1000, 96000),
    st.lists(st.integers(-32768, 32767), max_size=400),
    st.lists(st.integers(1, 100), min_size=1, max_size=10),
)
def test_resampling_depends_on_the_samples_only(
    rate_in: int, rate_out: int, values: list[int], cuts: list[int]
) -> None:
    samples = samples_of(b"".join((value & 0xFFFF).to_bytes(2, "little") for value in values))
    whole = Resampler(rate_in, rate_out)
    expected = whole.push(samples) + whole.flush()
    pieces = Resampler(rate_in, rate_out)
    out = samples_of(b"")
    n = turn = 0
    while n < len(samples):
        size = cuts[turn % len(cuts)]
        out += pieces.push(samples[n : n + size])
        n, turn = n + size, turn + 1
    assert out + pieces.flush() == expected
