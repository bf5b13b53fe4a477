"""INFO packages (RFC 6086): none is taken, which is said and enforced; digits the old way pass as before."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.calls.infopackage import info_headers
from tests.support.pair import ANSWER, OFFER, Caller, Wire


def test_D05_our_invite_says_that_we_take_no_package() -> None:
    wire = Wire()
    wire.call()
    assert wire.one().all("recv-info") == [""]


def test_D05_a_change_of_the_session_says_it_again() -> None:
    """RFC 6086 section 5.2.3: what a target refresh leaves out is taken back."""
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(OFFER))
    assert wire.one().all("recv-info") == [""]


@pytest.mark.parametrize("asked", [True, False])
def test_D05_our_200_says_so_to_whoever_asks(asked: bool) -> None:
    wire = Wire()
    caller = Caller()
    wire.deliver(caller.request("INVITE", *(["Recv-Info: foo"] if asked else []), body=OFFER))
    wire.do(lambda: wire.last(events.CallIncoming).call.accept(ANSWER))
    assert wire.take()[-1].all("recv-info") == ([""] if asked else [])


@pytest.mark.parametrize(
    ("taken", "named"), [(None, "none"), (frozenset(), "none"), (frozenset(("foo", "a")), "a, foo")]
)
def test_D05_a_package_that_the_other_side_does_not_take_is_not_sent(taken: frozenset[str] | None, named: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"takes no INFO of bar; it takes: {named}$"):
        info_headers("bar", taken)


def test_D05_the_name_of_a_package_has_no_case() -> None:
    assert ("Info-Package", "FOO") in info_headers("FOO", frozenset(("foo",)))


def test_D05_an_unknown_package_earns_469_and_digits_do_not() -> None:
    wire = Wire()
    _, _, caller = wire.answered()
    wire.deliver(caller.request("INFO", "Info-Package: foo", body=b"x", kind="application/x-foo"))
    refused = wire.one()
    assert (refused.status, refused.all("recv-info"), wire.told(events.InfoReceived)) == (469, [""], [])
    wire.deliver(caller.request("INFO", body=b"Signal=5\r\nDuration=160\r\n", kind="application/dtmf-relay"))
    assert (wire.one().status, len(wire.told(events.InfoReceived))) == (200, 1)


def test_D05_a_message_inside_a_call_is_judged_like_any_other() -> None:
    wire = Wire()
    _, _, caller = wire.answered()
    wire.deliver(caller.request("MESSAGE", body=b"<x/>", kind="application/xml"))
    refused = wire.one()
    assert (refused.status, "text/html" in refused.header("accept")) == (415, True)
    wire.deliver(caller.request("MESSAGE", body=b"<b>hi</b>", kind="text/html"))
    assert (wire.one().status, wire.last(events.MessageReceived).request.body) == (200, b"<b>hi</b>")
