"""Sound files and devices at the command line, between two processes."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest

from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from sipcli.media.wav import wav_header
from tests.cli.conftest import Starts
from tests.support.cli import Cli
from tests.support.real import ALSA_CONF, require


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


def _refused(cli: Cli, *words: str) -> str:
    """What `call` says of *words*; the registrar that it would have turned to first heard nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as registrar:
        registrar.bind(("127.0.0.1", 0))
        registrar.setblocking(False)
        server = f"127.0.0.1:{registrar.getsockname()[1]}"
        done = cli.run("call", f"sip:alice@{server}", "--from", f"sip:bob@{server};transport=udp", *words)
        with pytest.raises(BlockingIOError):
            registrar.recv(1)
    assert done.code == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr  # what is wrong, and the next step
    assert "Traceback" not in done.stderr
    return done.stderr


_WAV = wav_header(320)
_BROKEN = {
    "empty": b"",
    "text": b"#!/bin/sh\n" * 50,
    "noise": random.Random(3).randbytes(5000),
    "magic": {"wav": b"RIFF\x24\0\0\0WAVE", "flac": b"fLaC", "ogg": b"OggS" + bytes(500), "mp3": b"ID3\x03"},
    "cut": {
        "wav": _WAV[:30],
        "flac": b"fLaC\0\0\0\x22" + bytes(20),
        "ogg": b"OggS\0\x02" + bytes(20),
        "mp3": b"\xff\xfb",
    },
}
"""By kind, and by name where they differ."""


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("kind", sorted(_BROKEN))
def test_a_file_that_cannot_be_played_is_said_before_anything_is_sent(
    kind: str, suffix: str, cli: Cli, tmp_path: Path
) -> None:
    require("libsndfile")
    content = _BROKEN[kind]
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content[suffix])
    said = _refused(cli, "--audio", str(path))
    assert f"cannot play {path}" in said


@pytest.mark.parametrize(
    ("name", "words"), [("rx.m4a", ".m4a files are not made"), ("no/rx.wav", "there is no folder")]
)
def test_what_cannot_be_recorded_is_said_before_anything_is_sent(
    name: str, words: str, cli: Cli, tmp_path: Path
) -> None:
    said = _refused(cli, "--record", str(tmp_path / name))
    assert words in said
    assert not (tmp_path / name).exists()


def test_a_recording_never_goes_through_a_link(cli: Cli, tmp_path: Path) -> None:
    require("libsndfile")
    path = tmp_path / "rx.opus"
    path.write_bytes(b"precious")
    os.link(path, tmp_path / "another name")
    done = cli.run(
        "call", "sip:alice@127.0.0.1:9", "--from", "sip:bob@there.invalid", "--no-register", "--record", str(path)
    )
    assert done.code == 2, done.stderr
    assert str(path) in done.stderr
    assert path.read_bytes() == b"precious"


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


def has_microphone(machine: Cli, place: Path) -> None:
    """*machine* gets a sound card of the real ALSA, whose microphone hears 600 Hz."""
    place.mkdir()
    (place / "in.raw").write_bytes(b"".join(Oscillator(600, rate=48000).read(48000) for _ in range(60)))
    (place / "asound.conf").write_text(
        "pcm.null0 { type null }\n"
        f'pcm.!default {{ type file slave.pcm "null0" file "{place}/out.raw" infile "{place}/in.raw" format "raw"'
        ' hint { show on description "test" } }\n'
    )
    machine.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{place}/asound.conf"


