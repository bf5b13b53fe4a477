"""The jitter buffer on simulated networks, on a stepped clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sipcli.media.jitter import JitterBuffer, Nothing, Putting
from sipcli.media.rtp import RtpPacket, SourceStatistics
from tests.support.networks import Network, jittery, lossy, steady

FRAME = 0.02


def _packet(sequence: int) -> RtpPacket:
    return RtpPacket(payload_type=0, sequence=sequence & 0xFFFF, timestamp=160 * sequence, ssrc=1, payload=bytes(160))


@dataclass
class Playout:
    """What a listener got: the sequence numbers played, None for each frame that had to be filled."""

    buffer: JitterBuffer
    played: list[int | None] = field(default_factory=list)
    deepest: int = 0

    @property
    def heard(self) -> list[int]:
        return [sequence for sequence in self.played if sequence is not None]

    @property
    def filled(self) -> int:
        """Frames without a packet between the first and the last that had one."""
        first = self.played.index(self.heard[0])
        last = len(self.played) - self.played[::-1].index(self.heard[-1])
        return self.played[first:last].count(None)


def _run(
    delay: Callable[[int], float | None],
    *,
    seconds: float = 20.0,
    duplicates: float = 0.0,
    sender_ppm: float = 0.0,
    offset: float = 0.007,
) -> Playout:
    """A sender every 20 ms (its clock off by *sender_ppm*), a network, a player every 20 ms."""
    network: Network[RtpPacket] = Network(delay, duplicates)
    playout = Playout(JitterBuffer())
    source = SourceStatistics(1, 0)
    sent = 0
    for beat in range(int(seconds / FRAME)):
        now = offset + beat * FRAME
        while sent * FRAME * (1 + sender_ppm * 1e-6) <= now:
            network.send(_packet(sent), sent * FRAME * (1 + sender_ppm * 1e-6))
            sent += 1
        for when, packet in network.arrivals(now):
            extended = source.update(packet, when)
            assert extended is not None
            playout.buffer.put(extended, packet, when, source.jitter_s)
        playout.deepest = max(playout.deepest, len(playout.buffer))
        taken = playout.buffer.take(now)
        playout.played.append(taken.sequence if isinstance(taken, RtpPacket) else None)
    return playout


def test_a_good_network_costs_the_least_delay_and_nothing_else() -> None:
    playout = _run(steady(0.03))
    heard = playout.heard
    assert heard == list(range(heard[-1] + 1))
    assert playout.filled == 0
    assert playout.buffer.delay_s <= 0.06
    assert (playout.buffer.late, playout.buffer.dropped) == (0, 0)


def test_jitter_is_evened_out() -> None:
    """0 to 60 ms: packets overtake each other, and nearly all are played, in order."""
    playout = _run(jittery(0.02, 0.08))
    heard = playout.heard
    assert heard == sorted(set(heard))
    assert len(heard) / len(playout.played) > 0.97
    assert 0.04 < playout.buffer.target_s <= 0.2


def test_the_delay_returns_when_the_network_calms_down() -> None:
    rough = jittery(0.02, 0.12)
    playout = _run(lambda n: rough(n) if n < 500 else 0.02, seconds=60)
    assert playout.buffer.dropped > 0
    assert playout.buffer.delay_s < 0.08
    # Calm again, nothing is filled or dropped any more.
    assert None not in playout.played[-500:]


def test_losses_are_named_not_waited_for() -> None:
    playout = _run(lossy(0.03, 0.05))
    heard = playout.heard
    assert heard == sorted(set(heard))
    missing = heard[-1] + 1 - len(heard)
    assert 20 < missing < 90
    assert playout.filled == pytest.approx(missing, abs=5)
    assert playout.buffer.late == 0


def test_a_burst_of_loss_is_not_concealed_for_ever() -> None:
    playout = _run(lambda n: None if 300 <= n < 450 else 0.03)
    assert set(playout.heard) == {n for n in range(playout.heard[-1] + 1) if not 300 <= n < 450}
    assert 140 <= playout.filled <= 165


def test_duplicates_are_played_once() -> None:
    playout = _run(steady(0.03), duplicates=0.5)
    assert playout.heard == sorted(set(playout.heard))
    assert playout.buffer.duplicates > 300
    assert playout.buffer.late == 0


@pytest.mark.parametrize("ppm", [-2000, 2000])
def test_a_peer_whose_clock_is_wrong_does_no_harm(ppm: int) -> None:
    """0.2 % over two minutes is 240 ms: more than any delay this buffer may have."""
    playout = _run(steady(0.03), seconds=120, sender_ppm=ppm)
    assert playout.buffer.delay_s < 0.12
    assert playout.deepest < 10
    assert len(playout.heard) / len(playout.played) > 0.99


def test_a_flood_is_bounded() -> None:
    buffer = JitterBuffer()
    for n in range(10_000):
        buffer.put(n, _packet(n), 0.0, 0.0)
        assert len(buffer) <= 51
    assert buffer.dropped > 9000
    taken = buffer.take(1.0)
    assert isinstance(taken, RtpPacket)


def test_late_is_told_from_duplicate() -> None:
    buffer = JitterBuffer()
    for n in (0, 1, 2, 4, 5, 6):
        assert buffer.put(n, _packet(n), 0.02 * n, 0.0) is Putting.KEPT
    taken = [buffer.take(0.12 + 0.02 * n) for n in range(5)]
    assert [item.sequence if isinstance(item, RtpPacket) else item for item in taken] == [0, 1, 2, Nothing.LOST, 4]
    assert buffer.put(3, _packet(3), 0.25, 0.0) is Putting.LATE
    assert buffer.put(2, _packet(2), 0.25, 0.0) is Putting.DUPLICATE
    assert buffer.put(5, _packet(5), 0.25, 0.0) is Putting.DUPLICATE
    assert (buffer.late, buffer.duplicates) == (1, 2)


@pytest.mark.parametrize(("gap", "lost"), [(7, 7), (10, 10), (11, 0), (1000, 0)])
def test_a_gap_keeps_its_length_unless_the_peer_has_jumped(gap: int, lost: int) -> None:
    buffer = JitterBuffer()
    for n in (0, 1, *range(2 + gap, 6 + gap)):
        buffer.put(n, _packet(n), 0.0, 0.0)
    taken = [buffer.take(1.0 + 0.02 * n) for n in range(6 + lost)]
    assert taken.count(Nothing.LOST) == lost
    assert [item.sequence for item in taken if isinstance(item, RtpPacket)] == [0, 1, *range(2 + gap, 6 + gap)]


def test_it_waits_at_first_and_after_a_pause() -> None:
    buffer = JitterBuffer()
    assert buffer.take(0.0) is Nothing.EMPTY
    buffer.put(10, _packet(10), 1.0, 0.0)
    assert buffer.take(1.01) is Nothing.EMPTY
    assert not buffer.playing
    assert isinstance(buffer.take(1.04), RtpPacket)
    assert buffer.playing
    for n in range(6):
        assert buffer.take(1.06 + 0.02 * n) is Nothing.EMPTY
    assert not buffer.playing
    # A peer that was silent for a second goes on with the next number.
    buffer.put(11, _packet(11), 2.0, 0.0)
    assert buffer.take(2.0) is Nothing.EMPTY
    taken = buffer.take(2.04)
    assert isinstance(taken, RtpPacket)
    assert taken.sequence == 11


def test_a_new_source_starts_afresh() -> None:
    buffer = JitterBuffer()
    for n in range(500, 503):
        buffer.put(n, _packet(n), 0.0, 0.0)
    assert isinstance(buffer.take(1.0), RtpPacket)
    buffer.reset()
    buffer.put(3, _packet(3), 1.0, 0.0)
    taken = buffer.take(1.04)
    assert isinstance(taken, RtpPacket)
    assert taken.sequence == 3
