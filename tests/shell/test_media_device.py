"""The sound card: PortAudio over ALSA's file plug-in (real library, no hardware), and a double where it must refuse."""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from math import pi, sin
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.errors import ConfigError
from sipcli.media.callprogress import PLANS, Cadence
from sipcli.media.resample import Resampler
from sipcli.media.tone import Oscillator, dbfs, dominant_hz, rms, samples_of
from sipcli.ua.media import sound
from sipcli.ua.media.convert import _FastResampler
from sipcli.ua.media.earpiece import Earpiece
from sipcli.ua.media.sound import DevicePort
from tests.support.real import ALSA_CONF, require

SCRIPT = """
import json, time
from sipcli.media.tone import Oscillator, rms
from sipcli.ua.media.convert import _FastResampler
from sipcli.ua.media.earpiece import Earpiece
from sipcli.ua.media.sound import DevicePort, list_devices
devices = [device.name for device in list_devices()]
port, oscillator, loudest = DevicePort("desk", output="headset"), Oscillator(1000), 0.0
deadline = time.monotonic() + 10
beats = 0
while (loudest < 1000 or beats < 50) and time.monotonic() < deadline:
    beats += 1
    port.write(oscillator.read())
    loudest = max(loudest, rms(port.read()))
    time.sleep(0.005)
port.close()
print(json.dumps({"devices": devices, "loudest": loudest}))
"""


