"""What the jitter buffer may cost on each kind of network: delay, packets lost to it, and how soon that is over.

The bounds are a little above what was measured, so that they bite; delay is counted from the network's least on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.media.codecs import choose
from sipcli.media.jitter import JitterBuffer, Nothing, Putting
from sipcli.media.receiver import RtpReceiver
from sipcli.media.rtp import RtpPacket, SourceStatistics
from tests.support.listening import agreed
from tests.support.networks import Network

FRAME = 0.02
LEAST_S = 0.03
Delay = Callable[[int], float | None]


def _packet(number: int, tick: int) -> RtpPacket:
    """*tick*: of the sender's clock, in which he may have been silent."""
    return RtpPacket(payload_type=0, sequence=number & 0xFFFF, timestamp=160 * tick & 0xFFFFFFFF, ssrc=1, payload=b"x")


@dataclass(frozen=True)
class Played:
    """*delays*: seconds that the packet of each beat had waited, None for a beat without one; *late* came too late."""

    delays: list[float | None]
    numbers: list[int]
    sent: int
    late: int
    dropped: int

    @property
    def mean_ms(self) -> float:
        heard = [delay for delay in self.delays if delay is not None]
        return 1000 * sum(heard) / len(heard)

    @property
    def worst_ms(self) -> float:
        return 1000 * max(delay for delay in self.delays if delay is not None)

    @property
    def gaps(self) -> int:
        """Beats without a packet."""
        return self.delays.count(None)

    def above(self, bound_ms: float, after_s: float) -> float:
        """For how many seconds after *after_s* a delay beyond *bound_ms* was still seen."""
        beats = [n for n, delay in enumerate(self.delays) if delay is not None and 1000 * delay > bound_ms]
        return max(0.0, max(beats, default=0) * FRAME - after_s)


def _play(
    delay: Delay,
    *,
    seconds: float = 60,
    ppm: float = 0,
    duplicates: float = 0,
    silent: Callable[[int], bool] = lambda n: False,
    first: int = 0,
) -> Played:
    """A sender every 20 ms, whose clock is *ppm* fast, and who sends nothing where *silent*; a player every 20 ms."""
    network: Network[tuple[int, RtpPacket]] = Network(delay, duplicates)
    buffer, source, period = JitterBuffer(), SourceStatistics(1, first), FRAME * (1 - ppm * 1e-6)
    born: list[float] = []
    waiting: dict[int, int] = {}
    delays: list[float | None] = []
    numbers: list[int] = []
    tick = 0
    for beat in range(int(seconds / FRAME)):
        now = 0.007 + beat * FRAME
        while tick * period <= now:
            if not silent(tick):
                network.send((len(born), _packet(first + len(born), tick)), tick * period)
                born.append(tick * period)
            tick += 1
        for when, (number, packet) in network.arrivals(now):
            extended = source.update(packet, when)
            assert extended is not None
            waiting[packet.sequence] = number
            buffer.put(extended, packet, when, source.jitter_s)
        taken = buffer.take(now)
        if isinstance(taken, RtpPacket):
            numbers.append(waiting[taken.sequence])
            delays.append(now - born[numbers[-1]] - LEAST_S)
        elif numbers:
            delays.append(None)
    assert numbers == sorted(set(numbers))
    return Played(delays, numbers, len(born), buffer.late, buffer.dropped)


def _uniform(span_s: float, seed: int = 5) -> Delay:
    source = random.Random(seed)
    return lambda _: LEAST_S + source.uniform(0, span_s)


def _sometimes(share: float, extra_s: float, seed: int = 6) -> Delay:
    source = random.Random(seed)
    return lambda _: LEAST_S + (extra_s if source.random() < share else 0)


@pytest.mark.parametrize(
    ("delay", "mean_ms", "worst_ms", "gaps", "late"),
    [
        pytest.param(lambda _: LEAST_S, 40, 40, 0, 0, id="constant"),
        pytest.param(_uniform(0.02), 60, 60, 1, 0, id="uniform 20 ms"),
        pytest.param(_uniform(0.04), 60, 80, 3, 3, id="uniform 40 ms"),
        pytest.param(_uniform(0.08), 100, 120, 6, 6, id="uniform 80 ms"),
        pytest.param(_sometimes(0.10, 0.025), 40, 60, 2, 0, id="a tenth overtaken by one"),
        pytest.param(_sometimes(0.05, 0.045), 60, 80, 20, 20, id="a twentieth overtaken by two"),
        # Not worth 150 ms of everybody's delay: what is late by that much is lost, and nothing else is.
        pytest.param(_sometimes(0.01, 0.15), 42, 60, 40, 40, id="spikes of 150 ms, one in a hundred"),
        # A queue that fills every five seconds, and empties: each packet comes, the later the nearer to its beginning.
        pytest.param(lambda n: LEAST_S + max(0, 0.15 - n % 250 * 0.02), 145, 200, 45, 3, id="a queue"),
    ],
)
def test_E05_what_a_network_costs(delay: Delay, mean_ms: float, worst_ms: float, gaps: int, late: int) -> None:
    played = _play(delay)
    assert played.mean_ms <= mean_ms, played.mean_ms
    assert played.worst_ms <= worst_ms, played.worst_ms
    assert played.gaps <= gaps, played.gaps
    assert played.late <= late, played.late


@pytest.mark.parametrize("phase_ms", range(0, 20, 2))
def test_E05_a_good_network_is_left_alone_wherever_the_beat_falls(phase_ms: int) -> None:
    """Fails where the review counts packets: two lie between 40 and 50 ms of delay, and one of them was left out."""
    played = _play(lambda _: LEAST_S + phase_ms / 1000)
    assert (played.gaps, played.late, played.dropped) == (0, 0, 0)
    assert played.worst_ms - phase_ms < 50.1


