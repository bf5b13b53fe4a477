"""Compressed sound files through the real libsndfile: played, recorded, broken and hostile."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from array import array
from math import pi, sin
from pathlib import Path
from typing import Any

import pytest

from sipcli.errors import ConfigError
from sipcli.media.tone import SILENCE, Oscillator, dbfs, dominant_hz, rms, samples_of
from sipcli.ua.media.audio import open_audio
from sipcli.ua.media.audiospec import AudioFile, parse_audio
from sipcli.ua.media.recorder import Recorder, check_recording
from sipcli.ua.media.soundfiles import FilePort
from tests.support.real import require

KINDS = [
    ("x.flac", "FLAC", "PCM_16"),
    ("x.flac", "FLAC", "PCM_24"),
    ("x.ogg", "OGG", "VORBIS"),
    ("x.opus", "OGG", "OPUS"),
    ("x.mp3", "MP3", "MPEG_LAYER_III"),
    ("x.aiff", "AIFF", "PCM_16"),
    ("x.au", "AU", "PCM_16"),
    ("x.caf", "CAF", "ALAC_16"),
]


@pytest.fixture(autouse=True)
def _real() -> None:
    require("libsndfile")


def _write(
    path: Path, form: str, subtype: str, *, rate: int = 48000, channels: int = 2, hz: int = 600, ms: int = 500
) -> Path:
    import soundfile

    # In floats: libsndfile 1.2.2 makes full scale of 16-bit numbers when it writes MP3.
    values = (0.2512 * sin(2 * pi * hz * n / rate) for n in range(rate * ms // 1000) for _ in range(channels))
    with soundfile.SoundFile(path, "w", rate, channels, subtype, format=form) as file:
        file.buffer_write(array("f", values).tobytes(), dtype="float32")
    return path


def _read(path: Path) -> tuple[Any, array[int]]:
    import soundfile

    with soundfile.SoundFile(path) as file:
        return file, array("h", bytes(file.buffer_read(dtype="int16")))


def _heard(path: Path, *, rate: int = 8000, frames: int = 60) -> list[bytes]:
    port = open_audio(parse_audio(str(path)))
    port.tune(rate)
    heard = [port.read() for _ in range(frames)]
    port.close()
    return heard


# -- played -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form", "subtype"), KINDS)
def test_E05_what_people_have_is_heard_at_its_pitch_and_level(
    name: str, form: str, subtype: str, tmp_path: Path
) -> None:
    """500 ms of -12 dBFS, stereo at 48 kHz, at the rate of a G.722 call; then silence."""
    heard = _heard(_write(tmp_path / name, form, subtype), rate=16000)
    middle = b"".join(heard[5:20])
    assert dominant_hz(samples_of(middle), rate=16000) == pytest.approx(600, abs=2)
    assert dbfs(rms(middle)) == pytest.approx(-12, abs=1)
    # MP3 comes in blocks of 24 ms, with some of them before and after what was put in.
    assert not any(b"".join(heard[32:]))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 1), (44100, 2), (96000, 6)])
def test_any_rate_and_number_of_channels_becomes_the_calls(rate: int, channels: int, tmp_path: Path) -> None:
    heard = _heard(_write(tmp_path / "x.flac", "FLAC", "PCM_16", rate=rate, channels=channels))
    assert dominant_hz(samples_of(b"".join(heard[5:20]))) == pytest.approx(600, abs=2)


def test_it_is_what_it_holds_not_what_it_is_called(tmp_path: Path) -> None:
    heard = _heard(_write(tmp_path / "x.mp3", "WAV", "PCM_16"))
    assert dominant_hz(samples_of(b"".join(heard[5:20]))) == pytest.approx(600, abs=2)


@pytest.mark.parametrize(("name", "form", "subtype"), KINDS)
def test_a_file_that_was_cut_off_is_played_as_far_as_it_goes(
    name: str, form: str, subtype: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / name, form, subtype, ms=2000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        heard = _heard(path, frames=120)
    except ConfigError as error:
        # CAF says at its end where everything is; a page of Ogg can be a whole second.
        assert str(path) in str(error)
        assert form in ("CAF", "OGG")
    else:
        assert len(heard) == 120
        assert heard[-1] == SILENCE


@pytest.mark.parametrize(("name", "form", "subtype"), KINDS)
def test_damaged_files_are_played_or_refused_in_one_sentence(
    name: str, form: str, subtype: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Octets turned over anywhere, the header among them: nothing but a ConfigError, and every frame is 20 ms."""
    whole = _write(tmp_path / name, form, subtype, ms=300).read_bytes()
    source = random.Random(f"{form} {subtype}")
    for _ in range(30):
        damaged = bytearray(whole)
        for _ in range(source.choice((1, 8, 64))):
            reach = source.choice((64, len(damaged)))
            damaged[source.randrange(min(reach, len(damaged)))] = source.randrange(256)
        path = tmp_path / f"damaged-{name}"
        path.write_bytes(damaged)
        try:
            port = FilePort(path)
        except ConfigError as error:
            assert "\n" not in str(error)
            assert error.hint
            continue
        assert all(len(port.read()) == 320 for _ in range(30))
        port.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no sound file"),
        (b"fLaC", "no sound file"),
        (b"OggS" + bytes(1000), "no sound file"),
        (b"#!/bin/sh\n" * 100, "no sound file"),
        (random.Random(1).randbytes(100_000), "no sound file"),
    ],
)
def test_what_is_no_sound_file_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        open_audio(AudioFile(path))
    assert caught.value.hint and str(path) in str(caught.value)


