"""Messages: lazy, frozen, limited; what a reply repeats (RFC 3261 sections 7.3, 8.2.6, 18.3; B16-B17, T13, T23)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip.authn.challenge import parse_challenges
from sipcli.sip.syntax.headers import CSeq, Via
from sipcli.sip.syntax.message import MAX_HEADERS, MAX_LINE, Request, Response, parse_message
from sipcli.sip.syntax.uri import SipUri

LINES = (
    "Via: SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bK1;rport, SIP/2.0/TCP proxy;branch=z9hG4bK0",
    "Via: SIP/2.0/UDP far;branch=z9hG4bKf",
    "Record-Route: <sip:p1;lr>",
    "Record-Route: <sip:p2;lr>",
    "From: Alice <sip:alice@example.com>;tag=a",
    "To: <sip:bob@example.com>",
    "Call-ID: c1",
    "CSeq: 7 INVITE",
    "Contact: <sip:alice@192.0.2.1>",
    'Proxy-Authenticate: Digest realm="a, b", nonce="1", Digest realm="c"',
    "Supported: timer , 100rel",
    "k: replaces",
    "Timestamp: 54",
    "Content-Type: Application/SDP ; charset=x",
)


def text(*lines: str, start: str = "INVITE sip:bob@example.com SIP/2.0", body: str = "v=0\r\n") -> bytes:
    head = "\r\n".join([start, *(lines or LINES), f"Content-Length: {len(body)}"])
    return f"{head}\r\n\r\n{body}".encode()


def invite(*lines: str) -> Request:
    message = parse_message(text(*lines))
    assert isinstance(message, Request)
    return message


def changed(old: str, new: str) -> tuple[str, ...]:
    return tuple(line.replace(old, new) for line in LINES)


def test_typed_fields() -> None:
    message = invite()
    assert message.via == Via("UDP", "192.0.2.1", 5080, (("branch", "z9hG4bK1"), ("rport", None)))
    assert [via.host for via in message.vias] == ["192.0.2.1", "proxy", "far"]
    assert (message.via.rport, message.via.received, message.via.sent_by) == (None, None, ("192.0.2.1", 5080))
    assert message.cseq == CSeq(7, "INVITE")
    assert message.supported == ("timer", "100rel", "replaces")
    assert message.content_type == "application/sdp"
    assert [str(route) for route in message.record_routes] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert message.routes == ()
    assert (message.max_forwards, message.expires) == (None, None)
    assert message.find("content-length") == message.find("l") == "5"


def test_B17_names_know_their_short_forms() -> None:
    message = invite(*changed("Call-ID:", "i:"))
    assert message.find("Call-ID") == message.find("i") == message.get("CALL-ID") == "c1"
    assert message.all("Supported") == message.all("k")
    assert "k" in message.headers
    with pytest.raises(ParseError):
        message.get("Subject")


def test_B17_authentication_headers_are_never_split() -> None:
    assert len(invite().all("Proxy-Authenticate")) == 1


def test_nothing_is_parsed_before_it_is_asked_for() -> None:
    message = invite(*LINES, "Route: <nonsense", "Expires: soon", "Max-Forwards: many")
    for name in ("routes", "expires", "max_forwards"):
        with pytest.raises(ParseError):
            getattr(message, name)
    assert message.from_ is message.from_


def test_a_message_cannot_be_changed() -> None:
    message = invite()
    for name in ("method", "uri", "uri_text", "headers", "body", "via", "cseq"):
        with pytest.raises(AttributeError):
            setattr(message, name, None)
    with pytest.raises(AttributeError):
        message.other = 1  # type: ignore[attr-defined]


def test_changed_copies() -> None:
    message = invite()
    before = message.to_bytes()
    names = [name for name, _ in message.with_("record-route", "<sip:x>").headers]
    assert names.count("record-route") == 1
    assert names.index("record-route") == 2
    assert message.with_("Record-Route", None) == message.without("Record-Route")
    assert "Record-Route" not in message.without("record-route").headers
    assert message.adding("X-A", "1").adding("X-A", "2").all("x-a") == ("1", "2")
    assert message.prepending("Via", "SIP/2.0/UDP me;branch=z9hG4bKm").vias[0].host == "me"
    assert next(iter(message.prepending("Route", "<sip:r>").headers)) == ("Route", "<sip:r>")
    assert message.replace_uri("sip:x").uri == SipUri("sip", None, "x")
    assert message.with_body(b"hi", "text/plain").find("content-type") == "text/plain"
    assert message.with_body(b"", None).to_bytes().endswith(b"Content-Length: 0\r\n\r\n")
    assert message.to_bytes() == before


def test_the_top_via_alone_is_replaced() -> None:
    message = invite()
    stamped = message.with_top_via(message.via.with_param("rport", "9").with_param("received", "192.0.2.9"))
    assert [str(via) for via in stamped.vias] == [
        "SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bK1;rport=9;received=192.0.2.9",
        "SIP/2.0/TCP proxy;branch=z9hG4bK0",
        "SIP/2.0/UDP far;branch=z9hG4bKf",
    ]
    assert (stamped.via.rport, stamped.via.received) == (9, "192.0.2.9")


def test_content_length_is_computed_and_last() -> None:
    message = Request.build("MESSAGE", "sip:a", [("Content-Length", "99"), ("To", "<sip:a>")], b"four")
    assert message.to_bytes() == b"MESSAGE sip:a SIP/2.0\r\nTo: <sip:a>\r\nContent-Length: 4\r\n\r\nfour"


def test_to_bytes_keeps_every_line_as_it_came() -> None:
    odd = changed("Supported:", "SUPPORTED  : ")
    assert parse_message(text(*odd)).to_bytes() == text(*odd)


@pytest.mark.parametrize(
    "pair", [("X", "a\r\nY: b"), ("X", "a\n"), ("X", "\0"), ("X Y", "a"), ("X:", "a"), ("", "a"), ("X\r\nY", "a")]
)
def test_T13_a_header_cannot_break_out(pair: tuple[str, str]) -> None:
    with pytest.raises(ParseError):
        Request.build("OPTIONS", "sip:a", [pair])
    with pytest.raises(ParseError):
        invite().adding(*pair)


@pytest.mark.parametrize("uri", ["sip:a b", "sip:a\r\nX: y", "", "sip:é"])
def test_T13_a_request_uri_cannot_break_out(uri: str) -> None:
    with pytest.raises(ParseError):
        Request.build("OPTIONS", uri, [])


def test_T13_a_reason_cannot_break_out() -> None:
    with pytest.raises(ParseError):
        Response.build(200, "OK\r\nX: y", [])
    with pytest.raises(ParseError):
        Response.build(99, None, [])


def test_T14_nothing_of_a_header_is_in_the_repr() -> None:
    assert repr(invite(*LINES, 'Authorization: Digest response="x"')) == (
        "<Request 'INVITE sip:bob@example.com SIP/2.0'>"
    )


# --- replies ---------------------------------------------------------------------------


def test_what_a_reply_repeats() -> None:
    ringing = invite().reply(180, to_tag="t", headers=(("Contact", "<sip:me>"),))
    assert [name for name, _ in ringing.headers] == [
        *("Via", "Via", "Record-Route", "Record-Route", "From", "To", "Call-ID", "CSeq", "Contact"),
    ]
    assert (ringing.status, ringing.reason, ringing.to.tag) == (180, "Ringing", "t")
    busy = invite().reply(486, "Later", to_tag="t")
    assert (busy.reason, busy.record_routes) == ("Later", ())


def test_a_100_has_no_tag_and_gives_the_timestamp_back() -> None:
    trying = invite().reply(100, to_tag="t")
    assert (trying.to.tag, trying.find("Timestamp")) == (None, "54")


def test_a_tag_that_is_there_stays() -> None:
    tagged = invite(*changed("To: <sip:bob@example.com>", 'To: "x;tag=y" <sip:bob@example.com>;tag=old'))
    assert tagged.reply(200, to_tag="new").to.tag == "old"
    untagged = invite(*changed("To: <sip:bob@example.com>", 'To: "x;tag=y" <sip:bob@example.com>'))
    assert untagged.reply(200, to_tag="new").to.tag == "new"


def test_a_reply_has_a_body() -> None:
    answer = invite().reply(200, to_tag="t", body=b"v=0\r\n", content_type="application/sdp")
    assert (answer.body, answer.content_type) == (b"v=0\r\n", "application/sdp")


# --- frames and limits --------------------------------------------------------------------


def test_B16_surplus_octets_of_a_datagram_are_dropped() -> None:
    assert parse_message(text() + b"INVITE sip:x SIP/2.0\r\n").body == b"v=0\r\n"


def test_B16_a_short_body_is_refused() -> None:
    with pytest.raises(ParseError) as caught:
        parse_message(text()[:-1])
    assert caught.value.partial.reply(400).cseq == (7, "INVITE")


def test_line_ends_before_the_start_line_are_skipped() -> None:
    assert parse_message(b"\r\n\r\n" + text()) == invite()


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_a_line_ends_with_crlf_or_not_at_all(end: bytes) -> None:
    with pytest.raises(ParseError):
        parse_message(text().replace(b"\r\nCall-ID", end + b"Call-ID"))
    with pytest.raises(ParseError):
        parse_message(text(*LINES, "X: y").replace(b"X: y", b"X: y" + end))


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_what_every_message_needs(name: str) -> None:
    lines = [line for line in LINES if not line.startswith(f"{name}:")]
    with pytest.raises(ParseError) as caught:
        parse_message(text(*lines))
    assert (caught.value.partial is None) == (name == "Via")
    with pytest.raises(ParseError) as caught:
        parse_message(text(*lines, start="SIP/2.0 200 OK"))
    assert caught.value.partial is None


@pytest.mark.parametrize(
    "again", ["From: <sip:x>", "t: <sip:x>", "i: x", "CSeq: 7 INVITE", "c: a/b", "Max-Forwards: 1"]
)
def test_singletons(again: str) -> None:
    lines = (*LINES, again) if not again.startswith("Max") else (*LINES, again, again)
    with pytest.raises(ParseError):
        parse_message(text(*lines))


@pytest.mark.parametrize("value", ["70", " 070 ", "255", "256", "9" * 5000])
def test_a_large_max_forwards_is_a_large_one(value: str) -> None:
    assert invite(*LINES, f"Max-Forwards: {value}").max_forwards == min(int(value[:4]), 255)


def test_T24_a_huge_number_is_no_crash() -> None:
    assert invite(*LINES, f"Expires: {'9' * 5000}").expires == 2**32 - 1
    with pytest.raises(ParseError):
        parse_message(text(*changed("CSeq: 7", f"CSeq: {'9' * 5000}")))
    with pytest.raises(ParseError):
        parse_message(text().replace(b"Content-Length: 5", b"Content-Length: " + b"9" * 5000))


def test_an_ack_is_never_answered() -> None:
    with pytest.raises(ParseError) as caught:
        parse_message(text(start="ACK sip:bob@example.com SIP/2.0"))
    assert caught.value.partial is None


def test_T23_too_much_of_everything() -> None:
    parse_message(text(*LINES, *["X: y"] * (MAX_HEADERS - len(LINES) - 1)))
    for lines in ([*LINES, *["X: y"] * MAX_HEADERS], [*LINES, "X: " + "y" * MAX_LINE]):
        with pytest.raises(ParseError) as caught:
            parse_message(text(*lines))
        assert caught.value.status == 513
    with pytest.raises(ParseError) as caught:
        parse_message(text(start=f"INVITE sip:{'a' * 2048}@h SIP/2.0"))
    assert caught.value.status == 414
    with pytest.raises(ParseError):
        _ = invite(*LINES, "Via: " + ", ".join(["SIP/2.0/UDP h"] * 70)).vias


def test_octets_that_are_no_utf8_come_back_as_they_were() -> None:
    data = text(*LINES, "X-Name: caf?").replace(b"caf?", b"caf\xe9\xff")
    message = parse_message(data)
    copy = Request.build("INVITE", "sip:bob@example.com", list(message.headers), message.body)
    assert b"caf\xe9\xff" in copy.to_bytes()


def test_B17_contact_star() -> None:
    register = invite(*changed("Contact: <sip:alice@192.0.2.1>", "Contact: *"))
    assert register.contact_star
    assert register.contacts == ()


def test_versions() -> None:
    assert parse_message(text(start="INVITE sip:a sip/2.0")).to_bytes().startswith(b"INVITE sip:a SIP/2.0\r\n")
    with pytest.raises(ParseError) as caught:
        parse_message(text(start="INVITE sip:a SIP/3.0"))
    assert caught.value.status == 505


@pytest.mark.parametrize("line", ["Supported", "X-Learned", "k", " ", "", ": x", "X-Learned\x00: y"])
def test_a_line_without_a_name_and_a_colon_is_none(line: str) -> None:
    parse_message(text(*LINES, "X-Learned: so that its spelling is known"))
    with pytest.raises(ParseError):
        parse_message(text(line, *LINES))


def test_T13_a_long_challenge_does_not_hide_its_neighbour() -> None:
    """It was dropped with the whole response, and the request waited in vain.  Fails without the exception for it."""
    long = "WWW-Authenticate: Digest realm=" + "y" * 2 * MAX_LINE
    good = 'WWW-Authenticate: Digest realm="r", nonce="n"'
    response = parse_message(text(*LINES, long, good, start="SIP/2.0 401 Unauthorized"))
    assert isinstance(response, Response)
    challenges, skipped = parse_challenges(response)
    assert challenges[0].realm == "r"
    assert skipped[0].why == "too long"
