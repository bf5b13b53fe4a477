"""Lost packets, per codec: how what is played in their place compares with silence, and with the last packet again.

Run as a program, it prints the table of docs/media.md.
"""

from __future__ import annotations

from array import array
from functools import cache
from typing import Any

import pytest

from sipcli.media.codecs import choose
from sipcli.media.conceal import Concealer
from sipcli.media.tone import pcm_of, rms, samples_of
from tests.support.listening import Damage, damage, lost_packets, played, replaced, spoken
from tests.support.real import require

CODECS = ("PCMU", "PCMA", "G722", "OPUS", "L16")
SECONDS = 30
NETWORKS = [(share, burst) for burst in (1, 3) for share in (1, 5, 10, 20)]
"""Per cent, and how many in a row."""


@cache
def _true(name: str, expected_loss: int) -> Any:
    [codec] = choose([name])
    payloads = spoken(name, SECONDS, expected_loss=expected_loss)
    return played(codec, payloads, [False] * len(payloads))


def _heard(name: str, share: int, burst: int, *, protected: bool = False) -> tuple[Damage, Damage, Damage]:
    """Of what we play, of silence in its place, of the last packet once more."""
    [codec] = choose([name])
    expected = share if protected else 0
    payloads, true = spoken(name, SECONDS, expected_loss=expected), _true(name, expected)
    lost = lost_packets(len(payloads), share / 100, burst)
    ways = (
        played(codec, payloads, lost),
        replaced(codec, payloads, lost, lambda last: bytes(len(last))),
        replaced(codec, payloads, lost, lambda last: last),
    )
    ours, silence, again = (damage(true, way, lost, codec.frame) for way in ways)
    return ours, silence, again


@pytest.mark.parametrize(
    ("share", "burst"),
    [pytest.param(*network, marks=[] if network[0] == 10 else [pytest.mark.slow]) for network in NETWORKS],
)
@pytest.mark.parametrize("name", CODECS)
def test_a_loss_is_heard_less_than_silence_or_the_last_packet_again(name: str, share: int, burst: int) -> None:
    require("opus")
    ours, silence, again = _heard(name, share, burst)
    if burst == 1:
        assert ours.snr_db > silence.snr_db
        assert ours.snr_db > again.snr_db + 2
        assert ours.spectrum_db < silence.spectrum_db - 1.5
        assert ours.spectrum_db < again.spectrum_db - 0.9
    else:
        # After 60 ms there is silence; the last packet again would be nearer to a voice that went on, and buzz.
        assert ours.snr_db > silence.snr_db - 2
        assert ours.snr_db > again.snr_db + 1
        assert ours.spectrum_db < silence.spectrum_db - 3
        assert ours.spectrum_db < again.spectrum_db + 1


@pytest.mark.parametrize("share", [5, 10, 20])
def test_the_copy_in_the_next_packet_is_better_than_a_guess(share: int) -> None:
    """Opus in-band FEC, for single losses: what comes back is the packet itself, in less detail."""
    require("opus")
    guessed, *_ = _heard("OPUS", share, 1)
    restored, *_ = _heard("OPUS", share, 1, protected=True)
    assert restored.snr_db > guessed.snr_db + 6
    assert restored.spectrum_db < 0.6 * guessed.spectrum_db
    plain, protected = (sum(map(len, spoken("OPUS", SECONDS, expected_loss=n))) for n in (0, share))
    assert protected < 1.1 * plain  # it is paid for in quality, not in octets


def test_a_loss_soon_after_another_is_concealed_as_well_as_the_first() -> None:
    """Fails where what was invented is left out of the history: the pitch is then looked for across the hole."""
    period = 99
    buzz = array("h", (int(12000 * (n % period) / period) - 6000 for n in range(8 * 160)))
    frames = [pcm_of(buzz[at : at + 160]) for at in range(0, len(buzz), 160)]
    concealer = Concealer()
    for frame in frames[:4]:
        concealer.heard(frame)
    errors = []
    for n in (4, 6):
        true, invented = samples_of(frames[n])[:80], samples_of(concealer.lost())[:80]
        errors.append(rms(pcm_of(array("h", (a - b for a, b in zip(true, invented, strict=True))))))
        concealer.heard(frames[n + 1])
    assert max(errors) < 0.1 * rms(frames[4])


if __name__ == "__main__":
    print("| loss | in runs of | " + " | ".join(CODECS) + " | Opus with FEC |")
    print("|---|---|" + "---|" * (len(CODECS) + 1))
    for share, burst in NETWORKS:
        heard = (_heard(name, share, burst) for name in CODECS)
        cells = [" / ".join(f"{one.snr_db:.0f}, {one.spectrum_db:.1f}" for one in ways) for ways in heard]
        protected, *_ = _heard("OPUS", share, burst, protected=True)
        print(f"| {share} % | {burst} | {' | '.join(cells)} | {protected.snr_db:.0f}, {protected.spectrum_db:.1f} |")