def test_formats_that_nobody_has_are_not_taken(tmp_path: Path) -> None:
    """libsndfile reads thirty of them; each is a parser more for who sends us files."""
    path = _write(tmp_path / "x.au", "MAT5", "PCM_16")
    with pytest.raises(ConfigError, match="MAT5 files are not taken"):
        open_audio(AudioFile(path))


@pytest.mark.parametrize("form", ["AU", "WAV"])
@pytest.mark.parametrize("rate", [191_999, 47_999])
def test_a_rate_that_only_a_joker_has_is_refused(form: str, rate: int, tmp_path: Path) -> None:
    """The filter between 8000 and 191999 Hz has six million coefficients: the call would stand still."""
    path = _write(tmp_path / f"x.{form.lower()}", form, "PCM_16", rate=rate, ms=20)
    with pytest.raises(ConfigError, match=f"{rate} samples a second"):
        open_audio(parse_audio(str(path)))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.flac")
    (tmp_path / "folder.flac").mkdir()
    for name, words in (("pipe", "not a file"), ("folder", "not a file"), ("missing", "No such file")):
        with pytest.raises(ConfigError, match=words):
            open_audio(AudioFile(tmp_path / f"{name}.flac"))


def test_a_file_that_claims_to_be_endless_costs_what_is_played(tmp_path: Path) -> None:
    """FLAC says in its first block how many samples follow, in 36 bits; all of them set are a month at 16 kHz."""
    path = _write(tmp_path / "x.flac", "FLAC", "PCM_16")
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)
    heard = _heard(path)
    assert dominant_hz(samples_of(b"".join(heard[5:20]))) == pytest.approx(600, abs=2)
    assert heard[-1] == SILENCE


@pytest.mark.parametrize("act", [lambda p: FilePort(p / "x.flac"), lambda p: Recorder(p / "x.opus")])
def test_without_the_extra_the_next_step_is_said(act: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ConfigError) as caught:
        act(tmp_path)
    assert caught.value.hint is not None and "sipcli[files]" in caught.value.hint
    assert not list(tmp_path.iterdir())


