"""Keys of the audio that are in an SDP leave over TLS, or not at all (RFC 4568 section 7; T10)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Wire, response

KEYS = b"a=crypto:1 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA==\r\n"
OURS = OFFER.replace(b"RTP/AVP", b"RTP/SAVP") + KEYS
THEIRS = ANSWER.replace(b"RTP/AVP", b"RTP/SAVP") + KEYS
PLAIN = SipUri.parse("sip:bob@192.0.2.50;transport=udp")


@pytest.mark.parametrize("target", ["sip:bob@192.0.2.50;transport=udp", "sip:bob@192.0.2.50;transport=tcp"])
def test_T10_a_call_that_leaves_our_tls_server_aside_takes_no_keys_along(target: str) -> None:
    """Fails without the look at the body in ``FlowSearch.unfit``: the account speaks TLS, its callee does not."""
    wire = Wire("tls")
    wire.do(lambda: wire.engine.invite("work", SipUri.parse(target), OURS))
    assert wire.sent == []
    [ended] = wire.told(events.CallEnded)
    assert isinstance(ended.why, str) and ended.why.startswith("keys: ")
    wire.do(lambda: wire.engine.invite("work", SipUri.parse(target), OFFER))
    assert wire.one().method == "INVITE", "and what has no keys may go there"


def test_T10_nor_one_that_is_sent_on_to_where_everybody_can_read() -> None:
    """Fails without the look at the body in ``FlowSearch.unfit``: a 302 took the keys out of TLS."""
    wire = Wire("tls")
    call = wire.do(lambda: wire.engine.invite("work", SipUri.parse("sip:bob@example.com"), OURS))
    invite = wire.one()
    call.redirects = True
    wire.deliver(response(invite, 302, "Moved Temporarily", f"Contact: <{PLAIN}>"), wire.sent_over[-1])
    before = len([heard for heard in wire.sent if heard.method == "INVITE"])
    wire.do(lambda: call.redirect(PLAIN))
    assert len([heard for heard in wire.sent if heard.method == "INVITE"]) == before
    [ended] = wire.told(events.CallEnded)
    assert isinstance(ended.why, str) and ended.why.startswith("keys: ")


def test_T10_nor_a_new_offer_to_a_contact_outside_of_tls() -> None:
    """Fails without the look at the body in ``FlowSearch.unfit``.  The call goes on: what was agreed still holds."""
    wire = Wire("tls")
    call = wire.do(lambda: wire.engine.invite("work", SipUri.parse("sip:bob@example.com"), OURS))
    wire.deliver(response(wire.one(), 200, "OK", f"Contact: <{PLAIN}>", body=THEIRS), wire.sent_over[-1])
    wire.do(lambda: call.reinvite(OURS))
    why = wire.last(events.CallReanswered).why
    assert isinstance(why, str) and why.startswith("keys: ")
    assert all(
        KEYS not in heard.data for heard, flow in zip(wire.sent, wire.sent_over, strict=True) if not flow.encrypted
    )
    assert wire.told(events.CallEnded) == []


def test_keys_go_over_tls() -> None:
    wire = Wire("tls")
    wire.do(lambda: wire.engine.invite("work", SipUri.parse("sip:bob@example.com"), OURS))
    assert wire.one().method == "INVITE"
    assert wire.sent_over[-1].encrypted
