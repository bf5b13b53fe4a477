"""How a loss sounds: the same packets through a receiver with and without losses, and the difference in figures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import log10
from typing import Any

import numpy as np

from sipcli.media.agreement import Agreement
from sipcli.media.codecs import Codec, choose, make_decoder, make_encoder
from sipcli.media.offer import Negotiator
from sipcli.media.receiver import RtpReceiver
from sipcli.media.rtp import RtpPacket
from tests.support.room import voice

FRAME_S = 0.02
_BEGIN = 10
"""Packets that are not lost: a decoder has to have heard something."""
_BANDS = 24


def lost_packets(count: int, share: float, burst: int, *, seed: int = 4) -> list[bool]:
    """Which of *count* packets are lost: *share* of them, in runs of *burst* on average."""
    source, losing, lost = random.Random(seed), False, []
    for n in range(count):
        enter = share / (burst * (1 - share)) if burst > 1 else share
        losing = source.random() < (1 - 1 / burst if losing and burst > 1 else enter)
        lost.append(losing and n >= _BEGIN)
    return lost


@cache
def agreed(name: str) -> Agreement:
    """What two of us would agree on for the codec *name*."""
    sides = [
        Negotiator(rtp=("127.0.0.1", port), rtcp_port=port + 1, codecs=[name], session_id=1, random=bytes)
        for port in (4000, 5000)
    ]
    sides[1].answer(sides[0].offer())
    agreement = sides[1].agreement
    assert agreement is not None
    return agreement


@cache
def spoken(name: str, seconds: int, *, expected_loss: int = 0) -> tuple[bytes, ...]:
    """A voice as packets of the codec *name*; *expected_loss* in per cent is what the encoder is told."""
    [codec] = choose([name])
    encoder = make_encoder(codec, {"useinbandfec": "1"})
    encoder.expect_loss(expected_loss)
    pcm = (0.8 * voice(seconds, codec.sample_rate, pitch=120, seed=3)).round().astype("<i2").tobytes()
    size = 2 * codec.frame
    return tuple(encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size))


def played(codec: Codec, payloads: Sequence[bytes], lost: Sequence[bool]) -> Any:
    """What a receiver plays of them, from the first packet's beginning on, as samples."""
    receiver, agreement = RtpReceiver(), agreed(codec.name)
    receiver.configure(agreement)
    [kind] = [number for number, known in agreement.receive_types.items() if known == codec]
    heard, waited = [], 0
    for n in range(len(payloads) + 3):
        if n < len(payloads) and not lost[n]:
            packet = RtpPacket(
                payload_type=kind, sequence=n, timestamp=n * codec.ticks, ssrc=1, payload=payloads[n], marker=n == 0
            )
            receiver.receive(packet, n * FRAME_S)
        frame = receiver.play(n * FRAME_S + 0.007)
        if not receiver.jitter.playing and not heard:
            waited += 1
            continue
        heard.append(frame)
    assert waited < 4
    return np.frombuffer(b"".join(heard), "<i2").astype(float)


def replaced(codec: Codec, payloads: Sequence[bytes], lost: Sequence[bool], fill: Callable[[bytes], bytes]) -> Any:
    """What a player without concealment would make of them: *fill* gives a lost frame, out of the last one."""
    decoder, last, heard = make_decoder(codec), bytes(2 * codec.frame), []
    for payload, gone in zip(payloads, lost, strict=True):
        last = last if gone else decoder.decode(payload)
        heard.append(fill(last) if gone else last)
    return np.frombuffer(b"".join(heard), "<i2").astype(float)


@dataclass(frozen=True)
class Damage:
    """*snr_db*: of the whole.  *spectrum_db*: how far spectra around the losses are from the true ones, on average."""

    snr_db: float
    spectrum_db: float


def damage(true: Any, heard: Any, lost: Sequence[bool], frame: int) -> Damage:
    """Spectra are of 40 ms in two dozen bands, every 10 ms from before a loss to after it, where something was said."""
    length = min(len(true), len(heard))
    true, heard = true[:length], heard[:length]
    window, distances = np.hanning(2 * frame), []
    for at in sorted({half for n, gone in enumerate(lost) if gone for half in range(2 * n - 1, 2 * n + 3)}):
        begin = (at - 2) * (frame // 2)
        if begin < 0 or begin + 2 * frame > length:
            continue
        both = [_bands(part[begin : begin + 2 * frame] * window) for part in (true, heard)]
        if np.mean((true[begin : begin + 2 * frame] * window) ** 2) > 4000:
            floor = 1e-4 * both[0].max()
            distance = 10 * np.log10((both[0] + floor) / (both[1] + floor))
            distances.append(float(np.sqrt(np.mean(distance**2))))
    noise = float(np.sum((true - heard) ** 2))
    return Damage(10 * log10(float(np.sum(true**2)) / (noise + 1e-9)), float(np.mean(distances)))


def _bands(part: Any) -> Any:
    power = np.abs(np.fft.rfft(part)) ** 2
    edges = np.unique(np.geomspace(2, 0.9 * len(power), _BANDS).round().astype(int))
    return np.array([power[low:high].mean() for low, high in pairwise(edges)])