# -- recorded ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form", "subtype"),
    [
        ("x.flac", "FLAC", "PCM_16"),
        ("x.opus", "OGG", "OPUS"),
        ("X.OGG", "OGG", "OPUS"),
        ("x.mp3", "MP3", "MPEG_LAYER_III"),
        ("x.aiff", "AIFF", "PCM_16"),
        ("x.au", "AU", "PCM_16"),
        ("x.caf", "CAF", "PCM_16"),
    ],
)
@pytest.mark.parametrize(("rate", "written"), [(8000, 8000), (16000, 16000), (48000, 48000), (44100, None)])
def test_E05_both_sides_are_recorded_compressed(
    name: str, form: str, subtype: str, rate: int, written: int | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    recorder = Recorder(path, "both")
    recorder.tune(rate)
    sent, heard = Oscillator(440, rate=rate), Oscillator(1000, rate=rate)
    for _ in range(60):
        recorder.write(sent.read(), heard.read())
    recorder.close()
    assert recorder.failure is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file, samples = _read(path)
    rate_written = written or (48000 if subtype == "OPUS" else 44100)
    assert (file.format, file.subtype, file.samplerate, file.channels) == (form, subtype, rate_written, 2)
    assert len(samples) / 2 / rate_written == pytest.approx(1.2, abs=0.03)
    for channel, hz in ((0, 440), (1, 1000)):
        side = samples[channel::2][rate_written // 2 : rate_written]
        if rate_written % 8000 == 0:
            assert dominant_hz(side, rate=rate_written) == pytest.approx(hz, abs=2)
        assert dbfs(rms(side.tobytes())) == pytest.approx(-12, abs=1)


@pytest.mark.parametrize("name", ["x.m4a", "x.WMA", "x.webm", "x.raw"])
def test_a_name_that_promises_what_we_do_not_write_is_refused(name: str, tmp_path: Path) -> None:
    """It was a WAV under that name, once."""
    for act in (Recorder, check_recording):
        with pytest.raises(ConfigError, match=f"{Path(name).suffix.lower()} files are not made") as caught:
            act(tmp_path / name)
        assert caught.value.hint is not None and ".wav" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.wav", "rx", "a84b4c76e66710@192.0.2.7"])
def test_any_other_name_is_a_wav(name: str, tmp_path: Path) -> None:
    """``--record %c`` may end in a Call-ID, whose end means nothing."""
    check_recording(tmp_path / name)
    Recorder(tmp_path / name).close()
    assert (tmp_path / name).read_bytes()[:4] == b"RIFF"


def test_what_is_missing_for_a_recording_is_said_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    check_recording(tmp_path / "x.wav")
    with pytest.raises(ConfigError, match="need soundfile"):
        check_recording(tmp_path / "x.mp3")


def test_a_recording_keeps_the_rate_of_its_first_frame(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "x.flac")
    recorder.write(SILENCE, Oscillator(500).read())
    recorder.tune(48000)
    oscillator = Oscillator(500, rate=48000)
    for _ in range(20):
        recorder.write(bytes(1920), oscillator.read())
    recorder.close()
    file, samples = _read(tmp_path / "x.flac")
    assert (file.samplerate, file.channels) == (8000, 1)
    assert dominant_hz(samples[800:]) == pytest.approx(500, abs=2)


def test_an_empty_recording_is_a_file_all_the_same(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "x.flac")
    recorder.close()
    recorder.close()
    file, samples = _read(tmp_path / "x.flac")
    assert (file.samplerate, len(samples)) == (8000, 1)


@pytest.mark.parametrize("suffix", ["flac", "opus"])
def test_T32_a_compressed_recording_never_goes_through_a_link(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me")
    (tmp_path / f"soft.{suffix}").symlink_to(target)
    os.link(target, tmp_path / f"hard.{suffix}")
    for name in ("soft", "hard"):
        with pytest.raises(ConfigError, match=name):
            Recorder(tmp_path / f"{name}.{suffix}")
    assert target.read_text() == "keep me"
    public = tmp_path / f"public.{suffix}"
    public.write_bytes(b"x" * 100_000)
    public.chmod(0o666)
    Recorder(public).close()
    assert stat.S_IMODE(public.stat().st_mode) == 0o600
    assert public.stat().st_size < 1000


FULL = """
import random, resource, sys
from pathlib import Path
from sipcli.ua.media.recorder import Recorder, check_recording
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
recorder = Recorder(Path(sys.argv[1]), "both")
for n in range(1000):
    recorder.write(random.randbytes(320), random.randbytes(320))
print(recorder.failure)
recorder.close()
"""


@pytest.mark.parametrize("suffix", ["flac", "opus", "wav"])
def test_a_file_that_cannot_grow_ends_the_recording_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    """The kernel refuses (RLIMIT_FSIZE), in the middle of a page that libsndfile writes."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / f"x.{suffix}")],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = "File too large" if suffix == "wav" else "the disk is full, or the file cannot grow"
    assert done.stdout.strip() == expected
    assert (tmp_path / f"x.{suffix}").stat().st_size <= 20_000