def test_nobody_hears_a_microphone_before_the_answer(cli: Cli, starts: Starts, tmp_path: Path) -> None:
    """Early media in both directions, from two sound cards: silence while it rings, and speech from the answer on."""
    require("portaudio")
    machines = {"callee": cli, "caller": Cli(tmp_path / "caller-home")}
    cli.log_in(tmp_path / "run")
    heard = {name: tmp_path / f"{name}.wav" for name in machines}
    for name, machine in machines.items():
        has_microphone(machine, tmp_path / name)
    card = ("--json", "--no-register", "--audio", "device", "--echo-cancellation", "off", "--codec", "pcmu", "--record")
    phone = starts(cli, "listen", *card, str(heard["callee"]), "--port", "0", "--early-media", "--max-calls", "1")
    [at] = [at for at in phone.wait_for("ready")["listen"] if at["transport"] == "udp"]
    to = (f"sip:alice@127.0.0.1:{at['port']}", "--from", "sip:bob@there.invalid", "--duration", "1")
    calling = starts(machines["caller"], "call", *to, *card, str(heard["caller"]))
    for running in (phone, calling):
        running.wait_for("media", state="flowing")
    assert cli.run("status").code == 0  # takes its time, in which both could be heard
    assert cli.run("ctl", "answer").code == 0
    assert calling.finish().code == phone.finish().code == 0
    for name, path in heard.items():
        samples = samples_of(path.read_bytes()[44:])
        first = next(n for n, sample in enumerate(samples) if abs(sample) > 1000)
        assert first > 8000 * 0.2, f"the {name} heard the other's microphone {first / 8000:.2f} s after it began"
        assert sum(abs(sample) > 1000 for sample in samples[first : first + 4000]) > 2000


def _loudspeakers(cli: Cli, tmp_path: Path, *names: str) -> None:
    """Devices of the real ALSA, each of which plays into NAME.raw, and the silent microphone *desk*.

    None is paced, so that most of what they play is silence.  One for both would not do: ALSA's file plug-in writes
    what it captures into the same file.
    """
    desk = 'pcm.desk { type file slave.pcm "null0" file "/dev/null" infile "/dev/zero" format "raw"'
    devices = [desk] + [
        f'pcm.{name} {{ type file slave.pcm "null0" file "{tmp_path}/{name}.raw" format "raw"' for name in names
    ]
    shown = ["pcm.null0 { type null }", *(f'{device} hint {{ show on description "test" }} }}' for device in devices)]
    (tmp_path / "asound.conf").write_text("\n".join(shown) + "\n")
    cli.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{tmp_path}/asound.conf"


def _loudest(path: Path) -> int:
    """Of the first ten minutes or so."""
    with path.open("rb") as file:
        return max(samples_of(file.read(60_000_000)), default=0)


@pytest.mark.parametrize(("words", "heard"), [((), True), (("--tones", "off"), False)])
def test_a_caller_hears_that_it_is_busy(
    words: tuple[str, ...], heard: bool, cli: Cli, starts: Starts, tmp_path: Path
) -> None:
    require("portaudio")
    place = ("--json", "--no-register", "--port", "0")
    phone = starts(Cli(tmp_path / "listener"), "listen", *place, "--answer", "busy")
    [at] = [at for at in phone.wait_for("ready")["listen"] if at["transport"] == "udp"]
    _loudspeakers(cli, tmp_path, "headset")
    done = cli.run(
        "call", f"sip:alice@127.0.0.1:{at['port']}", "--json", "--from", "sip:bob@there.invalid", "--no-register",
        "--audio", "device:desk,headset", "--echo-cancellation", "off", *words,
    )  # fmt: skip
    assert done.code == 6, done.stderr
    assert done.stderr == ""
    # -18 dBFS have an amplitude of 4125.
    assert (_loudest(tmp_path / "headset.raw") > 3000) is heard


def test_a_call_rings_where_the_configuration_says_and_talks_elsewhere(
    cli: Cli, starts: Starts, tmp_path: Path
) -> None:
    require("portaudio")
    pcm = Oscillator(700, level_dbfs=-6).read(8000)
    (tmp_path / "bell.wav").write_bytes(wav_header(len(pcm)) + pcm)
    listener = Cli(tmp_path / "listener")
    _loudspeakers(listener, tmp_path, "headset", "kitchen")
    config = tmp_path / "config.toml"
    config.write_text(
        '[audio]\noutput = "headset"\ninput = "headset"\nring_device = "kitchen"\nring_file = "bell.wav"\n'
    )
    phone = starts(
        listener, "listen", "--json", "--config", str(config), "--no-register", "--port", "0", "--audio", "device",
        "--echo-cancellation", "off", "--ring-timeout", "2",
    )  # fmt: skip
    [at] = [at for at in phone.wait_for("ready")["listen"] if at["transport"] == "udp"]
    done = cli.run("call", f"sip:alice@127.0.0.1:{at['port']}", "--from", "sip:bob@there.invalid", "--no-register")
    assert done.code != 0
    assert _loudest(tmp_path / "kitchen.raw") > 10_000
    assert not (tmp_path / "headset.raw").exists() or _loudest(tmp_path / "headset.raw") == 0


