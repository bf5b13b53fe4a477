"""WAV headers and rates: what people have becomes 8 kHz mono."""

from __future__ import annotations

import ast
import io
import struct
import wave
from array import array
from math import log10, pi, sin
from pathlib import Path

import pytest

import sipcli
from sipcli.errors import ParseError
from sipcli.media import g711
from sipcli.media.resample import Resampler
from sipcli.media.tone import goertzel, pcm_of, samples_of, sum_of_squares
from sipcli.media.wav import HEADER_SIZE, WavFormat, parse_wav_header, to_mono, wav_header


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def _format(code: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, extra: bytes = b"") -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits) + extra


def test_what_we_write_the_standard_library_reads() -> None:
    pcm = pcm_of(array("h", range(-500, 500)))
    for channels in (1, 2):
        data = wav_header(len(pcm), channels=channels) + pcm
        with wave.open(io.BytesIO(data)) as read:
            assert (read.getnchannels(), read.getframerate(), read.getsampwidth()) == (channels, 8000, 2)
            assert read.readframes(2000) == pcm


def test_what_the_standard_library_writes_we_read() -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as write:
        write.setnchannels(2)
        write.setsampwidth(3)
        write.setframerate(44100)
        write.writeframes(bytes(600))
    header = parse_wav_header(out.getvalue())
    assert header.format == WavFormat("pcm", 2, 44100, 24)
    assert (header.data_offset, header.data_octets) == (44, 600)


def test_chunks_before_the_samples_are_passed_over() -> None:
    data = _riff((b"LIST", b"abc"), (b"fmt ", _format()), (b"fact", bytes(4)), (b"data", b"12345678"))
    header = parse_wav_header(data)
    assert data[header.data_offset :] == b"12345678"


def test_the_extensible_form() -> None:
    guid = struct.pack("<H", 7) + bytes.fromhex("000000001000800000aa00389b71")
    extra = struct.pack("<HHI", 22, 8, 4) + guid
    header = parse_wav_header(_riff((b"fmt ", _format(0xFFFE, bits=8, extra=extra)), (b"data", bytes(8))))
    assert header.format.encoding == "PCMU"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_stream_does_not_know_its_length(size: int) -> None:
    data = bytearray(wav_header(0))
    data[40:44] = struct.pack("<I", size)
    assert parse_wav_header(bytes(data)).data_octets is None


def test_a_recording_of_days_has_a_header_all_the_same() -> None:
    assert len(wav_header(1 << 33)) == HEADER_SIZE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"ID3\x04 this is an mp3 file, as it seems",
        b"RIFF\0\0\0\0AVI LIST",
        _riff((b"fmt ", _format())),
        _riff((b"data", bytes(100))),
        _riff((b"fmt ", b"short"), (b"data", bytes(100))),
        _riff((b"fmt ", _format(code=85)), (b"data", bytes(100))),
        _riff((b"fmt ", _format(bits=12)), (b"data", bytes(100))),
        _riff((b"fmt ", _format(channels=0)), (b"data", bytes(100))),
        _riff((b"fmt ", _format(channels=200)), (b"data", bytes(100))),
        _riff((b"fmt ", _format(rate=1)), (b"data", bytes(100))),
    ],
)
def test_what_is_not_one_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_wav_header(data)


def test_every_encoding_becomes_16_bits() -> None:
    values = array("h", [-32768, -256, 0, 256, 32512])
    as_pcm = {
        8: bytes((value >> 8) + 128 for value in values),
        16: pcm_of(values),
        24: b"".join(struct.pack("<i", value << 8)[:3] for value in values),
        32: b"".join(struct.pack("<i", value << 16) for value in values),
    }
    for bits, data in as_pcm.items():
        assert to_mono(data, WavFormat("pcm", 1, 8000, bits)) == values
    floats = struct.pack("<5f", -1.0, -0.5, 0.0, 2.0, float("nan"))
    assert list(to_mono(floats, WavFormat("float", 1, 8000, 32))) == [-32767, -16383, 0, 32767, 0]
    codes = bytes(range(256))
    assert to_mono(codes, WavFormat("PCMA", 1, 8000, 8)) == samples_of(g711.decode(codes, "PCMA"))


def test_channels_are_averaged_and_half_a_frame_is_left_out() -> None:
    data = struct.pack("<5h", 100, 300, -100, -300, 7)
    assert list(to_mono(data, WavFormat("pcm", 2, 8000, 16))) == [200, -200]


# -- rates ------------------------------------------------------------------------


def _sine(hz: float, rate: int, seconds: float = 0.25) -> array[int]:
    return array("h", (round(10000 * sin(2 * pi * hz * n / rate)) for n in range(int(rate * seconds))))


def _converted(samples: array[int], rate_in: int, rate_out: int, chunk: int) -> array[int]:
    resampler = Resampler(rate_in, rate_out)
    out: array[int] = array("h")
    for n in range(0, len(samples), chunk):
        out += resampler.push(samples[n : n + chunk])
    return out + resampler.flush()


def _level_db(samples: array[int]) -> float:
    inner = samples[150:-150]
    return 10 * log10(sum_of_squares(inner) / len(inner) / (10000**2 / 2) + 1e-12)


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000, 96000])
def test_the_voice_passes_and_what_would_alias_does_not(rate: int) -> None:
    for hz in (300, 1000, 3000):
        out = _converted(_sine(hz, rate), rate, 8000, rate // 50)
        assert abs(len(out) - 2000) <= 1
        assert _level_db(out) == pytest.approx(0, abs=0.1)
        assert goertzel(out[150:1750], hz) > 0.9999
    for hz in (4200, 5000, 6000, 9000):
        if hz < rate / 2:
            assert _level_db(_converted(_sine(hz, rate), rate, 8000, rate // 50)) < -60


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_upwards_nothing_is_added(rate: int) -> None:
    out = _converted(_sine(1000, 8000), 8000, rate, 160)
    assert abs(len(out) - rate // 4) <= 6
    # Goertzel thinks in 8 kHz: the tone lies at another place there. 100 whole periods leak nothing.
    assert goertzel(out[960 : 960 + rate // 10], 1000 * 8000 / rate) > 0.9999


@pytest.mark.parametrize("chunk", [1, 7, 160, 441, 5000])
def test_the_size_of_the_chunks_does_not_matter(chunk: int) -> None:
    samples = _sine(440, 44100, 0.05)
    assert _converted(samples, 44100, 8000, chunk) == _converted(samples, 44100, 8000, len(samples))


def test_the_same_rate_is_left_alone() -> None:
    samples = _sine(440, 8000)
    assert Resampler(8000, 8000).push(samples) == samples


def test_the_output_is_not_delayed() -> None:
    step = array("h", [0] * 480 + [10000] * 480)
    out = _converted(step, 48000, 8000, 96)
    assert out[76] < 2000
    assert out[84] > 8000


def test_nothing_of_ours_resamples_or_decodes_by_audioop() -> None:
    """It left the standard library in 3.13 (PEP 594), and its ``ratecv`` aliases."""
    trees = (ast.parse(path.read_text()) for path in Path(sipcli.__file__).parent.rglob("*.py"))
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    assert "audioop" not in names
    assert "sipcli.media.resample" in names
