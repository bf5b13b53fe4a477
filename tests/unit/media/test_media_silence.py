"""Silence that is not sent: comfort noise (RFC 3389) and Opus in discontinuous transmission, as they are heard."""

from __future__ import annotations

import random
from itertools import pairwise
from math import log10

import numpy as np
import pytest

from sipcli.media.codecs import choose, make_encoder
from sipcli.media.comfort import ComfortNoise
from sipcli.media.receiver import RtpReceiver
from sipcli.media.rtp import RtpPacket
from sipcli.media.suppress import SilenceSuppressor
from sipcli.media.tone import Oscillator, rms, samples_of
from tests.support.listening import agreed
from tests.support.real import require
from tests.support.room import voice


def _dbov(pcm: bytes) -> float:
    """Against the loudest square wave, as RFC 3389 section 3.1 counts."""
    return 20 * log10(rms(pcm) / 32768 + 1e-9)


# -- comfort noise ------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("level", [20, 40, 50, 65, 78])
def test_the_noise_is_as_loud_as_they_say(level: int, rate: int) -> None:
    noise = ComfortNoise.parse(bytes([level]), rate)
    frames = [noise.read() for _ in range(100)]
    assert {len(frame) for frame in frames} == {2 * rate // 50}
    # Below -75 dBov a sample is -5 to 5.
    assert _dbov(b"".join(frames)) == pytest.approx(-level, abs=0.5 if level < 70 else 2)
    assert all(abs(_dbov(frame) + level) < 4 for frame in frames)


def test_no_noise_at_all_is_silence() -> None:
    assert not any(ComfortNoise.parse(b"", 8000).read())
    assert not any(ComfortNoise.parse(b"\x7f", 8000).read())


def test_the_noise_does_not_come_round_again() -> None:
    """Half a second of it over and over is heard as a beat of 2 Hz."""
    noise = ComfortNoise(40, 8000)
    samples = np.frombuffer(b"".join(noise.read() for _ in range(200)), "<i2").astype(float)
    power = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)[: len(samples)]
    assert np.abs(power[1:]).max() < 0.2 * power[0]


class _G711Peer:
    """Speaks PCMU at 20 ms a packet, and comfort noise (payload type 13)."""

    def __init__(self) -> None:
        [codec] = choose(["PCMU"])
        self._encoder = make_encoder(codec, {})
        self.receiver = RtpReceiver()
        self.receiver.configure(agreed("PCMU"))
        self._sequence = self._beat = 0

    def say(self, pcm: bytes | None, noise: int | None = None) -> bytes:
        """One beat: a voice, a noise level, or nothing; what is heard on it."""
        if pcm is not None or noise is not None:
            payload = self._encoder.encode(pcm) if pcm is not None else bytes([noise or 0])
            packet = RtpPacket(
                payload_type=0 if pcm is not None else 13,
                sequence=self._sequence,
                timestamp=160 * self._beat,
                ssrc=1,
                payload=payload,
            )
            self._sequence += 1
            self.receiver.receive(packet, 0.02 * self._beat)
        self._beat += 1
        return self.receiver.play(0.02 * self._beat - 0.013)


def test_between_voice_and_noise_there_is_no_click() -> None:
    """A voice that ends at its loudest: fails without `goes_on` in `RtpReceiver`, by a step of 8000 and more."""
    peer, tone = _G711Peer(), Oscillator(107, level_dbfs=-10)
    heard = b""
    for _ in range(3):
        for _ in range(20):
            heard += peer.say(tone.read(160))
        heard += peer.say(None, noise=55)
        for _ in range(29):
            heard += peer.say(None)
    samples = samples_of(heard)
    # A tone of 107 Hz moves by 900 from sample to sample, at most.
    assert max(abs(b - a) for a, b in pairwise(samples)) < 1500


def test_noise_is_there_until_the_voice_is() -> None:
    peer, tone = _G711Peer(), Oscillator(440)
    for _ in range(20):
        peer.say(tone.read(160))
    peer.say(None, noise=50)
    levels = [_dbov(peer.say(None)) for _ in range(150)][5:]
    assert all(level == pytest.approx(-50, abs=3) for level in levels)


# -- Opus ---------------------------------------------------------------------------------


