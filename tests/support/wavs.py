"""Listening to recordings: an independent Goertzel, so that ours is not its own judge."""

from __future__ import annotations

import array
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path


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


def tone_gaps(path: Path, hertz: float) -> list[float]:
    """Seconds without a clear tone at *hertz*, one for each time, between its first and its last 50 ms."""
    samples, rate = read_wav(path)
    frame = rate // 20
    parts = (samples[at : at + frame] for at in range(0, len(samples) - frame, frame))
    clear = [share_of(part, rate, hertz) > 0.8 for part in parts]
    runs = "".join("x" if good else "." for good in clear).strip(".").split("x")
    return [len(run) / 20 for run in runs if run]


def wait_for_growth(path: Callable[[], Path], seconds: float, *, rate: int = 8000, timeout: float = 15) -> None:
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
