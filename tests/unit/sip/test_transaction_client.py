"""Client transactions on a stepped clock (RFC 3261 section 17.1, RFC 6026 section 8.4; B01-B03)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request
from sipcli.sip.transactions.tables import State
from tests.support.transactions import TCP, UDP, Bench, Caller, request, response


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def caller() -> Caller:
    return Caller()


# -- INVITE -------------------------------------------------------------------------------------


def test_B01_an_unanswered_invite_goes_out_seven_times_and_times_out_at_32_s(bench: Bench, caller: Caller) -> None:
    tx = bench.layer.request(request(), UDP, caller)
    bench.advance(31.999)
    assert bench.times("INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert caller.ends == []
    bench.advance(0.001)
    assert caller.ends == ["timeout"]
    assert (tx.state, len(bench.layer), len(bench.wheel)) == (State.TERMINATED, 0, 0)
    assert bench.times("ACK") == []


def test_B01_over_tcp_an_invite_goes_out_once(bench: Bench, caller: Caller) -> None:
    bench.layer.request(request(transport="TCP"), TCP, caller)
    bench.advance(32)
    assert bench.times("INVITE") == [0]
    assert caller.ends == ["timeout"]


def test_B02_a_1xx_ends_the_repetitions_and_the_time_out(bench: Bench, caller: Caller) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    bench.advance(2)
    for status in (100, 180, 183):
        assert bench.layer.on_response(response(invite, status), UDP)
    bench.advance(600)
    assert bench.times("INVITE") == [0, 0.5, 1.5]
    assert (caller.codes, caller.ends, tx.state) == ([100, 180, 183], [], State.PROCEEDING)


def test_B02_a_2xx_waits_for_its_siblings_for_64_t1_and_is_never_acknowledged_here(
    bench: Bench, caller: Caller
) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    for tag in ("fork-1", "fork-1", "fork-2"):
        bench.layer.on_response(response(invite, 200, to_tag=tag), UDP)
    assert [answer.to.tag for answer in caller.responses] == ["fork-1", "fork-1", "fork-2"]
    assert tx.state is State.ACCEPTED
    bench.advance(31.9)
    assert bench.layer.on_response(response(invite, 200, to_tag="fork-3"), UDP)
    bench.advance(0.1)
    assert tx.terminated
    assert not bench.layer.on_response(response(invite, 200), UDP), "a stray 2xx is the caller's to judge"
    assert len(caller.responses) == 4
    assert bench.times("INVITE") == [0]
    assert bench.times("ACK") == []


@pytest.mark.parametrize("status", [300, 401, 407, 486, 503, 600])
def test_A01_A02_five_failures_get_five_acks_and_are_delivered_once(bench: Bench, caller: Caller, status: int) -> None:
    invite = request()
    bench.layer.request(invite, UDP, caller)
    for _ in range(5):
        assert bench.layer.on_response(response(invite, status), UDP)
        bench.advance(1)
    assert caller.codes == [status]
    assert bench.times("ACK") == [0, 1, 2, 3, 4]
    bench.advance(27)
    assert bench.layer.on_response(response(invite, status), UDP) is False, "after Timer D nobody knows it"
    assert (caller.codes, len(bench.times("ACK")), len(bench.layer)) == ([status], 5, 0)


@pytest.mark.parametrize("before", [(), (100,), (100, 180)])
def test_A01_the_ack_is_sent_before_the_user_hears_of_a_challenge(bench: Bench, before: tuple[int, ...]) -> None:
    class Slow(Caller):
        def on_response(self, tx: object, answer: object) -> None:
            assert bench.times("ACK") == ([0] if answer.status == 401 else [])  # type: ignore[attr-defined]
            super().on_response(tx, answer)  # type: ignore[arg-type]

    invite, slow = request(), Slow()
    bench.layer.request(invite, UDP, slow)
    for status in before:
        bench.layer.on_response(response(invite, status), UDP)
    bench.layer.on_response(response(invite, 401), UDP)
    assert slow.codes == [*before, 401]


@pytest.mark.parametrize("flow", [UDP, TCP], ids=["udp", "tcp"])
def test_what_the_ack_of_a_failure_is_made_of(bench: Bench, caller: Caller, flow: Flow) -> None:
    invite = request(
        uri="sip:bob@biloxi.example;transport=tcp",
        cseq=986759,
        headers=(
            ("Route", "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"),
            ("Route", "<sip:p3.example.com;lr>"),
            ("Require", "100rel"),
            ("Authorization", 'Digest username="alice"'),
        ),
        body=b"v=0\r\n",
    )
    bench.layer.request(invite, flow, caller)
    bench.layer.on_response(response(invite, 407, to_tag="99sa0xk"), flow)
    _, where, ack = bench.sent[-1]
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri_text, where) == ("ACK", invite.uri_text, flow)
    assert (str(ack.cseq.number), ack.cseq.method) == ("986759", "ACK")
    assert ack.to.tag == "99sa0xk"
    assert ack.get("From") == invite.get("From")
    assert ack.call_id == invite.call_id
    assert [str(via) for via in ack.vias] == [str(invite.via)]
    assert ack.values("Route") == ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>", "<sip:p3.example.com;lr>")
    assert ack.max_forwards == 70
    assert (ack.find("Require"), ack.find("Authorization"), ack.find("Contact"), ack.body) == (None, None, None, b"")


def test_over_tcp_the_transaction_ends_with_the_failure(bench: Bench, caller: Caller) -> None:
    invite = request(transport="TCP")
    tx = bench.layer.request(invite, TCP, caller)
    bench.layer.on_response(response(invite, 486), TCP)
    assert (caller.codes, tx.terminated, len(bench.layer), len(bench.wheel)) == ([486], True, 0, 0)
    assert not bench.layer.on_response(response(invite, 486), TCP)
    assert len(bench.times("ACK")) == 1


# -- not INVITE ---------------------------------------------------------------------------------


def test_B03_an_unanswered_register_is_repeated_up_to_every_t2_and_times_out_at_32_s(
    bench: Bench, caller: Caller
) -> None:
    bench.layer.request(request("REGISTER"), UDP, caller)
    bench.advance(40)
    assert bench.times("REGISTER") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert caller.ends == ["timeout"]
    assert len(bench.layer) == 0


def test_B03_after_a_1xx_a_non_invite_goes_on_every_t2(bench: Bench, caller: Caller) -> None:
    register = request("REGISTER")
    bench.layer.request(register, UDP, caller)
    bench.advance(1)
    bench.layer.on_response(response(register, 100), UDP)
    bench.advance(39)
    assert bench.times("REGISTER") == [0, 0.5, 1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    assert (caller.codes, caller.ends) == ([100], ["timeout"])


def test_A02_B03_a_final_response_is_delivered_once_and_its_repetitions_are_buffered_for_t4(
    bench: Bench, caller: Caller
) -> None:
    options = request("OPTIONS")
    tx = bench.layer.request(options, UDP, caller)
    bench.layer.on_response(response(options, 200), UDP)
    bench.advance(4.9)
    assert bench.layer.on_response(response(options, 200), UDP)
    assert bench.layer.on_response(response(options, 500), UDP)
    assert (caller.codes, tx.state) == ([200], State.COMPLETED)
    bench.advance(0.1)
    assert tx.terminated
    assert not bench.layer.on_response(response(options, 200), UDP)


def test_B03_over_tcp_a_non_invite_is_sent_once_and_ends_with_its_answer(bench: Bench, caller: Caller) -> None:
    options = request("OPTIONS", transport="TCP")
    tx = bench.layer.request(options, TCP, caller)
    bench.advance(20)
    bench.layer.on_response(response(options, 404), TCP)
    assert (bench.times("OPTIONS"), caller.codes, tx.terminated) == ([0], [404], True)


def test_a_user_may_send_its_next_request_while_it_is_told(bench: Bench) -> None:
    class Retrying(Caller):
        def on_response(self, tx: object, answer: object) -> None:
            super().on_response(tx, answer)  # type: ignore[arg-type]
            if self.codes == [401]:
                bench.layer.request(request("REGISTER", cseq=2), TCP, self)

    user, register = Retrying(), request("REGISTER")
    bench.layer.request(register, TCP, user)
    bench.layer.on_response(response(register, 401), TCP)
    assert len(bench.layer) == 1
    again = bench.last()
    bench.layer.on_response(response(again, 200), TCP)
    assert (user.codes, len(bench.layer)) == ([401, 200], 0)


# -- matching (17.1.3, 8.1.3.3, 18.1.2) ---------------------------------------------------------


def test_B06_a_response_to_a_cancel_is_not_one_to_the_invite(bench: Bench, caller: Caller) -> None:
    invite = request()
    bench.layer.request(invite, UDP, caller)
    assert not bench.layer.on_response(response(invite, 200, method="CANCEL"), UDP)
    assert caller.codes == []


def test_B06_B14_strangers_responses_are_dropped(bench: Bench, caller: Caller) -> None:
    invite = request()
    bench.layer.request(invite, UDP, caller)
    good = response(invite, 200)
    assert not bench.layer.on_response(good.with_("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKother"), UDP)
    assert bench.layer.on_response(good.with_("Via", f"SIP/2.0/UDP 192.0.2.66:5060;branch={invite.via.branch}"), UDP)
    assert bench.layer.on_response(good.adding("Via", "SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKsecond"), UDP)
    with pytest.raises(ParseError):
        bench.layer.on_response(good.with_("CSeq", "nonsense"), UDP)
    assert caller.codes == []
    assert dict(bench.layer.dropped) == {
        "response to another sent-by": 1,
        "response with other Vias": 1,
        "malformed response": 1,
    }


def test_received_and_rport_in_the_via_of_a_response_do_not_disturb(bench: Bench, caller: Caller) -> None:
    invite = request(sent_by="Host.Example.com")
    bench.layer.request(invite, UDP, caller)
    via = f"SIP/2.0/UDP host.example.com;received=203.0.113.7;rport=1024;branch={invite.via.branch}"
    assert bench.layer.on_response(response(invite, 180).with_("Via", via), UDP)
    assert caller.codes == [180]


def test_B13_branches_are_random_have_the_cookie_and_may_not_be_used_twice() -> None:
    layer = Bench().layer
    layer._random = __import__("os").urandom
    branches = {layer.new_branch() for _ in range(1000)}
    assert len(branches) == 1000
    assert all(branch.startswith("z9hG4bK") and len(branch) == 39 for branch in branches)
    bench = Bench()
    invite = request()
    bench.layer.request(invite, UDP, Caller())
    with pytest.raises(LocalProtocolError):
        bench.layer.request(invite, UDP, Caller())
    with pytest.raises(LocalProtocolError):
        bench.layer.request(request("ACK"), UDP, Caller())


# -- transport errors (17.1.4) ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
@pytest.mark.parametrize("ringing", [False, True])
def test_a_lost_flow_ends_its_transactions_and_no_others(bench: Bench, method: str, ringing: bool) -> None:
    lost, kept = Caller(), Caller()
    over_tcp = request(method, transport="TCP")
    bench.layer.request(over_tcp, TCP, lost)
    bench.layer.request(request(method), UDP, kept)
    if ringing:
        bench.layer.on_response(response(over_tcp, 100), TCP)
    bench.layer.flow_lost(TCP, "connection reset")
    assert (lost.ends, kept.ends, len(bench.layer)) == (["connection reset"], [], 1)


def test_a_lost_flow_says_nothing_to_one_who_has_his_2xx(bench: Bench, caller: Caller) -> None:
    invite = request(transport="TCP")
    bench.layer.request(invite, TCP, caller)
    bench.layer.on_response(response(invite, 200), TCP)
    bench.layer.flow_lost(TCP, "connection reset")
    assert caller.ends == []


def test_stop_is_silent(bench: Bench, caller: Caller) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    tx.stop()
    bench.advance(60)
    assert not bench.layer.on_response(response(invite, 200), UDP)
    assert (bench.times("INVITE"), caller.codes, caller.ends, len(bench.wheel)) == ([0], [], [], 0)


# -- CANCEL (9.1) -------------------------------------------------------------------------------


def test_B09_no_cancel_before_a_1xx_none_after_the_final_and_only_one(bench: Bench, caller: Caller) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    assert tx.cancel() is None
    bench.layer.on_response(response(invite, 180), UDP)
    assert tx.cancel() is not None
    assert tx.cancel() is None
    assert len(bench.times("CANCEL")) == 1
    bench.layer.on_response(response(invite, 200, method="CANCEL"), UDP)
    bench.layer.on_response(response(invite, 487), UDP)
    assert tx.cancel() is None
    assert (caller.codes, len(bench.times("ACK"))) == ([180, 487], 1)
    bench.advance(40)
    assert (caller.ends, len(bench.layer)) == ([], 0)


def test_B09_what_a_cancel_is_made_of(bench: Bench, caller: Caller) -> None:
    invite = request(headers=(("Route", "<sip:p1.example.com;lr>"), ("Require", "100rel"), ("Proxy-Require", "x")))
    tx = bench.layer.request(invite, UDP, caller)
    bench.layer.on_response(response(invite, 180, to_tag="early"), UDP)
    tx.cancel()
    cancel = bench.last()
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.uri_text, cancel.cseq) == ("CANCEL", invite.uri_text, (1, "CANCEL"))
    assert [str(via) for via in cancel.vias] == [str(invite.via)]
    assert cancel.to.tag is None, "the To of the request, not of the response"
    assert (cancel.get("From"), cancel.call_id) == (invite.get("From"), invite.call_id)
    assert cancel.all("Route") == invite.all("Route")
    assert (cancel.find("Require"), cancel.find("Proxy-Require")) == (None, None)


def test_A17_a_cancel_is_repeated_like_any_request_and_a_challenge_to_it_is_ignored(
    bench: Bench, caller: Caller
) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    bench.layer.on_response(response(invite, 180), UDP)
    tx.cancel()
    bench.advance(2)
    assert bench.times("CANCEL") == [0, 0.5, 1.5]
    assert bench.layer.on_response(response(invite, 401, method="CANCEL"), UDP)
    bench.advance(10)
    assert (bench.times("CANCEL"), caller.codes) == ([0, 0.5, 1.5], [180])


def test_B09_without_a_487_in_64_t1_the_invite_counts_as_cancelled(bench: Bench, caller: Caller) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    bench.layer.on_response(response(invite, 180), UDP)
    tx.cancel()
    bench.layer.on_response(response(invite, 200, method="CANCEL"), UDP)
    bench.layer.on_response(response(invite, 180), UDP)
    bench.advance(31.9)
    assert caller.ends == []
    bench.advance(0.1)
    assert (caller.ends, tx.terminated) == (["timeout"], True)


def test_B09_a_2xx_that_crosses_the_cancel_is_delivered(bench: Bench, caller: Caller) -> None:
    invite = request()
    tx = bench.layer.request(invite, UDP, caller)
    bench.layer.on_response(response(invite, 180), UDP)
    tx.cancel()
    bench.layer.on_response(response(invite, 200), UDP)
    assert (caller.codes, tx.state) == ([180, 200], State.ACCEPTED)
    bench.advance(40)
    assert caller.ends == []


def test_a_request_that_is_no_invite_is_never_cancelled(bench: Bench, caller: Caller) -> None:
    options = request("OPTIONS")
    tx = bench.layer.request(options, UDP, caller)
    bench.layer.on_response(response(options, 100), UDP)
    assert tx.cancel() is None
