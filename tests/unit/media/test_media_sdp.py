"""Session descriptions: what is read, what is written, what is refused."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.media.sdp import Attribute, Connection, MediaDescription, Origin, RtpMap, SessionDescription, parse_sdp

# RFC 8866 section 5, the example description.
EXAMPLE = b"""v=0\r
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r
s=Call to John Smith\r
i=SDP Offer #1\r
u=http://www.jdoe.example.com/home.html\r
e=Jane Doe <jane@jdoe.example.com>\r
p=+1 617 555-6011\r
c=IN IP4 198.51.100.1\r
t=0 0\r
m=audio 49170 RTP/AVP 0\r
m=audio 49180 RTP/AVP 0\r
m=video 51372 RTP/AVP 99\r
c=IN IP6 2001:db8::2\r
a=rtpmap:99 h263-1998/90000\r
"""

# RFC 5118 section 4.8: more than one address family.
RFC5118_MULTIPLE = b"""v=0\r
o=bob 280744730 28977631 IN IP4 host.example.com\r
s=\r
t=0 0\r
m=audio 22334 RTP/AVP 0\r
c=IN IP4 192.0.2.1\r
m=video 6024 RTP/AVP 107\r
c=IN IP6 2001:db8::1\r
a=rtpmap:107 H263-1998/90000\r
"""

# RFC 5118 section 4.9: IPv6 throughout, and no payload type that we speak.
RFC5118_IPV6 = b"""v=0\r
o=assistant 971731711378798081 0 IN IP6 2001:db8::20\r
s=Live video feed for today's meeting\r
c=IN IP6 2001:db8::20\r
t=3338481189 3370017201\r
m=audio 6000 RTP/AVP 2\r
a=rtpmap:2 G726-32/8000\r
m=video 6024 RTP/AVP 107\r
a=rtpmap:107 H263-1998/90000\r
"""

# The body of RFC 4475's INVITEs: no address of its own anywhere but in c=, a time that is long over.
RFC4475_BODY = b"""v=0\r
o=mhandley 29739 7272939 IN IP4 192.0.2.3\r
s=-\r
c=IN IP4 192.0.2.4\r
t=0 0\r
m=audio 49217 RTP/AVP 0 12\r
m=video 3227 RTP/AVP 31\r
a=rtpmap:31 LPC\r
"""


def test_the_example_of_the_rfc() -> None:
    session = parse_sdp(EXAMPLE)
    assert session.origin == Origin(3724394400, 3724394405, Connection("198.51.100.1"), "jdoe")
    assert session.name == "Call to John Smith"
    assert [media.port for media in session.media] == [49170, 49180, 51372]
    assert session.connection_of(session.media[0]) == Connection("198.51.100.1")
    assert session.connection_of(session.media[2]) == Connection("2001:db8::2", "IP6")
    assert session.media[2].rtpmaps == {99: RtpMap(99, "h263-1998", 90000)}
    assert session.to_bytes() == EXAMPLE


@pytest.mark.parametrize("data", [RFC5118_MULTIPLE, RFC5118_IPV6, RFC4475_BODY])
def test_published_bodies_come_back_as_they_were(data: bytes) -> None:
    assert parse_sdp(data).to_bytes() == data


def test_an_rtpmap_without_a_rate_is_as_if_absent() -> None:
    assert parse_sdp(RFC4475_BODY).media[1].rtpmaps == {}


def test_directions_are_inherited_and_default_to_both_ways() -> None:
    base = b"v=0\r\no=- 1 1 IN IP4 a.example\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    line = b"m=audio 4000 RTP/AVP 0\r\n"
    for head, body, expected in (
        (b"", b"", "sendrecv"),
        (b"a=sendonly\r\n", b"", "sendonly"),
        (b"a=sendonly\r\n", b"a=inactive\r\n", "inactive"),
    ):
        session = parse_sdp(base + head + line + body)
        assert session.direction_of(session.media[0]) == expected


def test_bare_line_feeds_and_missing_lines_are_forgiven() -> None:
    session = parse_sdp(b"v=0\no=- 1 2 IN IP4 192.0.2.1\nm=audio 4000/2 RTP/AVP 0 8\nc=IN IP4 192.0.2.1\n")
    assert session.name == "-"
    assert session.media[0].port_count == 2
    assert session.media[0].formats == ("0", "8")


def test_fmtp_and_flags() -> None:
    media = parse_sdp(
        b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 101\r\na=fmtp:101 0-15\r\na=rtcp-mux\r\na=x:\r\n"
    ).media[0]
    assert media.fmtp(101) == "0-15"
    assert media.fmtp(0) is None
    assert media.has("rtcp-mux")
    assert media.find("rtcp-mux") == ""
    assert media.find("ptime") is None
    assert media.attributes[-1] == Attribute("x", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n",
        b"v=1\r\no=- 1 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\no=- 1 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- one 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\n",
        b"v=0\r\no=- 1 -1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- " + b"9" * 5000 + b" 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio RTP/AVP 0\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 65536 RTP/AVP 0\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nq=unknown\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\na=\0\r\n",
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n" + b"a=x\r\n" * 2000,
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_sdp(data)


def test_lines_are_written_in_the_order_of_the_rfc() -> None:
    session = SessionDescription(
        origin=Origin(1, 1, Connection.of("2001:db8::1")),
        connection=Connection.of("2001:db8::1"),
        others=(("k", "prompt"), ("t", "0 0"), ("b", "AS:64"), ("e", "a@b.example")),
        attributes=(Attribute("tool", "sipcli"),),
        media=(MediaDescription(kind="audio", port=9, protocol="RTP/AVP", formats=("0",), others=(("b", "AS:64"),)),),
    )
    kinds = [line[:1] for line in session.to_bytes().decode().splitlines()]
    assert "".join(kinds) == "vosecbtkamb"
    assert parse_sdp(session.to_bytes()).to_bytes() == session.to_bytes()