@pytest.mark.slow
@pytest.mark.parametrize("span_s", [0.0, 0.005])
@pytest.mark.parametrize("ppm", [-200, 200])
def test_E05_an_hour_between_clocks_that_differ(ppm: int, span_s: float) -> None:
    """720 ms apart in the end: 36 packets too few, or too many, and one is made up or left out for each."""
    _check_drift(_play(_uniform(span_s), seconds=3600, ppm=ppm), 36)


@pytest.mark.parametrize("ppm", [-200, 200])
def test_E05_some_minutes_between_clocks_that_differ(ppm: int) -> None:
    _check_drift(_play(_uniform(0.005), seconds=600, ppm=ppm), 6)


def _check_drift(played: Played, packets: int) -> None:
    assert played.mean_ms <= 48
    assert played.worst_ms <= 65
    assert played.gaps + played.dropped <= packets + 2
    assert played.late == 0


@pytest.mark.parametrize(
    ("delay", "over_s", "within_s"),
    [
        # Three seconds in which nothing comes, and then all of it at once: what is too much is halved every 2 s.
        pytest.param(lambda n: LEAST_S + max(0.0, 23 - n * FRAME) * (n >= 1000), 23, 13, id="a stall of 3 s"),
        pytest.param(lambda n: None if 1000 <= n < 1150 else LEAST_S, 23, 0, id="3 s that are lost"),
        pytest.param(lambda n: _SPELL(n) if 1000 <= n < 2000 else LEAST_S, 40, 9, id="20 s of jitter"),
        pytest.param(lambda n: LEAST_S + 0.08 * (n < 1000), 20, 7, id="a route that becomes shorter"),
    ],
)
def test_E05_what_is_over_is_forgotten(delay: Delay, over_s: float, within_s: float) -> None:
    """The delay is what it was in the beginning, and stays there.  It was 40 ms above that once, for ever."""
    played = _play(delay)
    assert played.above(40, over_s) <= within_s, played.above(40, over_s)
    assert not any(gap is None for gap in played.delays[-500:])


_SPELL = _uniform(0.12)


def test_E05_pauses_that_are_not_sent_cost_nothing() -> None:
    """Three seconds of voice, three of one packet every 420 ms: each is played once, with the delay of the first."""
    played = _play(lambda _: LEAST_S, silent=lambda n: n % 300 > 150 and n % 21 != 0)
    assert len(played.numbers) >= played.sent - 2
    assert played.worst_ms <= 40
    assert (played.late, played.dropped) == (0, 0)


@pytest.mark.parametrize("first", [0xFFFF - 500, 0xFFFF - 2999, 0xFFFF])
def test_E05_sequence_numbers_that_wrap_are_not_noticed(first: int) -> None:
    steady = _play(_uniform(0.04))
    assert _play(_uniform(0.04), first=first) == steady


def test_E05_packets_that_come_twice_cost_nothing() -> None:
    single, double = _play(_uniform(0.04)), _play(_uniform(0.04), duplicates=1.0)
    assert double.numbers[-1] >= single.numbers[-1] - 1
    assert (double.late, double.dropped) == (0, 0)
    assert double.mean_ms <= single.mean_ms + 1


def test_E05_another_source_in_the_middle_costs_60_ms_of_sound() -> None:
    """A transfer behind an SBC: another SSRC and other numbers, without a pause.  Its first packet is not believed."""
    [codec] = choose(["L16"])
    receiver, agreement = RtpReceiver(), agreed("L16")
    receiver.configure(agreement)
    [kind] = [number for number, known in agreement.receive_types.items() if known == codec]
    loud, heard = b"\x40\x00" * codec.frame, []
    for n in range(200):
        ssrc, sequence = (1, n) if n < 100 else (2, 40_000 + n)
        packet = RtpPacket(payload_type=kind, sequence=sequence, timestamp=codec.ticks * n, ssrc=ssrc, payload=loud)
        receiver.receive(packet, n * FRAME)
        heard.append(receiver.play(n * FRAME + 0.007) == b"\x00\x40" * codec.frame)
    assert all(heard[3:100])
    assert heard[98:110].count(False) <= 5
    assert all(heard[106:])


# -- whatever comes -----------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.floats(0, 0.4), st.sampled_from([0, 0, 0, 0, 1, 2]), st.booleans()), min_size=1, max_size=120
    ),
    st.integers(0, 0xFFFF),
)
def test_E05_on_any_network_order_is_kept_and_no_packet_is_played_twice_or_forgotten(
    fates: list[tuple[float, int, bool]], first: int
) -> None:
    """Each packet has a delay, copies that come a little later, and may be lost."""
    arrivals = sorted(
        (n * FRAME + delay + 0.01 * copy, n)
        for n, (delay, copies, lost) in enumerate(fates)
        for copy in range(copies + 1)
        if not lost
    )
    buffer, played, kept = JitterBuffer(), [], 0
    for beat in range(len(fates) + 60):
        now = beat * FRAME
        while arrivals and arrivals[0][0] <= now:
            when, number = arrivals.pop(0)
            # Extended numbers grow beyond 16 bits; the buffer counts with nothing else.
            kept += buffer.put(first + number, _packet(first + number, number), when, 0.01) is Putting.KEPT
        taken = buffer.take(now)
        assert len(buffer) <= 51
        if isinstance(taken, RtpPacket):
            played.append(taken.sequence - first & 0xFFFF)
        else:
            assert taken in (Nothing.LOST, Nothing.EMPTY)
    assert played == sorted(set(played))
    assert len(played) == kept - buffer.dropped
    assert len(buffer) == 0
