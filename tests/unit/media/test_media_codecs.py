"""Codecs, each against an independent idea of it: their names in SDP, their clocks, loss, and what cannot be used."""

from __future__ import annotations

import math
import random
import time
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ConfigError, LocalProtocolError, ParseError
from sipcli.media.codecs import CODECS, DEFAULT, choose, g722, make_decoder, make_encoder, opus
from sipcli.media.comfort import ComfortNoise
from sipcli.media.offer import Negotiator
from sipcli.media.sdp import parse_sdp
from sipcli.media.tone import dbfs, dominant_hz, pcm_of, rms, samples_of
from tests.support.real import require

ALL = tuple(CODECS)


def _voice(frames: int) -> list[bytes]:
    """Pulses of a wandering pitch through two formants: for libopus it is speech, which alone gets redundancy."""
    source, state, phase = random.Random(3), [0.0] * 4, 0.0
    poles = [(2 * r * math.cos(2 * math.pi * hz / 48000), r * r) for hz, r in ((600, 0.985), (1500, 0.98))]
    samples = array("h")
    for n in range(frames * 960):
        phase += (110 + 30 * math.sin(2 * math.pi * n / 48000 * 1.3)) / 48000
        value = source.gauss(0, 0.01) + (phase >= 1)
        phase %= 1
        for at, (a, b) in enumerate(poles):
            value += a * state[2 * at] - b * state[2 * at + 1]
            state[2 * at + 1], state[2 * at] = state[2 * at], value
        samples.append(round(value * 25 * (0.55 + 0.45 * math.sin(2 * math.pi * n / 48000 * 3))))
    pcm = pcm_of(samples)
    return [pcm[n : n + 1920] for n in range(0, len(pcm), 1920)]


