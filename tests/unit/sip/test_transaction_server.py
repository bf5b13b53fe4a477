"""Server transactions on a stepped clock (RFC 3261 sections 8.2.2.2, 9.2 and 17.2, RFC 6026, RFC 4320)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions.tables import State
from sipcli.sip.transactions.transaction import ServerTransaction
from tests.support.transactions import TCP, UDP, Bench, Callee, request


@pytest.fixture
def bench() -> Bench:
    return Bench()


def take(bench: Bench, message: Request, flow: Flow = UDP) -> tuple[ServerTransaction, Callee]:
    """A new transaction, with a user as the engine would set it."""
    tx = bench.layer.on_request(message, flow)
    assert tx is not None
    callee = Callee()
    tx.user = callee
    return tx, callee


def codes(bench: Bench) -> list[int]:
    return [message.status for _, _, message in bench.sent if isinstance(message, Response)]


def ack_of(invite: Request, to_tag: str, **changes: object) -> Request:
    """The ACK to a failure, which shares the branch of the INVITE."""
    values: dict[str, object] = {"branch": invite.via.branch or "", "to_tag": to_tag, **changes}
    return request("ACK", **values)  # type: ignore[arg-type]


# -- INVITE -------------------------------------------------------------------------------------


def test_B04_100_goes_out_after_200_ms_and_without_a_to_tag(bench: Bench) -> None:
    take(bench, request())
    bench.advance(0.199)
    assert bench.sent == []
    bench.advance(0.001)
    assert bench.times(100) == [0.2]
    assert bench.last().to.tag is None
    bench.advance(60)
    assert codes(bench) == [100]


def test_B04_the_100_takes_no_tag_away_that_a_dialog_has_already(bench: Bench) -> None:
    tx, _ = take(bench, request())
    tag = tx.local_tag
    bench.advance(0.3)
    assert codes(bench) == [100]
    tx.reply(180)
    assert (bench.last().to.tag, tx.local_tag) == (tag, tag)


def test_B04_no_100_when_the_user_answers_in_time(bench: Bench) -> None:
    tx, _ = take(bench, request())
    bench.advance(0.1)
    tx.reply(180)
    bench.advance(1)
    assert codes(bench) == [180]


def test_a_repeated_invite_gets_the_latest_provisional_and_is_not_delivered_again(bench: Bench) -> None:
    invite = request()
    tx, _ = take(bench, invite)
    tx.reply(180)
    tx.reply(183)
    assert bench.layer.on_request(invite, UDP) is None
    assert codes(bench) == [180, 183, 183]
    assert {message.to.tag for _, _, message in bench.sent} == {tx.local_tag}


def test_B04_a_failure_is_repeated_until_the_ack_and_then_acks_are_absorbed_for_t4(bench: Bench) -> None:
    invite = request()
    tx, callee = take(bench, invite)
    tx.reply(486)
    bench.advance(12)
    assert bench.times(486) == [0, 0.5, 1.5, 3.5, 7.5, 11.5]
    assert bench.layer.on_request(invite, UDP) is None
    assert len(bench.times(486)) == 7
    ack = ack_of(invite, tx.local_tag)
    assert bench.layer.on_request(ack, UDP) is None
    assert tx.state is State.CONFIRMED
    bench.layer.on_request(ack, UDP)
    bench.layer.on_request(invite, UDP)
    bench.advance(4.9)
    assert len(bench.times(486)) == 7
    bench.advance(0.1)
    assert (tx.terminated, callee.told, len(bench.layer), len(bench.wheel)) == (True, [], 0, 0)


def test_B04_a_failure_without_an_ack_ends_after_64_t1_and_the_user_is_told(bench: Bench) -> None:
    tx, callee = take(bench, request())
    tx.reply(486)
    bench.advance(32)
    assert bench.times(486) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert (callee.told, tx.terminated) == (["timeout"], True)


def test_over_tcp_a_failure_is_sent_once_and_the_ack_ends_it(bench: Bench) -> None:
    invite = request(transport="TCP")
    tx, callee = take(bench, invite, TCP)
    tx.reply(603)
    bench.advance(20)
    bench.layer.on_request(ack_of(invite, tx.local_tag, transport="TCP"), TCP)
    assert (bench.times(603), tx.terminated, callee.told) == ([0], True, [])


def test_B04_a_2xx_is_never_repeated_here_and_the_invite_is_absorbed_for_64_t1(bench: Bench) -> None:
    invite = request()
    tx, _ = take(bench, invite)
    tx.reply(200)
    bench.advance(31.9)
    assert bench.layer.on_request(invite, UDP) is None
    assert codes(bench) == [200]
    tx.reply(200)  # the user's own repetition, RFC 3261 section 13.3.1.4
    assert codes(bench) == [200, 200]
    tx.reply(500)
    assert codes(bench) == [200, 200]
    bench.advance(0.1)
    assert tx.terminated
    assert bench.layer.on_request(invite, UDP) is not None


def test_the_ack_to_a_2xx_has_its_own_branch_and_reaches_the_user_every_time(bench: Bench) -> None:
    invite = request(cseq=7)
    tx, callee = take(bench, invite)
    tx.reply(200)
    ack = request("ACK", cseq=7, to_tag=tx.local_tag)
    assert bench.layer.on_request(ack, UDP) is None
    bench.layer.on_request(ack, UDP)
    assert (callee.told, tx.state) == (["ack", "ack"], State.ACCEPTED)
    assert callee.acks[0] is ack


@pytest.mark.parametrize("wrong", [{"cseq": 8}, {"to_tag": "x"}, {"from_tag": "x"}, {"call_id": "x"}])
def test_the_ack_of_another_call_reaches_nobody(bench: Bench, wrong: dict[str, object]) -> None:
    tx, callee = take(bench, request(cseq=7))
    tx.reply(200)
    values: dict[str, object] = {"cseq": 7, "to_tag": tx.local_tag, **wrong}
    assert bench.layer.on_request(request("ACK", **values), UDP) is None  # type: ignore[arg-type]
    assert callee.told == []
    assert bench.layer.dropped["ACK of nothing"] == 1


def test_a_dialogs_own_tag_is_followed(bench: Bench) -> None:
    invite = request()
    tx, callee = take(bench, invite)
    tx.respond(invite.reply(180, to_tag="dialog"))
    tx.respond(invite.reply(200, to_tag="dialog"))
    assert tx.local_tag == "dialog"
    bench.layer.on_request(request("ACK", to_tag="dialog"), UDP)
    assert callee.told == ["ack"]


def test_a_lost_flow_leaves_an_invite_where_it_is(bench: Bench) -> None:
    invite = request(transport="TCP")
    tx, callee = take(bench, invite, TCP)
    bench.layer.flow_lost(TCP, "connection reset")
    assert (callee.told, tx.state) == (["connection reset"], State.PROCEEDING)
    assert bench.layer.on_request(invite, TCP) is None
    tx.reply(500)
    bench.advance(32)
    assert (tx.terminated, callee.told) == (True, ["connection reset", "timeout"])


# -- not INVITE ---------------------------------------------------------------------------------


def test_B05_a_non_invite_is_answered_once_and_its_repetitions_get_the_same_for_64_t1(bench: Bench) -> None:
    message = request("MESSAGE")
    tx, _ = take(bench, message)
    assert bench.layer.on_request(message, UDP) is None
    assert bench.sent == []
    tx.reply(200)
    tx.reply(500)
    bench.advance(31.9)
    assert bench.layer.on_request(message, UDP) is None
    assert codes(bench) == [200, 200]
    bench.advance(0.1)
    assert tx.terminated
    assert bench.layer.on_request(message, UDP) is not None


def test_over_tcp_a_non_invite_ends_with_its_answer(bench: Bench) -> None:
    tx, _ = take(bench, request("OPTIONS", transport="TCP"), TCP)
    tx.reply(200)
    assert (tx.terminated, len(bench.layer), len(bench.wheel)) == (True, 0, 0)


@pytest.mark.parametrize("flow", [UDP, TCP], ids=["udp", "tcp"])
def test_B05_a_slow_user_makes_the_transaction_say_100_when_timer_e_reaches_t2(bench: Bench, flow: Flow) -> None:
    message = request("MESSAGE")
    tx, _ = take(bench, message, flow)
    bench.advance(10)
    assert bench.times(100) == [3.5]
    bench.layer.on_request(message, flow)
    assert codes(bench) == [100, 100]
    tx.reply(202)
    assert codes(bench) == [100, 100, 202]


def test_B05_over_udp_a_100_before_its_time_is_kept_back_and_over_tcp_it_is_not(bench: Bench) -> None:
    slow, _ = take(bench, request("MESSAGE", call_id="udp"))
    slow.reply(100)
    assert bench.sent == []
    quick, _ = take(bench, request("MESSAGE", call_id="tcp"), TCP)
    quick.reply(100)
    assert codes(bench) == [100]
    assert bench.last().to.tag is None, "RFC 3261 section 8.2.6.2"
    bench.advance(5)
    assert bench.times(100) == [0, 3.5]


def test_B05_who_is_too_late_says_nothing_at_all(bench: Bench) -> None:
    tx, callee = take(bench, request("MESSAGE"))
    bench.advance(32)
    assert (callee.told, tx.terminated, codes(bench)) == (["timeout"], True, [100])
    tx.reply(200)
    assert codes(bench) == [100]


@pytest.mark.parametrize("status", [408, 180, 183, 199])
def test_B05_what_must_never_answer_a_non_invite_is_refused(bench: Bench, status: int) -> None:
    tx, _ = take(bench, request("BYE", to_tag="here"))
    with pytest.raises(LocalProtocolError):
        tx.reply(status)
    assert bench.sent == []
    invite, _ = take(bench, request(call_id="other"))
    invite.reply(status)
    assert codes(bench) == [status]


def test_a_lost_flow_ends_a_non_invite(bench: Bench) -> None:
    tx, callee = take(bench, request("MESSAGE", transport="TCP"), TCP)
    bench.layer.flow_lost(TCP, "connection reset")
    assert (callee.told, tx.terminated) == (["connection reset"], True)


# -- matching (17.2.3) --------------------------------------------------------------------------


def test_B06_the_same_branch_from_another_sent_by_or_method_is_another_request(bench: Bench) -> None:
    branch = "z9hG4bKsame"
    first = request("OPTIONS", branch=branch, call_id="a")
    assert bench.layer.on_request(first, UDP) is not None
    assert bench.layer.on_request(request("OPTIONS", branch=branch, call_id="b", sent_by="192.0.2.1:5062"), UDP)
    assert bench.layer.on_request(request("OPTIONS", branch=branch, call_id="c", sent_by="192.0.2.2:5060"), UDP)
    assert bench.layer.on_request(request("MESSAGE", branch=branch, call_id="d"), UDP)
    assert bench.layer.on_request(request("OPTIONS", branch=branch, call_id="a"), UDP) is None
    assert len(bench.layer) == 4


@pytest.mark.parametrize("branch", ["", "oldstyle", "z9hG4bK"], ids=["none", "2543", "bare cookie"])
def test_B06_without_the_magic_cookie_the_rules_of_rfc_2543_hold(bench: Bench, branch: str) -> None:
    invite = request(branch=branch)
    tx, callee = take(bench, invite)
    assert bench.layer.on_request(request(branch=branch), UDP) is None, "the same in all that counts"
    assert bench.layer.on_request(request(branch=branch, cseq=2), UDP) is not None
    assert bench.layer.on_request(request(branch=branch, call_id="other"), UDP) is not None
    tx.reply(486)
    bench.layer.on_request(request("ACK", branch=branch, to_tag="another-answer"), UDP)
    assert tx.state is State.COMPLETED, "the To tag must be that of our response"
    bench.layer.on_request(request("ACK", branch=branch, to_tag=tx.local_tag), UDP)
    assert (tx.state, callee.told) == (State.CONFIRMED, [])


def test_rfc_6026_the_ack_of_a_2543_client_to_a_2xx_goes_to_the_user(bench: Bench) -> None:
    tx, callee = take(bench, request(branch=""))
    tx.reply(200)
    bench.layer.on_request(request("ACK", branch="", to_tag=tx.local_tag), UDP)
    assert callee.told == ["ack"]


def test_a_2543_re_invite_is_acknowledged_by_its_dialogs_tag(bench: Bench) -> None:
    tx, _ = take(bench, request(branch="", to_tag="dialog", cseq=3))
    tx.reply(488)
    bench.layer.on_request(request("ACK", branch="", to_tag="dialog", cseq=3), UDP)
    assert tx.state is State.CONFIRMED


def test_a_2543_cancel_finds_its_invite(bench: Bench) -> None:
    _, callee = take(bench, request(branch=""))
    bench.layer.on_request(request("CANCEL", branch=""), UDP)
    assert callee.told == ["cancelled"]


def test_a_request_without_an_identity_is_a_parse_error_and_leaves_nothing(bench: Bench) -> None:
    for header, value in (("Via", "nonsense"), ("CSeq", "nonsense")):
        with pytest.raises(ParseError):
            bench.layer.on_request(request().with_(header, value), UDP)
    assert len(bench.layer) == 0


def test_T23_the_table_is_capped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench.layer), "MAX_SERVERS", 3)
    taken = [bench.layer.on_request(request("OPTIONS", call_id=f"{n}"), UDP) for n in range(5)]
    assert [tx is not None for tx in taken] == [True, True, True, False, False]
    assert bench.layer.dropped["request beyond the limit"] == 2
    assert taken[0] is not None
    bench.layer.flow_lost(UDP, "gone")
    assert bench.layer.on_request(request("OPTIONS", call_id="9"), UDP) is not None


# -- merged requests (8.2.2.2) ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_B11_the_same_request_by_another_way_is_482(bench: Bench, method: str) -> None:
    take(bench, request(method))
    assert bench.layer.on_request(request(method), UDP) is None
    assert codes(bench) == [482]


def test_B11_not_merged_are_the_next_cseq_another_method_a_dialogs_request_and_one_whose_twin_is_gone(
    bench: Bench,
) -> None:
    take(bench, request())
    assert bench.layer.on_request(request(cseq=2), UDP) is not None
    assert bench.layer.on_request(request("OPTIONS"), UDP) is not None
    assert bench.layer.on_request(request(to_tag="dialog"), UDP) is not None
    first, _ = take(bench, request("MESSAGE", call_id="m"), TCP)
    first.reply(200)
    assert bench.layer.on_request(request("MESSAGE", call_id="m"), TCP) is not None
    assert codes(bench) == [200]


@pytest.mark.parametrize("other", [{"from_tag": "another"}, {"call_id": "another"}])
def test_B11_who_shares_but_a_part_of_it_is_somebody_else(bench: Bench, other: dict[str, str]) -> None:
    take(bench, request())
    assert bench.layer.on_request(request(**other), UDP) is not None  # type: ignore[arg-type]
    assert codes(bench) == []


def test_a_third_way_is_482_too_although_the_second_is_over(bench: Bench) -> None:
    take(bench, request("MESSAGE", transport="TCP"), TCP)
    for _ in range(2):
        assert bench.layer.on_request(request("MESSAGE", transport="TCP"), TCP) is None
    assert codes(bench) == [482, 482]


# -- CANCEL (9.2) -------------------------------------------------------------------------------


def test_B09_a_cancel_is_answered_200_the_invite_487_and_both_have_one_to_tag(bench: Bench) -> None:
    invite = request()
    tx, callee = take(bench, invite)
    tx.reply(180)
    cancel = request("CANCEL", branch=invite.via.branch)
    assert bench.layer.on_request(cancel, UDP) is None
    assert callee.told == ["cancelled"]
    assert codes(bench) == [180, 200, 487]
    assert [message.cseq.method for _, _, message in bench.sent] == ["INVITE", "CANCEL", "INVITE"]
    assert {message.to.tag for _, _, message in bench.sent} == {tx.local_tag}
    assert bench.layer.on_request(cancel, UDP) is None
    assert (codes(bench), callee.told) == ([180, 200, 487, 200], ["cancelled"])


@pytest.mark.parametrize("final", [200, 486])
def test_a_cancel_after_the_final_response_changes_nothing(bench: Bench, final: int) -> None:
    invite = request()
    tx, callee = take(bench, invite)
    tx.reply(final)
    bench.layer.on_request(request("CANCEL", branch=invite.via.branch), UDP)
    assert (codes(bench), callee.told) == ([final, 200], [])


def test_B09_a_cancel_of_nothing_is_481(bench: Bench) -> None:
    cancel = request("CANCEL")
    assert bench.layer.on_request(cancel, UDP) is None
    assert bench.layer.on_request(cancel, UDP) is None
    assert codes(bench) == [481, 481]


def test_a_cancel_of_another_request_is_200_and_changes_nothing(bench: Bench) -> None:
    message = request("MESSAGE")
    tx, callee = take(bench, message)
    bench.layer.on_request(request("CANCEL", branch=message.via.branch), UDP)
    assert (codes(bench), callee.told, tx.state) == ([200], [], State.TRYING)


def test_a_cancel_of_a_merged_request_is_200(bench: Bench) -> None:
    take(bench, request())
    twin = request()
    bench.layer.on_request(twin, UDP)
    bench.layer.on_request(request("CANCEL", branch=twin.via.branch), UDP)
    assert codes(bench) == [482, 200]
