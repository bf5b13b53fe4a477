"""Sources and sinks: specifications, files on disk, rings and pipes."""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
from math import pi, sin
from pathlib import Path

import pytest

from sipcli.errors import ConfigError
from sipcli.media.tone import SILENCE, Oscillator, dominant_hz, samples_of
from sipcli.media.wav import parse_wav_header
from sipcli.ua.media.audio import open_audio
from sipcli.ua.media.audiospec import (
    AudioFile,
    AudioSpec,
    Device,
    Echo,
    Melody,
    Null,
    Stdio,
    Tone,
    WavFile,
    parse_audio,
)
from sipcli.ua.media.pipes import StdioPort
from sipcli.ua.media.recorder import Recorder, WavSink
from sipcli.ua.media.safefiles import create_private
from sipcli.ua.media.sound import PcmRing
from sipcli.ua.media.wavport import WavPort


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tone", Tone(440)),
        ("tone:1000", Tone(1000)),
        ("echo", Echo()),
        ("null", Null()),
        ("stdio", Stdio()),
        ("device", Device(None)),
        ("device:USB: 2", Device("USB: 2")),
        ("device:USB Audio (hw:1,0)", Device("USB Audio (hw:1,0)")),
        ("device:webcam, USB Audio (hw:1,0)", Device("webcam", "USB Audio (hw:1,0)")),
        ("music.wav", WavFile(Path("music.wav"))),
        ("music.flac", AudioFile(Path("music.flac"))),
        ("/a/music.MP3", AudioFile(Path("/a/music.MP3"))),
        ("/a/B.WAV", WavFile(Path("/a/B.WAV"))),
    ],
)
def test_what_audio_may_be(text: str, expected: AudioSpec) -> None:
    assert parse_audio(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "tone:", "tone:x", "tone:0", "tone:4000", "tone:-5", "tone:¹", "device:", "echo:1", "music.mid", "Tone"],
)
def test_what_it_may_not_be(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_audio(text)
    assert caught.value.hint


def test_an_echo_gives_back_what_it_was_given() -> None:
    port = open_audio(Echo())
    assert port.read() == SILENCE
    frame = Oscillator(440).read()
    port.write(frame)
    assert port.read() == frame
    assert port.read() == SILENCE


def test_a_melody_repeats() -> None:
    port = open_audio(Melody(notes=((500, 100), (0, 40), (800, 100))))
    frames = [port.read() for _ in range(24)]
    assert dominant_hz(samples_of(b"".join(frames[:5]))) == pytest.approx(500, abs=2)
    assert frames[5:7] == [SILENCE] * 2
    assert dominant_hz(samples_of(b"".join(frames[7:12]))) == pytest.approx(800, abs=2)
    assert dominant_hz(samples_of(b"".join(frames[12:17]))) == pytest.approx(500, abs=2)


def _write_wav(path: Path, *, rate: int, channels: int, hz: float, seconds: float) -> None:
    values = [round(9000 * sin(2 * pi * hz * n / rate)) for n in range(int(rate * seconds)) for _ in range(channels)]
    data = struct.pack(f"<{len(values)}h", *values)
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    path.write_bytes(head + form + struct.pack("<4sI", b"data", len(data)) + data)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (44100, 2), (48000, 2)])
def test_any_wav_is_heard_at_its_pitch(rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    _write_wav(path, rate=rate, channels=channels, hz=700, seconds=0.5)
    port = WavPort(path)
    try:
        frames = []
        while not port.finished:
            frames.append(port.read())
        assert len(frames) in (25, 26)
        assert dominant_hz(samples_of(b"".join(frames[:24]))) == pytest.approx(700, abs=1)
        assert port.read() == SILENCE
    finally:
        port.close()


def test_a_wav_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    _write_wav(path, rate=8000, channels=1, hz=700, seconds=0.1)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\0\0\0\0"
    path.write_bytes(data)
    port = WavPort(path)
    try:
        frames = [port.read() for _ in range(6)]
    finally:
        port.close()
    assert frames[4] != SILENCE
    assert frames[5] == SILENCE


# -- recordings (threat: traces and recordings on disk) ---------------------------


def test_T32_a_recording_is_private(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    before = os.umask(0)
    try:
        recorder = Recorder(path)
    finally:
        os.umask(before)
    recorder.write(SILENCE, Oscillator(440).read())
    recorder.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header = parse_wav_header(path.read_bytes())
    assert (header.format.channels, header.format.rate, header.data_octets) == (1, 8000, 320)
    assert path.read_bytes()[44:] == Oscillator(440).read()


def test_an_old_file_becomes_private_and_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"x" * 100_000)
    path.chmod(0o666)
    Recorder(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 44


def test_T32_never_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me")
    (tmp_path / "soft.wav").symlink_to(target)
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    os.link(target, tmp_path / "hard.wav")
    os.mkfifo(tmp_path / "fifo.wav")
    for name in ("soft.wav", "dangling.wav", "hard.wav", "fifo.wav"):
        with pytest.raises(ConfigError, match=name):
            Recorder(tmp_path / name)
    assert target.read_text() == "keep me"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("path", ["/dev/null", "/nonexistent/dir/x.wav", "/"])
def test_places_that_cannot_be_written(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_private(Path(path))
    assert "cannot write" in str(caught.value)


def test_a_full_disk_is_noticed_once(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    recorder = Recorder(tmp_path / "rx.wav")
    recorder._sink.close()
    file = io.open("/dev/full", "wb", buffering=512)  # noqa: SIM115, UP020 - the recorder closes it
    recorder._sink = WavSink(file)
    for _ in range(5):
        recorder.write(SILENCE, SILENCE)
    recorder.close()
    assert recorder.failure == "No space left on device"
    assert file.closed


# -- rings and pipes --------------------------------------------------------------


def test_a_ring_gives_silence_until_it_is_filled() -> None:
    ring = PcmRing(most=1000, prefill=640)
    ring.write(b"\1" * 320)
    assert ring.read(320) == SILENCE
    ring.write(b"\2" * 320)
    assert ring.read(320) == b"\1" * 320
    assert ring.read(640) == b"\2" * 320 + SILENCE
    # Run dry: it fills up again before it gives.
    ring.write(b"\3" * 320)
    assert ring.read(320) == SILENCE


def test_a_ring_that_nobody_reads_keeps_the_latest() -> None:
    ring = PcmRing(most=640)
    for octet in range(10):
        ring.write(bytes([octet]) * 320)
    assert ring.read(640) == b"\x08" * 320 + b"\x09" * 320


def test_pipes_carry_both_ways() -> None:
    their_out, our_in = os.pipe()
    our_out, their_in = os.pipe()
    port = StdioPort(source=their_out, sink=their_in)
    try:
        os.write(our_in, b"\1" * 320 + b"\2" * 100)
        os.close(our_in)
        frames: list[bytes] = []
        done = threading.Event()
        while len(frames) < 2 and not done.wait(0.001):
            frame = port.read()
            if frame != SILENCE:
                frames.append(frame)
        assert frames == [b"\1" * 320, b"\2" * 100 + SILENCE[100:]]
        port.write(b"\7" * 320)
        assert os.read(our_out, 320) == b"\7" * 320
    finally:
        port.close()
        for descriptor in (their_out, our_out, their_in):
            os.close(descriptor)


def test_a_reader_that_went_away_does_no_harm() -> None:
    source, source_end = os.pipe()
    sink_end, sink = os.pipe()
    os.close(sink_end)
    os.close(source_end)
    port = StdioPort(source=source, sink=sink)
    for _ in range(20):
        port.write(SILENCE)
        assert port.read() == SILENCE
    port.close()
    os.close(source)
    os.close(sink)
