"""Whose packets are believed (T21)."""

from __future__ import annotations

from sipcli.media.latch import SourceLatch

PEER, NAT, STRANGER = ("192.0.2.9", 6000), ("198.51.100.1", 40000), ("203.0.113.66", 6000)


def _latch() -> SourceLatch:
    latch = SourceLatch()
    latch.negotiate(PEER)
    return latch


def test_the_negotiated_address_is_believed_at_once() -> None:
    latch = _latch()
    assert latch.destination == PEER
    assert latch.accepts(PEER, 1)
    assert latch.locked == PEER
    assert not latch.learnt


def test_T21_once_locked_a_stranger_is_never_heard() -> None:
    latch = _latch()
    latch.accepts(PEER, 1)
    assert not any(latch.accepts(STRANGER, 1) for _ in range(1000))
    assert latch.strangers == 1000
    assert latch.destination == PEER


def test_T21_behind_a_nat_the_third_packet_teaches() -> None:
    latch = _latch()
    assert [latch.accepts(NAT, 5) for _ in range(4)] == [False, False, True, True]
    assert latch.learnt
    assert latch.destination == NAT
    assert not any(latch.accepts(STRANGER, 5) for _ in range(10))


def test_T21_mixed_sources_and_mixed_ssrcs_teach_nothing() -> None:
    latch = _latch()
    assert not any(latch.accepts(source, 5) for source in (NAT, STRANGER) * 10)
    assert not any(latch.accepts(NAT, ssrc) for ssrc in range(20))
    assert latch.locked is None
    assert latch.destination == PEER


def test_the_negotiated_address_takes_over_from_whoever_was_first() -> None:
    latch = _latch()
    assert [latch.accepts(STRANGER, 5) for _ in range(3)][-1]
    assert latch.accepts(PEER, 1)
    assert latch.destination == PEER
    assert not latch.accepts(STRANGER, 5)


def test_a_new_address_is_a_new_lesson_and_the_same_one_is_not() -> None:
    latch = _latch()
    for _ in range(3):
        latch.accepts(NAT, 5)
    latch.negotiate(PEER)
    assert latch.destination == NAT
    moved = ("192.0.2.10", 7000)
    latch.negotiate(moved)
    assert latch.destination == moved
    assert not latch.accepts(NAT, 5)


def test_T21_before_the_negotiation_nobody_is_believed() -> None:
    latch = SourceLatch()
    assert not any(latch.accepts(STRANGER, 5) for _ in range(10))
    assert latch.destination is None


def test_a_host_name_leaves_it_to_the_packets() -> None:
    latch = SourceLatch()
    latch.negotiate(None)
    assert [latch.accepts(NAT, 5) for _ in range(3)] == [False, False, True]
    latch.negotiate(None)
    assert latch.destination == NAT


def test_nothing_is_learnt_while_nothing_is_expected() -> None:
    latch = _latch()
    assert not any(latch.accepts(STRANGER, 5, learn=False) for _ in range(10))
    assert latch.accepts(PEER, 1, learn=False)