def test_a_bell_without_a_card_is_refused_where_it_was_asked_for(cli: Cli) -> None:
    done = cli.run("listen", "--no-register", "--port", "0", "--ring-file", "bell.wav", "--timeout", "5")
    assert done.code == 2
    assert "--ring-file rings at a sound card" in done.stderr
    assert "add --audio device" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ring-device", "attic"), "no sound card “attic” is here for the loudspeaker"),
        (("--ring-file", "nothing.wav"), "cannot read"),
    ],
)
def test_a_bell_that_could_not_ring_is_said_before_anybody_calls(
    words: tuple[str, ...], sentence: str, cli: Cli, tmp_path: Path
) -> None:
    require("portaudio")
    _loudspeakers(cli, tmp_path, "headset")
    done = cli.run("listen", "--no-register", "--port", "0", "--audio", "device:desk,headset", *words)
    assert done.code == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_sound_card_nothing_is_asked_of_one(cli: Cli, tmp_path: Path) -> None:
    """A bell is configured, and audio goes to no device: headless is never an error."""
    config = tmp_path / "config.toml"
    config.write_text('[audio]\nring_device = "attic"\ntones = "us"\n')
    cli.env["ALSA_CONFIG_PATH"] = str(tmp_path / "nowhere")
    done = cli.run("listen", "--config", str(config), "--no-register", "--port", "0", "--timeout", "0.2")
    assert done.code == 5, done.stderr
    assert "attic" not in done.stderr


def test_a_device_that_is_not_there_is_one_sentence(cli: Cli) -> None:
    require("portaudio")
    done = cli.run("devices", "--test", "no such card")
    assert done.code == 2
    assert "no such card" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def card(cli: Cli, tmp_path: Path) -> Cli:
    """A machine with a sound card of ALSA's file plug-in, and without the package that cancels echoes."""
    require("portaudio")
    (tmp_path / "asound.conf").write_text('pcm.!default { type null hint { show on description "test" } }\n')
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pywebrtc_audio'] = None\n")
    cli.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{tmp_path}/asound.conf"
    cli.env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tmp_path), cli.env.get("PYTHONPATH"))))
    return cli


def test_an_echo_that_must_be_cancelled_and_cannot_be_is_said_before_anything_is_sent(card: Cli) -> None:
    said = _refused(card, "--audio", "device", "--echo-cancellation", "required")
    assert "sipcli[aec]" in said
    assert "headset" in said


def test_the_configuration_says_it_too_and_the_command_line_outranks_it(card: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sipcli.toml"
    config.write_text('[audio]\necho_cancellation = "required"\n')
    config.chmod(0o600)
    said = _refused(card, "--config", str(config), "--audio", "device")
    assert "sipcli[aec]" in said
    done = card.run(
        "call", "sip:alice@127.0.0.1:9", "--config", str(config), "--from", "sip:bob@there.invalid", "--no-register",
        "--timeout", "1", "--audio", "device", "--echo-cancellation", "off",
    )  # fmt: skip
    assert "sipcli[aec]" not in done.stderr


@pytest.mark.parametrize(("words", "warned"), [((), True), (("--echo-cancellation", "off"), False)])
def test_an_echo_that_may_be_heard_is_a_warning(words: tuple[str, ...], warned: bool, card: Cli) -> None:
    done = card.run(
        "call", "sip:alice@127.0.0.1:9", "--json", "--from", "sip:bob@there.invalid", "--no-register", "--timeout", "1",
        "--audio", "device", *words,
    )  # fmt: skip
    said = [event["message"] for event in done.events if event.get("code") == "echo-not-cancelled"]
    assert len(said) == warned, done.stderr
    assert not warned or "sipcli[aec]" in said[0]
