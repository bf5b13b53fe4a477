"""ICE in offers and answers: with whom, from when, until when (RFC 8839 section 4)."""

from __future__ import annotations

import itertools

import pytest

from sipcli.errors import MediaFailed
from sipcli.media.agreement import Agreement
from sipcli.media.candidates import Candidate, LocalIce, Selected, priority_of
from sipcli.media.offer import Negotiator

A, B = "192.0.2.5", "198.51.100.7"


def _side(host: str, *, ice: bool = True, required: bool = False) -> Negotiator:
    numbers = itertools.count(ord(host[-1]))

    def random(size: int) -> bytes:
        return bytes([next(numbers) % 256]) * size

    negotiator = Negotiator(rtp=(host, 4000), session_id=7, codecs=("PCMU",), random=random)
    if ice:
        candidates = [Candidate("1", part, priority_of("host", part), host, 3999 + part, "host") for part in (1, 2)]
        negotiator.ice.local = LocalIce.new(candidates, random)
        negotiator.ice.required = required
    return negotiator


def _meet(asks: Negotiator, answers: Negotiator, old: str = "", new: str = "") -> tuple[Agreement, Agreement]:
    """*old* → *new*: what somebody on the way does to the offer."""
    offer = asks.offer()
    assert old.encode() in offer
    answer = answers.answer(offer.replace(old.encode(), new.encode()))
    ours = asks.accept_answer(answer)
    assert answers.agreement is not None
    return ours, answers.agreement


def test_E04_both_do_ice_with_one_component_because_both_mux() -> None:
    a, b = _side(A), _side(B)
    offer = a.offer()
    assert offer.count(b"a=candidate:") == 2
    answer = b.answer(offer)
    assert answer.count(b"a=candidate:") == 1
    ours, theirs = a.accept_answer(answer), b.agreement
    assert theirs is not None
    assert ours.ice is not None and theirs.ice is not None
    assert {c.component for c in (*ours.ice.candidates, *theirs.ice.candidates)} == {1}
    assert b.ice.local is not None and ours.ice.ufrag == b.ice.local.ufrag


def test_E04_without_mux_rtcp_has_its_own_component() -> None:
    a, b = _side(A), _side(B)
    ours, theirs = _meet(a, b, "a=rtcp-mux\r\n", "")
    assert ours.ice is not None and theirs.ice is not None
    assert {c.component for c in ours.ice.candidates} == {c.component for c in theirs.ice.candidates} == {1, 2}


@pytest.mark.parametrize("ice", ["asks", "answers"])
def test_E04_with_a_peer_that_does_none_it_is_plain_and_stays_plain(ice: str) -> None:
    a, b = _side(A, ice=ice == "asks"), _side(B, ice=ice == "answers")
    assert [side.ice for side in _meet(a, b)] == [None, None]
    for offer in (a.offer(), b.offer()):
        assert b"ice-" not in offer and b"candidate" not in offer


@pytest.mark.parametrize("who", ["asks", "answers"])
def test_E04_who_insists_gets_488_from_a_peer_that_does_none(who: str) -> None:
    a, b = _side(A, ice=who == "asks", required=True), _side(B, ice=who == "answers", required=True)
    with pytest.raises(MediaFailed, match="does no ICE, and we insist") as caught:
        _meet(a, b)
    assert caught.value.code == 488


def test_E04_rewritten_on_the_way_it_is_plain_and_the_other_side_learns_why() -> None:
    """RFC 8839 section 4.2.5: ``a=ice-mismatch`` and nothing else of ICE."""
    a, b = _side(A), _side(B)
    offer = a.offer().replace(f"c=IN IP4 {A}".encode(), b"c=IN IP4 203.0.113.9")
    answer = b.answer(offer)
    assert b"a=ice-mismatch\r\n" in answer and b"candidate" not in answer and b"ice-pwd" not in answer
    assert b.agreement is not None and b.agreement.ice is None
    assert b.agreement.remote == ("203.0.113.9", 4000)
    assert a.accept_answer(answer).ice is None
    assert b"candidate" not in a.offer()