def _with_pauses(noise_rms: float) -> list[bytes]:
    """Two seconds of a voice, four of nothing but the room, two of the voice; 48 kHz, 20 ms each."""
    said = 0.8 * voice(8, 48000, pitch=120, seed=3)
    said[2 * 48000 : 6 * 48000] = 0
    said += np.random.default_rng(1).normal(0, noise_rms, len(said))
    pcm = said.round().clip(-32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + 1920] for at in range(0, len(pcm) - 1919, 1920)]


def _dtx(frames: list[bytes], *, lost: float = 0.0, until: int | None = None) -> tuple[list[bytes], int]:
    """What is heard of an Opus peer in discontinuous transmission, and how many packets he sent."""
    [codec] = choose(["OPUS"])
    encoder, receiver, source = make_encoder(codec, {"usedtx": "1"}), RtpReceiver(), random.Random(2)
    receiver.configure(agreed("OPUS"))
    heard, sequence = [], 0
    for n, frame in enumerate(frames):
        payload = encoder.encode(frame)
        if payload and (until is None or n < until):
            packet = RtpPacket(payload_type=96, sequence=sequence, timestamp=960 * n, ssrc=1, payload=payload)
            sequence += 1
            if source.random() >= lost:
                receiver.receive(packet, 0.02 * n)
        heard.append(receiver.play(0.02 * n + 0.007))
    return heard, sequence


@pytest.mark.parametrize("noise_rms", [10, 20, 60])
@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_a_pause_that_opus_does_not_send_sounds_like_the_room(noise_rms: float, lost: float) -> None:
    """It was the room for 100 ms, and a dead line for the next 300, over and over: fails without
    `RtpReceiver._rests`."""
    require("opus")
    frames = _with_pauses(noise_rms)
    heard, sent = _dtx(frames, lost=lost)
    assert sent < 0.75 * len(frames)
    room = 20 * log10(noise_rms / 32768)
    levels = [_dbov(frame) for frame in heard[150:295]]
    assert all(room - 8 < level < room + 4 for level in levels), (min(levels), max(levels))


def test_a_voice_that_is_cut_off_fades_and_does_not_hum_on() -> None:
    """The network is gone in mid-word: silence in the end, and on the way nothing louder than the word was."""
    require("opus")
    frames = _with_pauses(20)
    heard, _ = _dtx(frames[:100] + [bytes(1920)] * 100, until=60)
    word = max(_dbov(frame) for frame in heard[40:60])
    levels = [_dbov(frame) for frame in heard[63:]]
    assert max(levels) <= word
    assert max(levels[15:]) < word - 25
    assert not any(b"".join(heard[120:]))


def _tone(level_dbfs: float, beats: int) -> list[bytes]:
    oscillator = Oscillator(300, level_dbfs=level_dbfs)
    return [oscillator.read() for _ in range(beats)]


def test_a_voice_is_sent_and_a_quiet_room_is_described_now_and_then() -> None:
    """RFC 3389 section 3.1: the level in -dBov, and a sine of -60 dBFS is 63 below the loudest square wave."""
    suppressor = SilenceSuppressor()
    assert [suppressor.judge(pcm) for pcm in _tone(-20, 50)] == [None] * 50
    judged = [suppressor.judge(pcm) for pcm in _tone(-60, 100)]
    assert judged[:15] == [None] * 15, "words end softly"
    assert [beat for beat, noise in enumerate(judged) if noise] == [15, 35, 55, 75, 95]
    assert {noise for noise in judged[15:] if noise} == {bytes([63])}
    assert suppressor.judge(_tone(-20, 1)[0]) is None, "heard at once, its first 20 ms included"
    assert suppressor.judge(_tone(-60, 1)[0]) is None


def test_no_sound_at_all_is_the_lowest_level() -> None:
    suppressor = SilenceSuppressor()
    assert [suppressor.judge(bytes(320)) for _ in range(16)][-1] == b"\x7f"


def test_a_click_in_a_quiet_room_is_not_the_room() -> None:
    suppressor = SilenceSuppressor()
    quiet = [*_tone(-60, 14), *_tone(-46, 1), *_tone(-60, 50)]
    levels = [noise[0] for pcm in quiet if (noise := suppressor.judge(pcm))]
    assert levels[0] > 55 and levels[-1] == 63
