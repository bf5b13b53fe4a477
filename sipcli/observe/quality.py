"""How a call sounded, in words: loss and jitter (RFC 3550), level and tone, and what a listener would say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["quality_lines", "verdict"]

Fields: TypeAlias = Mapping[str, Any]

_SILENCE_DBFS = -60.0
"""Below this there is nothing to hear."""


def quality_lines(stats: Fields, audio: Fields | None = None, codec: str | None = None) -> list[str]:
    """One line per direction and one for the sound; what was not measured is not mentioned.

    *stats* has the fields of a ``stats`` event, *audio* those of ``result.call.audio``.
    """
    rx, tx = stats.get("rx") or {}, stats.get("tx") or {}
    lines = []
    if rx.get("packets") is not None:
        lines.append(
            f"received {rx['packets']} packets, lost {rx.get('lost', 0)} ({rx.get('lost_pct', 0.0):.1f} %), "
            f"jitter {rx.get('jitter_ms', 0.0):.1f} ms, late {rx.get('late', 0)}"
        )
    if tx.get("packets") is not None:
        lines.append(f"sent {tx['packets']} packets{_far_end(stats.get('remote'))}")
    heard = _sound(rx, audio or {})
    if heard:
        lines.append("heard " + ", ".join(heard))
    grade = verdict(stats, audio)
    if codec is not None or grade is not None:
        lines.append(", ".join(filter(None, [codec, grade])))
    return lines


def verdict(stats: Fields, audio: Fields | None = None) -> str | None:
    """``MOS 4.4 (very good)``; None while nothing was measured."""
    rx = stats.get("rx") or {}
    if rx.get("packets") == 0:
        return "nothing was received"
    level = (audio or {}).get("rms_dbfs", rx.get("rms_dbfs"))
    if level is not None and level < _SILENCE_DBFS:
        return "what arrived was silence"
    mos = stats.get("mos")
    return None if mos is None else f"MOS {mos:.1f} ({_grade(mos)})"


def _grade(mos: float) -> str:
    """ITU-T G.107 annex B: how users judge it."""
    for least, word in (
        (4.3, "very good"),
        (4.0, "good"),
        (3.6, "some users dissatisfied"),
        (3.1, "many dissatisfied"),
    ):
        if mos >= least:
            return word
    return "nearly all dissatisfied"


def _far_end(remote: Fields | None) -> str:
    if not remote:
        return ""
    return f"; the far end lost {remote['lost_pct']:.1f} %, jitter {remote['jitter_ms']:.1f} ms"


def _sound(rx: Fields, audio: Fields) -> list[str]:
    found = []
    level = audio.get("rms_dbfs", rx.get("rms_dbfs"))
    if level is not None:
        found.append(f"{level:.1f} dBFS")
    speech = audio.get("speech_pct", rx.get("speech_pct"))
    if speech is not None:
        found.append(f"sound {speech:.0f} % of the time")
    if audio.get("tone_hz") is not None:
        found.append(f"a tone of {audio['tone_hz']:.0f} Hz")
    if audio.get("longest_gap_ms") is not None:
        found.append(f"longest gap {audio['longest_gap_ms']:.0f} ms")
    return found
