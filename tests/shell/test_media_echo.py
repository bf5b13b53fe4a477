"""Echo cancellation by the real library, in a simulated room: what is taken away, and what must not be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sipcli.errors import ConfigError
from sipcli.media.echo import join_pairs, split_pairs
from sipcli.ua.media import echocancel, sound
from sipcli.ua.media.audio import check_audio
from sipcli.ua.media.audiospec import Device
from sipcli.ua.media.echocancel import canceller_for
from sipcli.ua.media.sound import DevicePort
from tests.support.real import require
from tests.support.room import Room, level_db, likeness, voice


def _talk(room: Room, rate: int, far: Any, near: Any, *, move_at: float | None = None) -> tuple[Any, Any]:
    """What the microphone heard, and what is left of it, in steps of 20 ms."""
    require("aec")
    canceller = canceller_for("required", rate, 0.03)
    assert canceller is not None
    step, heard, left = rate // 50, [], []
    for at in range(0, len(far) - step + 1, step):
        if move_at is not None and at == int(move_at * 50) * step:
            room.move(7)
        played = far[at : at + step].round().astype("<i2")
        captured = room.hear(played, near[at : at + step])
        cleaned = canceller.cancel(captured.tobytes(), played.tobytes())
        assert len(cleaned) == 2 * step
        heard.append(captured)
        left.append(np.frombuffer(cleaned, "<i2"))
    return np.concatenate(heard), np.concatenate(left)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("delay_s", [0.01, 0.06, 0.2])
def test_the_loudspeaker_is_taken_out_of_the_microphone(rate: int, delay_s: float) -> None:
    """By 20 dB from the first second on; 8 ms of echo or 300 are the same to it."""
    far = voice(5, rate, pitch=110, seed=1)
    heard, left = _talk(Room(rate, delay_s=delay_s), rate, far, np.zeros(len(far)))
    for begin, end in ((1, 3), (3, 5)):
        part = slice(begin * rate, end * rate)
        assert level_db(heard[part]) - level_db(left[part]) >= 20


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_person_is_heard_alone_and_while_the_other_talks(rate: int) -> None:
    """A gate that closes the microphone would pass the test above, and none of this."""
    far, near = voice(13, rate, pitch=110, seed=1), 0.6 * voice(13, rate, pitch=190, seed=2)
    near[: 5 * rate] = 0
    far[10 * rate :] = 0
    _, left = _talk(Room(rate), rate, far, near)
    both, alone = slice(int(5.5 * rate), 10 * rate), slice(int(10.5 * rate), 13 * rate)
    alike, louder = likeness(left[both], near[both], rate)
    assert alike > 0.6
    assert louder > -6
    alike, louder = likeness(left[alone], near[alone], rate)
    assert alike > 0.85
    assert abs(louder) < 1.5


def test_a_microphone_that_is_moved_is_learnt_again() -> None:
    rate = 48000
    far = voice(8, rate, pitch=110, seed=1)
    heard, left = _talk(Room(rate), rate, far, np.zeros(len(far)), move_at=4)
    part = slice(6 * rate, 8 * rate)
    assert level_db(heard[part]) - level_db(left[part]) >= 20


# -- in the port of a sound card ------------------------------------------------------


class RoomCard:
    """A module like sounddevice with one card, whose loudspeaker and microphone share a room."""

    PortAudioError = OSError

    def __init__(self, room: Room) -> None:
        self._room = room
        self.latency = 0.01, 0.02
        self.closed = False

    def RawStream(self, *, callback: Callable[..., None], **_: Any) -> RoomCard:
        self._callback = callback
        self._heard = np.zeros(960, "<i2")
        return self

    def start(self) -> None:
        pass

    def close(self, *, ignore_errors: bool) -> None:
        self.closed = True

    def tick(self) -> None:
        """20 ms pass in the room."""
        played = bytearray(1920)
        self._callback(self._heard.tobytes(), memoryview(played), 960, None, None)
        self._heard = self._room.hear(np.frombuffer(played, "<i2"), np.zeros(960))


def _call(echo: Any, monkeypatch: pytest.MonkeyPatch, stumbles: Sequence[int] = ()) -> float:
    """Six seconds of a G.722 call through a sound card: the mean level of what is sent in the fifth and sixth.

    At the beats in *stumbles* this machine is away for 100 ms: the loudspeaker falls silent, the microphone's ring is
    full.
    """
    require("aec")
    card = RoomCard(Room(48000))
    monkeypatch.setattr(sound, "_load", lambda: card)
    port, sent = DevicePort(echo=echo), []
    port.tune(16000)
    far = voice(6, 16000, pitch=110, seed=1).round().astype("<i2")
    for beat in range(300):
        for _ in range(5 if beat in stumbles else 1):
            card.tick()
        port.write(far[beat * 320 : beat * 320 + 320].tobytes())
        sent.append(np.frombuffer(port.read(), "<i2"))
    port.close()
    assert card.closed
    return level_db(np.concatenate(sent[202:]))


def test_nobody_hears_himself_in_our_loudspeaker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _call("off", monkeypatch) - _call("auto", monkeypatch) >= 16


def test_a_machine_that_stumbles_does_not_unlearn_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails (14 dB) where what was given to the loudspeaker is compared, and not what it played at that moment; and
    (12 dB) where rings lose some of it before the canceller has seen it."""
    stumbles = range(150, 300, 40)
    assert _call("off", monkeypatch, stumbles) - _call("required", monkeypatch, stumbles) >= 20


def test_pairs_come_apart_as_they_were_joined() -> None:
    captured, played = bytes(range(64)), bytes(range(64, 128))
    pairs = join_pairs(captured, played)
    assert split_pairs(pairs) == (captured, played)
    # What a full ring loses is whole pairs.
    assert split_pairs(pairs[40:]) == (captured[20:], played[20:])


# -- where the extra is missing ---------------------------------------------------------


def test_without_the_extra_it_is_done_without_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echocancel, "missing", lambda: "the package pywebrtc-audio (pip install 'sipcli[aec]')")
    assert canceller_for("auto", 48000, 0.03) is None
    assert canceller_for("off", 48000, 0.03) is None
    for act in (lambda: canceller_for("required", 48000, 0.03), lambda: check_audio(Device(echo="required"))):
        with pytest.raises(ConfigError, match="sipcli\\[aec\\]") as caught:
            act()
        assert caught.value.hint is not None and "headset" in caught.value.hint


def test_a_library_that_does_not_load_is_one_sentence_and_the_card_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    require("aec")
    card = RoomCard(Room(48000))
    monkeypatch.setattr(sound, "_load", lambda: card)
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        DevicePort(echo="auto")
    assert caught.value.hint is not None and "--echo-cancellation off" in caught.value.hint
    assert card.closed


def test_nobody_loads_it_who_has_no_sound_card() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, sipcli.ua.media.sound, sipcli.ua.media.media_io; print('pywebrtc_audio' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "False"
