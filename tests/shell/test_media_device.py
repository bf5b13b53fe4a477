"""The sound card: PortAudio over ALSA's file plug-in (real library, no hardware), and a double where it must refuse."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from math import pi, sin
from pathlib import Path
from typing import Any

import pytest

from sipcli.errors import ConfigError
from sipcli.media.resample import Resampler
from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from sipcli.ua.media import sound
from sipcli.ua.media.convert import _FastResampler
from sipcli.ua.media.sound import DevicePort
from tests.support.real import ALSA_CONF, require

SCRIPT = """
import json, time
from sipcli.media.tone import Oscillator, rms
from sipcli.ua.media.convert import _FastResampler
from sipcli.ua.media.sound import DevicePort, list_devices
devices = [device.name for device in list_devices()]
port, oscillator, loudest = DevicePort(), Oscillator(1000), 0.0
deadline = time.monotonic() + 10
while loudest < 1000 and time.monotonic() < deadline:
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
    """The plug-in is not paced: so what is tested is that samples pass, not when."""
    require("portaudio")
    values = (round(9000 * sin(2 * pi * 600 * n / 48000)) for n in range(48000 * 60))
    (tmp_path / "in.raw").write_bytes(array("h", values).tobytes())
    done = _run(
        tmp_path,
        SCRIPT,
        "pcm.null0 { type null }\n"
        'pcm.!default { type file slave.pcm "null0" file "out.raw" infile "in.raw" format "raw"'
        ' hint { show on description "test" } }\n',
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "default" in said["devices"]
    assert said["loudest"] > 5000
    # Nobody asked ALSA for its opinion of this machine.
    assert done.stderr == ""
    assert max(samples_of((tmp_path / "out.raw").read_bytes()), default=0) > 5000


def test_no_sound_card_is_one_sentence(tmp_path: Path) -> None:
    require("portaudio")
    script = (
        "from sipcli.errors import ConfigError\nfrom sipcli.ua.media.sound import DevicePort\n"
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

    def RawStream(self, *, samplerate: int, callback: Callable[..., None], **rest: Any) -> FakeStream:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate")
        self.opened.append(FakeStream(samplerate, callback))
        return self.opened[-1]

    def query_devices(self, device: object, kind: str) -> dict[str, float]:
        return {"default_samplerate": float(self.rates[0] if self.rates else 8000)}


class FakeStream:
    def __init__(self, rate: int, callback: Callable[..., None]) -> None:
        self.rate, self.callback, self.running = rate, callback, False
        self.played = b""

    def start(self) -> None:
        self.running = True

    def close(self, *, ignore_errors: bool) -> None:
        self.running = False

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
        DevicePort("3")


def test_without_the_extra_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError) as caught:
        sound.list_devices()
    assert caught.value.hint is not None and "sipcli[audio]" in caught.value.hint
