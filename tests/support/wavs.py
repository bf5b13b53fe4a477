"""Listening to recordings: an independent Goertzel, so that ours is not its own judge."""

from __future__ import annotations

import array
import math
import struct
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


def read_wav(path: Path) -> tuple[array.array[int], int]:
    """The first channel's samples and the rate.  A file whose writer never closed it is read to its end."""
    raw = path.read_bytes()
    assert raw[:4] == b"RIFF", f"{path} is no WAV"
    at, rate, channels = 12, 8000, 1
    samples = array.array("h")
    while at + 8 <= len(raw):
        kind, size = raw[at : at + 4], struct.unpack("<I", raw[at + 4 : at + 8])[0]
        if kind == b"fmt ":
            _, channels, rate = struct.unpack("<HHI", raw[at + 8 : at + 16])
        elif kind == b"data":
            data = raw[at + 8 : at + 8 + size] if 0 < size <= len(raw) - at - 8 else raw[at + 8 :]
            samples.frombytes(data[: len(data) // 2 * 2])
            break
        at += 8 + size + (size & 1)
    return samples[::channels], rate


def write_wav(path: Path, pcm: bytes, rate: int) -> None:
    """Mono, 16 bits."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm)


def write_tone(path: Path, hertz: float, *, seconds: int, rate: int = 8000) -> None:
    samples = (round(9000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(seconds * rate))
    write_wav(path, array.array("h", samples).tobytes(), rate)


def share_of(samples: array.array[int], rate: int, hertz: float) -> float:
    """How much of the power is at *hertz*: 1.0 for a pure tone, near 0 for anything else."""
    coefficient, p, q, total = 2 * math.cos(2 * math.pi * hertz / rate), 0.0, 0.0, 0.0
    for value in samples:
        p, q = value + coefficient * p - q, p
        total += value * value
    return 2 * (p * p + q * q - coefficient * p * q) / len(samples) / total if total else 0.0


def assert_tone(path: Path, hertz: float, *, seconds: float, rms_dbfs: float = -40.0) -> None:
    """*path* holds at least *seconds* of a clear tone at *hertz*, louder than *rms_dbfs*."""
    samples, rate = read_wav(path)
    frame = rate // 20
    good = 0
    for at in range(0, len(samples) - frame, frame):
        part = samples[at : at + frame]
        rms = math.sqrt(sum(v * v for v in part) / frame)
        loud = rms > 0 and 20 * math.log10(rms / 32768) > rms_dbfs
        good += loud and share_of(part, rate, hertz) > 0.8
    assert good / 20 >= seconds, f"{path}: {good / 20:.2f} s of {hertz} Hz in {len(samples) / rate:.2f} s"


def assert_last(path: Path, hertz: float, *, seconds: float) -> None:
    """The last *seconds* of *path* in which anything is heard are a clear tone at *hertz*."""
    samples, rate = read_wav(path)
    frame = rate // 20
    parts = [samples[at : at + frame] for at in range(0, len(samples) - frame, frame)]
    while parts and max(map(abs, parts[-1])) < 300:
        parts.pop()
    last = parts[-round(seconds * 20) :]
    good = sum(share_of(part, rate, hertz) > 0.8 for part in last)
    assert good >= 0.8 * seconds * 20, f"{path}: {good / 20:.2f} s of {hertz} Hz in the last {len(last) / 20:.2f} s"


def tone_gaps(path: Path, hertz: float) -> list[float]:
    """Seconds without a clear tone at *hertz*, one for each time, between its first and its last 50 ms."""
    samples, rate = read_wav(path)
    frame = rate // 20
    parts = (samples[at : at + frame] for at in range(0, len(samples) - frame, frame))
    clear = [share_of(part, rate, hertz) > 0.8 for part in parts]
    runs = "".join("x" if good else "." for good in clear).strip(".").split("x")
    return [len(run) / 20 for run in runs if run]


class Hearing(NamedTuple):
    """What somebody heard of a tone, between its first and its last 20 ms."""

    seconds: float
    """From the first to the last."""
    tone_pct: float
    """How much of the power was the tone; the rest is noise that the network made."""
    heard_pct: float
    """How much of the time was a clear tone."""
    longest_gap_ms: int
    """Without a clear tone; what was concealed well is no gap, for nobody hears one."""
    gaps: int
    """Longer than 60 ms."""

    @property
    def snr_db(self) -> float:
        """The tone's power over that of everything else; 60 for whatever is beyond."""
        return min(60.0, 10 * math.log10(self.tone_pct / max(1e-9, 100 - self.tone_pct)))


def hear(path: Path, hertz: float) -> Hearing:
    """Judged in steps of 20 ms, the packet of every codec that we speak."""
    samples, rate = read_wav(path)
    step = rate // 50
    parts = [samples[at : at + step] for at in range(0, len(samples) - step, step)]
    shares = [share_of(part, rate, hertz) for part in parts]
    powers = [sum(value * value for value in part) for part in parts]
    judged = zip(shares, powers, strict=True)
    marks = "".join("x" if share > 0.8 and power > step * 1e4 else "." for share, power in judged)
    first, end = marks.find("x"), marks.rfind("x") + 1
    assert end, f"{path}: no {hertz} Hz in {len(samples) / rate:.2f} s"
    gaps = [20 * len(run) for run in marks[first:end].split("x") if run]
    heard = sum(share * power for share, power in zip(shares[first:end], powers[first:end], strict=True))
    tone = 100 * min(1.0, heard / sum(powers[first:end]))
    clear = 100 * marks.count("x") / (end - first)
    return Hearing((end - first) / 50, tone, clear, max(gaps, default=0), sum(gap > 60 for gap in gaps))


def wait_for_growth(path: Callable[[], Path], seconds: float, *, rate: int = 8000, timeout: float = 40) -> None:
    """Until the recording holds *seconds* of sound; it is the recorder's pace that decides, not ours."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if path().stat().st_size > seconds * rate * 2:
                return
        except ValueError:  # no recording yet
            pass
        time.sleep(0.05)
    raise AssertionError(f"no {seconds} s of sound were recorded in {timeout} s")
