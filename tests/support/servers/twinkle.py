"""twinkle-console 1.10 as the other phone: ALSA's file plug-in is its sound card, paced by a pipe on the microphone."""

from __future__ import annotations

import array
import math
import os
import threading
import time
from pathlib import Path

from tests.support import wavs
from tests.support.real import ALSA_CONF
from tests.support.servers.console import TypedPhone, Wishes
from tests.support.servers.process import free_port

RATE, CHUNK = 8000, 800
CODECS = {"pcmu": "g711u", "pcma": "g711a"}


class Twinkle(TypedPhone):
    """A registered twinkle that answers by itself.  ``heard`` is what reached it, as a WAV."""

    SAYS = {
        "resume": "retrieve",
        "join": "transfer -l",  # it sends the far end of the line it speaks on to that of the other
        "dtmf": "dtmf -r %s",
        "message": 'message %s "%s"',
    }
    PRESSED = r"DTMF detected: (.)"

    def begin(self, directory: Path, proxy: str, wishes: Wishes) -> None:
        assert (wishes.ca, wishes.encryption, wishes.stun, wishes.inside) == (None, "none", None, None), "it cannot"
        place = directory / ".twinkle"
        place.mkdir(parents=True, exist_ok=True)
        self._speaker, self._wav = directory / "heard.raw", directory / "heard.wav"
        self._microphone = Microphone(directory / "said.pipe", wishes.tone)
        card = directory / "asound.conf"
        card.write_text(
            "pcm.nothing { type null }\n"
            'pcm.microphone { type file slave.pcm "nothing" file "/dev/null" '
            f'infile "{self._microphone.pipe}" format "raw" }}\n'
            f'pcm.speaker {{ type file slave.pcm "nothing" file "{self._speaker}" format "raw" }}\n'
        )
        (place / "twinkle.sys").write_text(
            "dev_ringtone=alsa:nothing\ndev_speaker=alsa:speaker\ndev_mic=alsa:microphone\nvalidate_audio_dev=no\n"
            f"sip_port={free_port(block=2)}\nrtp_port={free_port(block=20)}\nplay_ringtone=no\nplay_ringback=no\n"
        )
        (place / "person.cfg").write_text(
            f"user_name={wishes.user}\nuser_domain=sip.test\nauth_realm=sip.test\nauth_name={wishes.user}\nauth_pass={wishes.password}\n"
            f"outbound_proxy={proxy}\nall_requests_to_proxy=yes\nregistrar={proxy}\nregistration_time=60\n"
            f"sip_transport={wishes.transport}\ncodecs={CODECS[wishes.codec]}\nask_user_to_refer=no\npres_publish_startup=no\n"
            # What makes speech better takes a tone for noise.
            "speex_dsp_vad=no\nspeex_dsp_agc=no\nspeex_dsp_nrd=no\n"
        )
        self.open(["twinkle-console", "person.cfg"], directory, ALSA_CONFIG_PATH=f"{ALSA_CONF}:{card}")
        self.console.wait_for("registration succeeded")
        self.console.type("auto_answer -a on")
        self.console.wait_for("(?i)auto answer")

    def dial_second(self, uri: str) -> None:
        """On its other line, while the first waits."""
        self.console.type("line 2")
        self.console.wait_for("Line 2 is now active")
        self.console.wait_for("Line 1: re-INVITE successful")  # what is dialled while it asks is now and then lost
        self.dial(uri)

    @property
    def heard(self) -> Path:
        wavs.write_wav(self._wav, self._speaker.read_bytes() if self._speaker.exists() else b"", RATE)
        return self._wav

    def stop(self) -> None:
        super().stop()
        self._microphone.stop()


class Microphone:
    """A pipe into which a tone is said, at the pace of somebody who speaks; the null device behind it has none."""

    def __init__(self, pipe: Path, hertz: float) -> None:
        self.pipe = pipe
        os.mkfifo(pipe)
        # Open for both, so that it is there before the telephone reads, and after; and never full of old sound.
        self._end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._hertz = hertz
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._thread.start()

    def _speak(self) -> None:
        at, due = 0, time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            part = (round(9000 * math.sin(2 * math.pi * self._hertz * n / RATE)) for n in range(at, at + CHUNK))
            try:
                os.write(self._end, array.array("h", part).tobytes())
                at += CHUNK
            except BlockingIOError:  # nobody listens
                pass
            due = max(due + CHUNK / RATE, time.monotonic() - 2 * CHUNK / RATE)

    def stop(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._thread.join(5)
            os.close(self._end)