def _sine(hz: float, rate: int, frames: int, level: float = 8000.0) -> list[bytes]:
    samples = array("h", (round(level * math.sin(2 * math.pi * hz * n / rate)) for n in range(frames * rate // 50)))
    pcm = pcm_of(samples)
    octets = 2 * (rate // 50)
    return [pcm[n : n + octets] for n in range(0, len(pcm), octets)]


@pytest.fixture(autouse=True)
def _libopus() -> None:
    require("opus")


@pytest.mark.parametrize("name", ALL)
def test_a_tone_survives(name: str) -> None:
    codec = CODECS[name]
    encoder, decoder = make_encoder(codec), make_decoder(codec)
    heard = b"".join(decoder.decode(encoder.encode(frame)) for frame in _sine(1000, codec.sample_rate, 50))
    assert len(heard) == 2 * codec.sample_rate
    assert dominant_hz(samples_of(heard[-codec.sample_rate :]), rate=codec.sample_rate) == pytest.approx(1000, abs=1)
    assert 20 * math.log10(rms(heard[codec.sample_rate :]) / (8000 / math.sqrt(2))) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("name", ["OPUS", "G722", "L16"])
def test_what_telephony_cannot_carry_survives(name: str) -> None:
    codec = CODECS[name]
    encoder, decoder = make_encoder(codec), make_decoder(codec)
    heard = b"".join(decoder.decode(encoder.encode(frame)) for frame in _sine(6000, codec.sample_rate, 50))
    samples = samples_of(heard[len(heard) // 2 :])
    at = sum(s * math.sin(2 * math.pi * 6000 * n / codec.sample_rate) for n, s in enumerate(samples))
    beside = sum(s * math.cos(2 * math.pi * 6000 * n / codec.sample_rate) for n, s in enumerate(samples))
    assert 2 * math.hypot(at, beside) / len(samples) > 4000


def test_E05_opus_is_48000_and_two_channels_whatever_is_sent() -> None:
    """RFC 7587 section 7; and G.722's clock is half of its sampling rate (RFC 3551 section 4.5.2)."""
    assert opus.OPUS.rtpmap == "opus/48000/2"
    assert (g722.G722.rtpmap, g722.G722.frame, g722.G722.ticks) == ("G722/8000", 320, 160)


def test_octets_per_frame_are_what_the_rates_say() -> None:
    expected = {"G722": 160, "PCMU": 160, "PCMA": 160, "L16": 640}
    for name, octets in expected.items():
        codec = CODECS[name]
        payload = make_encoder(codec).encode(bytes(2 * codec.frame))
        assert (len(payload), make_decoder(codec).samples_in(payload)) == (octets, codec.frame)


def test_l16_is_in_network_order() -> None:
    assert make_encoder(CODECS["L16"]).encode(pcm_of(array("h", [1, -2]))) == b"\x00\x01\xff\xfe"


def test_E05_opus_restores_a_lost_packet_from_the_one_after_it() -> None:
    """The redundancy must bring back more of the lost speech than concealment alone: measured by its error."""
    frames = _voice(60)
    encoder = make_encoder(CODECS["OPUS"], {"useinbandfec": "1"})
    encoder.expect_loss(25)
    packets = [encoder.encode(frame) for frame in frames]

    def decoded(*, redundancy: bool) -> tuple[float, int]:
        whole, holed = make_decoder(CODECS["OPUS"]), make_decoder(CODECS["OPUS"])
        error = gaps = 0
        for n, packet in enumerate(packets[:-1]):
            right = samples_of(whole.decode(packet))
            if n % 6 == 5:
                pcm = holed.conceal(960, packets[n + 1] if redundancy else None)
                assert pcm is not None and len(pcm) == 1920
                error += sum((a - b) ** 2 for a, b in zip(right, samples_of(pcm), strict=True))
                gaps += 1
            else:
                holed.decode(packet)
        return error, gaps

    with_copy, gaps = decoded(redundancy=True)
    without, _ = decoded(redundancy=False)
    assert gaps > 8
    assert with_copy < 0.5 * without


def test_E05_redundancy_is_for_who_asks_for_it() -> None:
    """RFC 7587 section 6.1: without ``useinbandfec=1`` it may not be decoded, and would be octets for nothing."""

    def packets(loss: float, **wanted: str) -> list[bytes]:
        encoder = make_encoder(CODECS["OPUS"], wanted)
        encoder.expect_loss(loss)
        return [encoder.encode(frame) for frame in _voice(25)]

    for wanted in ({}, {"useinbandfec": "0"}):
        assert packets(25, **wanted) == packets(0, **wanted)
    assert packets(25, useinbandfec="1") != packets(0, useinbandfec="1")


def test_E05_we_ask_for_redundancy_and_not_for_pauses() -> None:
    """RFC 7587 section 7: in offers, and in answers under the number that the offer gave it."""
    ours = Negotiator(rtp=("192.0.2.1", 4000), session_id=1, codecs=("OPUS",))
    for sdp, number in ((offer := ours.offer(), 96), (offer.replace(b"96", b"107"), 107)):
        theirs = Negotiator(rtp=("192.0.2.2", 4000), session_id=2, codecs=("OPUS",))
        for description in (parse_sdp(sdp), parse_sdp(theirs.answer(sdp))):
            media = description.media[0]
            assert media.rtpmaps[number] == (number, "opus", 48000, 2)
            assert media.parameters_of(number) == {"useinbandfec": "1", "usedtx": "0"}


def test_E05_opus_heeds_what_the_peer_can_play_and_wants_to_pay() -> None:
    speech = [frame for n in range(20) for frame in _sine(300 + 40 * n, 48000, 2)]

    def octets(**wanted: str) -> int:
        encoder = make_encoder(CODECS["OPUS"], wanted)
        return sum(len(encoder.encode(frame)) for frame in speech)

    assert octets(maxaveragebitrate="8000") < 0.5 * octets()
    narrow = make_encoder(CODECS["OPUS"], {"maxplaybackrate": "8000"})
    decoder = make_decoder(CODECS["OPUS"])
    high = b"".join(decoder.decode(narrow.encode(frame)) for frame in _sine(7000, 48000, 25))
    assert rms(high[len(high) // 2 :]) < 800


def test_E05_opus_sends_nothing_in_silence_if_the_peer_wants_that() -> None:
    quiet, plain = make_encoder(CODECS["OPUS"], {"usedtx": "1"}), make_encoder(CODECS["OPUS"])
    silence = bytes(1920)
    assert sum(not quiet.encode(silence) for _ in range(100)) > 50
    assert all(plain.encode(silence) for _ in range(100))


@given(st.binary(max_size=200))
def test_opus_survives_any_packet(payload: bytes) -> None:
    require("opus")
    decoder = make_decoder(CODECS["OPUS"])
    for attempt in (decoder.samples_in, decoder.decode):
        try:
            attempt(payload)
        except ParseError as error:
            assert "Opus" in str(error)
    assert len(decoder.conceal(960, payload) or b"") == 1920


def test_half_a_sample_is_not_l16() -> None:
    with pytest.raises(ParseError, match="half a sample"):
        make_decoder(CODECS["L16"]).decode(b"\0\0\0")


def test_opus_takes_whole_frames_only() -> None:
    with pytest.raises(LocalProtocolError, match="1920 octets, not 2"):
        make_encoder(CODECS["OPUS"]).encode(b"\0\0")


def test_names_have_no_case_and_are_not_repeated() -> None:
    assert [codec.name for codec in choose(["pcma", "Opus", "PCMA"])] == ["PCMA", "OPUS"]
    assert [codec.name for codec in choose()] == list(DEFAULT)


def test_what_is_missing_is_not_offered_and_said_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from sipcli.media import codecs

    monkeypatch.setattr(codecs, "_MISSING", {"OPUS": lambda: "libopus", "G722": lambda: "the package G722"})
    assert [codec.name for codec in choose()] == ["PCMU", "PCMA"]
    with pytest.raises(ConfigError, match="OPUS needs libopus"):
        choose(["opus"])
    with pytest.raises(ConfigError, match="no such codec: speex"):
        choose(["speex"])


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_comfort_noise_has_the_level_that_was_asked_for(rate: int) -> None:
    noise = ComfortNoise.parse(b"\x28\x00", rate)  # -40 dBov
    pcm = b"".join(noise.read() for _ in range(50))
    assert len(pcm) == 2 * rate
    assert 20 * math.log10(rms(pcm) / 32768) == pytest.approx(-40, abs=0.5)
    assert dbfs(rms(ComfortNoise.parse(b"", rate).read())) < -80


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_tone_is_found_at_any_rate_and_as_cheaply(rate: int) -> None:
    """Found by the program of the manual, whose loop stood still while a report looked for a tone at 48 kHz."""
    seconds = {each: samples_of(b"".join(_sine(440, each, 25))) for each in (rate, 8000)}
    took: dict[int, list[float]] = {each: [] for each in seconds}
    for each, second in list(seconds.items()) * 5:
        begun = time.process_time()
        assert dominant_hz(second, rate=each) == pytest.approx(440, abs=1)
        took[each].append(time.process_time() - begun)
    assert min(took[rate]) < 4 * min(took[8000]), "the best of five: a cache that others have emptied is no reason"


@pytest.mark.parametrize(("rate", "hz"), [(16000, 5000), (48000, 7000), (48000, 15000)])
def test_a_tone_above_telephonys_is_not_taken_for_another(rate: int, hz: int) -> None:
    assert dominant_hz(samples_of(b"".join(_sine(hz, rate, 25))), rate=rate) is None
