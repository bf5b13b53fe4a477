"""Sound files and devices at the command line, between two processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from tests.support.cli import Cli, Running
from tests.support.real import ALSA_CONF, require

Starts = Callable[..., Running]


@pytest.fixture
def starts() -> Iterator[Starts]:
    """Starts a sipcli on a machine, and ends it with the test."""
    started: list[Running] = []

    def start(machine: Cli, *arguments: str) -> Running:
        started.append(machine.start(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.leave()


@pytest.fixture
def port(starts: Starts, tmp_path: Path) -> int:
    """Somebody listens there and sends 1000 Hz."""
    place = ("--json", "--no-register", "--port", "0")
    phone = starts(Cli(tmp_path / "listener"), "listen", *place, "--answer", "auto", "--audio", "tone:1000")
    [at] = [at for at in phone.wait_for("ready")["listen"] if at["transport"] == "udp"]
    number: int = at["port"]
    return number


def test_E05_both_sides_of_a_call_go_into_a_flac(cli: Cli, port: int, tmp_path: Path) -> None:
    require("libsndfile")
    import soundfile

    path = tmp_path / "both.flac"
    done = cli.run(
        "call", f"sip:alice@127.0.0.1:{port}", "--json", "--from", "sip:bob@there.invalid", "--no-register",
        "--codec", "pcmu", "--duration", "1", "--audio", "tone:440", "--record", str(path), "--record-mode", "both",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    with soundfile.SoundFile(path) as file:
        assert (file.format, file.channels, file.samplerate) == ("FLAC", 2, 8000)
        samples = samples_of(bytes(file.buffer_read(dtype="int16")))
    assert dominant_hz(samples[0::2][-6000:-2000]) == pytest.approx(440, abs=2)
    assert dominant_hz(samples[1::2][-6000:-2000]) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("words", [("--audio", "broken.flac"), ("--record", "rx.opus")])
def test_what_cannot_be_played_or_recorded_is_said_before_anything_is_sent(
    words: tuple[str, str], cli: Cli, tmp_path: Path
) -> None:
    require("libsndfile")
    broken = tmp_path / words[1]
    broken.write_bytes(b"fLaC and nothing else")
    if words[0] == "--record":
        os.link(broken, tmp_path / "another name")
    done = cli.run(
        "call", "sip:alice@127.0.0.1:9", "--from", "sip:bob@there.invalid", "--no-register", words[0], str(broken)
    )
    assert done.code == 2, done.stderr
    assert str(broken) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_is_tested_by_a_tone_and_a_meter(cli: Cli, tmp_path: Path) -> None:
    """The real PortAudio and ALSA, whose file plug-in is loudspeaker and microphone; stderr is for us alone."""
    require("portaudio")
    speech = b"".join(Oscillator(600, level_dbfs=-20, rate=48000).read(48000) for _ in range(60))
    (tmp_path / "in.raw").write_bytes(speech)
    (tmp_path / "asound.conf").write_text(
        "pcm.null0 { type null }\n"
        f'pcm.!default {{ type file slave.pcm "null0" file "{tmp_path}/out.raw" infile "{tmp_path}/in.raw" format "raw"'
        ' hint { show on description "test" } }\n'
    )
    cli.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{tmp_path}/asound.conf"
    done = cli.run("devices", "--test", "--duration", "1", "--json")
    assert done.code == 0, done.stderr
    levels = [event["input_dbfs"] for event in done.events if event["event"] == "level"]
    assert len(levels) == 5
    assert done.result["outcome"] == "tested"
    assert done.result["loudest_dbfs"] == max(levels) == pytest.approx(-20, abs=3)
    plain = cli.run("devices", "--test", "default", "--duration", "0.4")
    assert plain.code == 0, plain.stderr
    assert plain.stderr == ""
    *levels, sentence = plain.stdout.splitlines()
    assert "440 Hz was played" in sentence
    assert [float(line) for line in levels] == pytest.approx([-20, -20], abs=3)


def test_a_microphone_and_a_loudspeaker_of_two_names(cli: Cli, tmp_path: Path) -> None:
    """Two of the real ALSA's devices: 600 Hz come from the one, ours goes to the other; by name, and by number."""
    require("portaudio")
    (tmp_path / "in.raw").write_bytes(b"".join(Oscillator(600, rate=48000).read(48000) for _ in range(60)))
    (tmp_path / "asound.conf").write_text(
        "pcm.null0 { type null }\n"
        f'pcm.desk_mic {{ type file slave.pcm "null0" file "{tmp_path}/no.raw" infile "{tmp_path}/in.raw" format "raw"'
        ' hint { show on description "mic" } }\n'
        f'pcm.headset {{ type file slave.pcm "null0" file "{tmp_path}/out.raw" format "raw"'
        ' hint { show on description "ear" } }\n'
    )
    cli.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{tmp_path}/asound.conf"
    listed = cli.run("devices", "--json")
    numbers = {device["name"]: device["number"] for device in listed.result["devices"]}
    assert {"desk_mic", "headset"} <= set(numbers)
    for names in ("desk,headset", f"{numbers['desk_mic']},{numbers['headset']}"):
        (tmp_path / "out.raw").unlink(missing_ok=True)
        done = cli.run("devices", "--test", names, "--duration", "0.4", "--json")
        assert done.code == 0, done.stderr
        assert done.result["loudest_dbfs"] == pytest.approx(-12, abs=3)
        assert max(samples_of((tmp_path / "out.raw").read_bytes()[:2_000_000]), default=0) > 5000
    shown = cli.run("devices")
    assert "device:IN,OUT" in shown.stderr
    assert [line.split()[:3] for line in shown.stdout.splitlines() if "headset" in line] == [
        [str(numbers["headset"]), "headset", "in/out"]
    ]


def test_a_device_that_is_not_there_is_one_sentence(cli: Cli) -> None:
    require("portaudio")
    done = cli.run("devices", "--test", "no such card")
    assert done.code == 2
    assert "no such card" in done.stderr
    assert "Traceback" not in done.stderr