@pytest.mark.parametrize("insists", ["asks", "answers"])
def test_E04_rewritten_on_the_way_and_required_is_488(insists: str) -> None:
    a, b = _side(A, required=insists == "asks"), _side(B, required=insists == "answers")
    with pytest.raises(MediaFailed, match=r"rewr.*and we insist on it"):
        _meet(a, b, f"c=IN IP4 {A}", "c=IN IP4 203.0.113.9")


def test_E04_hold_and_resume_keep_it() -> None:
    a, b = _side(A), _side(B)
    first = _meet(a, b)
    a.hold = True
    held = _meet(a, b)
    a.hold = False
    assert [side.ice for side in first] == [side.ice for side in held] == [side.ice for side in _meet(a, b)]


def test_E04_a_restart_is_answered_by_one() -> None:
    a, b = _side(A), _side(B)
    ours, theirs = _meet(a, b)
    a.ice.restart()
    again = _meet(a, b)
    assert ours.ice is not None and theirs.ice is not None
    for before, after in zip((ours.ice, theirs.ice), again, strict=True):
        assert after.ice is not None
        assert after.ice.ufrag != before.ufrag and after.ice.pwd != before.pwd


def test_E04_an_offer_that_is_refused_has_restarted_nothing() -> None:
    """RFC 8839 section 4.4: ICE goes on as if it had never been made."""
    a, b = _side(A), _side(B)
    _meet(a, b)
    before = a.ice.local
    a.ice.restart()
    a.offer()
    a.withdraw()
    assert a.ice.local == before


def test_E04_the_selected_pair_is_the_default_of_later_offers() -> None:
    a, b = _side(A), _side(B)
    ours, _ = _meet(a, b)
    assert ours.ice is not None
    relayed = Candidate("9", 1, 1, "203.0.113.50", 7777, "relay")
    a.ice.select([Selected(relayed, ours.ice.candidates[0])], controlling=True, tell=True)
    assert a.ice.update_due
    offer = a.offer()
    assert b"c=IN IP4 203.0.113.50\r\n" in offer and b"m=audio 7777 " in offer
    assert offer.count(b"a=candidate:") == 1
    assert f"a=remote-candidates:1 {B} 4000\r\n".encode() in offer
    again = a.accept_answer(b.answer(offer))
    assert again.ice is not None and again.ice.ufrag == ours.ice.ufrag


def test_E04_no_later_offer_is_due_where_the_sdp_says_it_already_or_the_peer_need_not_know() -> None:
    a, b = _side(A), _side(B)
    ours, _ = _meet(a, b)
    assert a.ice.local is not None and ours.ice is not None
    own = Selected(a.ice.local.candidates[0], ours.ice.candidates[0])
    a.ice.select([own], controlling=True, tell=True)
    assert not a.ice.update_due
    other = Selected(Candidate("9", 1, 1, "203.0.113.50", 7777, "relay"), own.remote)
    a.ice.select([other], controlling=True, tell=False)
    assert not a.ice.update_due


def test_E04_a_lite_peer_is_recognised() -> None:
    a, b = _side(A), _side(B)
    _, theirs = _meet(a, b, "t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n")
    assert theirs.ice is not None and theirs.ice.lite


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(("c=IN IP4 192.0.2.5", "c=IN IP4 203.0.113.9"), id="rewritten"),
        pytest.param(("a=candidate:", "a=x-candidate:"), id="no candidates"),
    ],
)
def test_E04_once_there_is_a_path_the_same_credentials_are_enough(changed: tuple[str, str]) -> None:
    """A later offer that an ALG saw, or of a phone that repeats its credentials alone, does not end ICE."""
    a, b = _side(A), _side(B)
    _, first = _meet(a, b)
    old, new = changed
    offer = a.offer()
    assert old.encode() in offer
    b.answer(offer.replace(old.encode(), new.encode()))
    assert b.agreement is not None and b.agreement.ice == first.ice