def _run(directory: Path, script: str, config: str) -> subprocess.CompletedProcess[str]:
    (directory / "asound.conf").write_text(config)
    env = os.environ | {"ALSA_CONFIG_PATH": f"{ALSA_CONF}:{directory}/asound.conf", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_real_device_is_heard_and_fed(tmp_path: Path) -> None:
    """The plug-in is not paced: so what is tested is that samples pass, not when.

    Two devices, for the plug-in writes what it captures into the file of what it plays.
    """
    require("portaudio")
    values = (round(9000 * sin(2 * pi * 600 * n / 48000)) for n in range(48000 * 60))
    (tmp_path / "in.raw").write_bytes(array("h", values).tobytes())
    shown = 'format "raw" hint { show on description "test" } }'
    done = _run(
        tmp_path,
        SCRIPT,
        "pcm.null0 { type null }\n"
        f'pcm.desk {{ type file slave.pcm "null0" file "/dev/null" infile "in.raw" {shown}\n'
        f'pcm.headset {{ type file slave.pcm "null0" file "out.raw" {shown}\n',
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {"desk", "headset"} <= set(said["devices"])
    assert said["loudest"] > 5000
    # Nobody asked ALSA for its opinion of this machine.
    assert done.stderr == ""
    assert max(samples_of((tmp_path / "out.raw").read_bytes()), default=0) > 5000


def test_no_sound_card_is_one_sentence(tmp_path: Path) -> None:
    require("portaudio")
    script = (
        "from sipcli.errors import ConfigError\nfrom sipcli.ua.media.sound import DevicePort, find_device\n"
        "try:\n    find_device('no such card')\nexcept ConfigError as error:\n    print(error)\n"
        "try:\n    DevicePort('no such card')\nexcept ConfigError as error:\n    print(error, '|', error.hint)\n"
    )
    done = _run(tmp_path, script, "")
    assert done.returncode == 0, done.stderr
    assert "no such card" in done.stdout
    assert "--audio null" in done.stdout
    assert done.stderr == ""


# -- a double ---------------------------------------------------------------------


class PortAudioError(Exception):
    """As sounddevice has it."""


class FakeCard:
    """A module like sounddevice with one card that works at *rates* only."""

    PortAudioError = PortAudioError

    def __init__(self, *rates: int) -> None:
        self.rates = rates
        self.opened: list[FakeStream] = []
        self.plugged = self.seen = True
        """PortAudio sees what is plugged when it begins."""
        self.begun = 0
        self.running = threading.Semaphore(0)
        """Released for each stream that began."""

    def RawStream(
        self,
        *,
        samplerate: int,
        callback: Callable[..., None],
        finished_callback: Callable[[], None],
        device: Any,
        **rest: Any,
    ) -> FakeStream:
        if not self.seen:
            raise ValueError("no such device")
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate")
        self.opened.append(FakeStream(samplerate, callback, finished_callback, self.running))
        self.opened[-1].device = device
        return self.opened[-1]

    RawOutputStream = RawStream

    def _terminate(self) -> None:
        assert not any(stream.running for stream in self.opened), "this would stop somebody's call"

    def _initialize(self) -> None:
        self.begun += 1
        self.seen = self.plugged

    default = SimpleNamespace(device=(0, 0))

    def query_devices(self, device: object = None, kind: str | None = None) -> Any:
        card = {"name": "USB headset: Audio (hw:1,0)", "max_input_channels": 1, "max_output_channels": 2}
        card["default_samplerate"] = float(self.rates[0] if self.rates else 8000)
        more = {"name": "built in, analogue", "max_input_channels": 2, "max_output_channels": 2}
        if kind is not None:
            return card
        return ([card] if self.seen else []) + [more | {"default_samplerate": 48000.0}]


class FakeStream:
    def __init__(
        self, rate: int, callback: Callable[..., None], finished: Callable[[], None], began: threading.Semaphore
    ) -> None:
        self.rate, self.callback, self.running = rate, callback, False
        self.finished, self.began = finished, began
        self.played: bytes | bytearray = b""
        self.latency = 0.01, 0.02
        self.device: Any = None

    def start(self) -> None:
        self.running = True
        self.began.release()

    def close(self, *, ignore_errors: bool) -> None:
        self.running = False

    def unplug(self) -> None:
        """What PortAudio does when the driver says that the device is gone: it stops, and calls back no more."""
        self.running = False
        self.finished()

    def tick(self, spoken: bytes) -> None:
        """PortAudio's thread calls back."""
        heard = bytearray(len(spoken))
        self.callback(spoken, memoryview(heard), len(spoken) // 2, None, None)
        self.played += heard


@pytest.mark.parametrize("rate", [8000, 48000, 44100])
def test_a_card_with_a_rate_of_its_own_is_resampled(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(rate)
    monkeypatch.setattr(sound, "_load", lambda: card)
    port = DevicePort()
    stream = card.opened[0]
    assert stream.running
    block = rate // 50
    microphone = [round(9000 * sin(2 * pi * 500 * n / rate)) for n in range(rate)]
    oscillator, heard = Oscillator(1000), b""
    for n in range(40):
        spoken = microphone[n * block : (n + 1) * block]
        stream.tick(struct.pack(f"<{len(spoken)}h", *spoken))
        heard += port.read()
        port.write(oscillator.read())
    assert dominant_hz(samples_of(heard[-8000:])) == pytest.approx(500, abs=1)
    at_8k = 1000 * 8000 / rate
    assert dominant_hz(samples_of(stream.played[-2 * rate // 4 :])) == pytest.approx(at_8k, abs=1)
    port.close()
    assert not stream.running


@pytest.mark.parametrize(("rate_in", "rate_out"), [(48000, 8000), (8000, 48000), (44100, 8000), (8000, 44100)])
def test_the_fast_filter_is_the_same_filter(rate_in: int, rate_out: int) -> None:
    pytest.importorskip("numpy")
    source = random.Random(7)
    samples = array("h", (source.randint(-30000, 30000) for _ in range(3000)))
    slow, fast = Resampler(rate_in, rate_out), _FastResampler(rate_in, rate_out)
    for n in range(0, 3000, 700):
        chunk = samples[n : n + 700]
        for a, b in zip(slow.push(chunk), fast.push(chunk), strict=True):
            assert abs(a - b) <= 1  # the sums are added up in another order


def test_a_card_that_can_do_nothing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "_load", lambda: FakeCard())
    with pytest.raises(ConfigError, match="Invalid sample rate"):
        DevicePort("0")


def test_without_the_extra_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError) as caught:
        sound.list_devices()
    assert caught.value.hint is not None and "sipcli[audio]" in caught.value.hint


def test_a_microphone_and_a_loudspeaker_of_two_names_and_a_loudspeaker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(48000)
    monkeypatch.setattr(sound, "_load", lambda: card)
    DevicePort("usb", output="1").close()
    DevicePort("usb", listens=False).close()
    DevicePort(output="built in").close()
    assert [stream.device for stream in card.opened] == [(0, 1), 0, (None, 1)]


def test_a_loudspeaker_alone_is_played_and_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(48000)
    monkeypatch.setattr(sound, "_load", lambda: card)
    port, oscillator = DevicePort(listens=False), Oscillator(1000)
    played = b""
    for _ in range(40):
        port.write(oscillator.read())
        assert port.read() == bytes(320)
        block = bytearray(1920)
        card.opened[0].callback(memoryview(block), 960, None, None)
        played += block
    assert dominant_hz(samples_of(played[-48000:]), rate=48000) == pytest.approx(1000, abs=1)
    port.close()


def test_a_card_named_by_number_is_looked_for_by_name(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are dealt anew when a device goes: number 0 is then another card."""
    card, said = FakeCard(48000), list[str]()
    monkeypatch.setattr(sound, "_load", lambda: card)
    port = DevicePort("0", lambda code, message: said.append(message))
    assert card.running.acquire(timeout=30)
    card.plugged = card.seen = False
    card.opened[0].unplug()
    _beat(port)
    while not card.begun:  # it was looked for among what is there, which now begins with the other card
        _beat(port)
    assert len(card.opened) == 1
    card.plugged = True
    assert card.running.acquire(timeout=30)
    while len(said) < 2:
        _beat(port)
    assert len(card.opened) == 2
    port.close()


# -- a device that comes and goes -----------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "_LOOK_EVERY_S", 0.001)


def _beat(port: DevicePort) -> bytes:
    port.write(Oscillator(1000).read())
    return port.read()


@pytest.mark.parametrize("silently", [False, True])
def test_E05_a_device_that_vanishes_is_silence_and_comes_back(
    silently: bool, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails without the look at `finished_callback`, and - *silently* - without the count of beats.

    PortAudio over ALSA cannot be made to lose a device here, so a double does; what it does is in its docstrings.
    """
    card, said = FakeCard(48000), list[str]()
    monkeypatch.setattr(sound, "_load", lambda: card)
    port = DevicePort("USB", lambda code, message: said.append(code))
    assert card.running.acquire(timeout=30)
    card.plugged = card.seen = False
    if silently:
        for _ in range(100):
            assert len(_beat(port)) == 320
        assert said == []
    else:
        card.opened[0].unplug()
    assert _beat(port) == bytes(320)
    assert said == ["device-lost"]
    # It is away: silence, on every beat, at whatever rate the call has.
    port.tune(16000)
    assert _beat(port) == bytes(640)
    card.plugged, card.rates = True, (44100,)
    assert card.running.acquire(timeout=30)
    while "device-back" not in said:
        _beat(port)
    assert said == ["device-lost", "device-back"]
    stream, heard = card.opened[-1], b""
    for n in range(40):
        block = [round(9000 * sin(2 * pi * 500 * i / 44100)) for i in range(n * 882, n * 882 + 882)]
        stream.tick(struct.pack("<882h", *block))
        heard += _beat(port)
    assert dominant_hz(samples_of(heard[-16000:]), rate=16000) == pytest.approx(500, abs=1)
    port.close()
    assert not stream.running


async def test_E05_a_device_that_vanishes_while_it_only_rings_is_told_and_rings_on_when_it_is_back(
    soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call beats yet.  Fails without the look at the microphone in `Earpiece._beat`."""
    card, said = FakeCard(48000), list[str]()
    changed = asyncio.Event()

    def warn(code: str, message: str) -> None:
        said.append(code)
        changed.set()

    async def told(*codes: str) -> None:
        async with asyncio.timeout(30):
            while said != list(codes):
                changed.clear()
                await changed.wait()

    monkeypatch.setattr(sound, "_load", lambda: card)
    ear = Earpiece(DevicePort("USB", warn, listens=False))
    ear.play(Cadence(PLANS["uk"]["bell"]))
    card.plugged = card.seen = False
    card.opened[0].unplug()
    await told("device-lost")
    card.plugged = True
    await told("device-lost", "device-back")
    stream = card.opened[-1]
    async with asyncio.timeout(30):
        while dbfs(rms(stream.played)) < -40:
            await asyncio.sleep(0)
            block = bytearray(1920)
            stream.callback(memoryview(block), 960, None, None)
            stream.played = block
    ear.close()
    assert not stream.running


def test_looking_for_a_device_does_not_stop_another_calls(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio would have to begin anew to see it: not while somebody talks through another stream."""
    card = FakeCard(48000)
    monkeypatch.setattr(sound, "_load", lambda: card)
    lost, other = DevicePort("USB"), DevicePort("built in")
    assert card.running.acquire(timeout=30) and card.running.acquire(timeout=30)
    card.opened[0].unplug()
    _beat(lost)
    assert card.running.acquire(timeout=30)  # it could be opened again without
    assert card.begun == 0
    lost.close()
    other.close()


def test_a_call_that_ends_while_its_device_is_away_looks_no_longer(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(48000)
    monkeypatch.setattr(sound, "_load", lambda: card)
    port = DevicePort()
    card.plugged = card.seen = False
    card.opened[0].unplug()
    _beat(port)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "sipcli-card"]
    port.close()
    thread.join(5)
    assert not thread.is_alive()
    assert not any(stream.running for stream in card.opened)
