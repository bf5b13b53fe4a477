"""Bodies of several parts, and bodies that nobody understands (RFC 5621, RFC 3261 section 8.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ParseError
from sipcli.sip import events
from sipcli.sip.syntax.bodies import read_session
from sipcli.sip.syntax.message import Request
from tests.support.pair import ANSWER, OFFER, Caller, Wire, response

MIXED = 'multipart/mixed; boundary="x y"'
ISUP = "application/isup;version=nxv3"


def parts(*pieces: tuple[str, str, bytes], boundary: str = "x y") -> bytes:
    """Each with its type and its disposition, empty for none."""
    body = b""
    for kind, disposition, content in pieces:
        body += f"--{boundary}\r\nContent-Type: {kind}\r\n".encode()
        if disposition:
            body += f"Content-Disposition: {disposition}\r\n".encode()
        body += b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def invited(body: bytes, kind: str = MIXED, *lines: str) -> Wire:
    here = Wire()
    here.deliver(Caller().request("INVITE", *lines, body=body, kind=kind))
    return here


SDP_PART = ("application/sdp", "", OFFER)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (parts(SDP_PART), MIXED),
        (parts(("application/sdp", "session", OFFER), (ISUP, "signal;handling=optional", b"\x01\r\n--\x02")), MIXED),
        (parts((ISUP, 'signal ; handling="optional"', b"\x01"), SDP_PART), MIXED),
        (parts(("multipart/alternative;boundary=in", "", parts(SDP_PART, boundary="in"))), MIXED),
        (parts(("application/sdp2", "", b"newer"), SDP_PART), 'multipart/alternative;boundary="x y"'),
    ],
    ids=["alone", "with ISUP", "after ISUP", "nested", "the one of two that we know"],
)
def test_C07_sdp_among_parts_is_the_offer(body: bytes, kind: str) -> None:
    here = invited(body, kind)
    call = here.last(events.CallIncoming).call
    assert call.offer == OFFER


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (parts(SDP_PART, (ISUP, "", b"\x01")), MIXED, 415),
        (parts(SDP_PART, (ISUP, "signal;handling=required", b"\x01")), MIXED, 415),
        (b"<x/>", "application/xml", 415),
        (parts(SDP_PART), 'multipart/signed;boundary="x y"', 415),
        (parts(SDP_PART), "multipart/mixed", 400),
        (b"--x y\r\n\r\nno end", MIXED, 400),
        (parts(*[SDP_PART] * 40), MIXED, 413),
    ],
    ids=["required by default", "required", "not SDP", "signed", "no boundary", "no end", "too many"],
)
def test_C07_what_must_be_understood_and_is_not(body: bytes, kind: str, status: int) -> None:
    here = invited(body, kind)
    answer = here.take()[-1]
    assert answer.status == status
    assert not here.told(events.CallIncoming)
    if status == 415:
        assert answer.header("accept") == "application/sdp, multipart/mixed"


def test_T23_parts_inside_parts_have_a_bottom() -> None:
    body, kind = OFFER, "application/sdp"
    for depth in range(6):
        body, kind = parts((kind, "", body), boundary=f"b{depth}"), f"multipart/mixed;boundary=b{depth}"
    assert invited(body, kind).take()[-1].status == 415


def test_C07_what_may_be_ignored_is_no_offer() -> None:
    here = invited(b"<x/>", "application/xml", "Content-Disposition: render;handling=optional")
    assert here.last(events.CallIncoming).call.offer is None


def test_C07_an_answer_among_parts_is_heard() -> None:
    here = Wire()
    call = here.call()
    invite = here.one()
    body = parts(("application/sdp", "", ANSWER))
    lines = ("Contact: <sip:bob@192.0.2.1>", f"Content-Type: {MIXED}")
    ok = response(invite, 200, "OK", *lines, body=body, sdp=False)
    here.deliver(ok)
    assert here.last(events.CallAnswered).call is call
    assert here.last(events.CallAnswered).sdp == ANSWER


@given(st.binary(max_size=200), st.sampled_from([MIXED, "multipart/alternative;boundary=a", "multipart/mixed"]))
def test_T24_any_parts(body: bytes, kind: str) -> None:
    try:
        read_session(Request.build("INVITE", "sip:a", [("Content-Type", kind)], body))
    except ParseError:
        pass


def test_T24_a_boundary_that_is_no_utf_8_is_the_octets_that_came() -> None:
    """Fails (UnicodeEncodeError, found by fuzzing) when ``parts_of`` writes the boundary as plain UTF-8."""
    caller, wire = Caller(), Wire()
    body = b"--\xff\r\nContent-Type: application/sdp\r\n\r\n" + OFFER + b"\r\n--\xff--"
    plain = caller.request("INVITE", body=body, kind="multipart/mixed;boundary=@")
    wire.deliver(plain.replace(b"boundary=@", b"boundary=\xff"))
    assert wire.last(events.CallIncoming).call.offer == OFFER
