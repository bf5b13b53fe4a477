"""How a call was: counters, levels, and a MOS from the E-model (ITU-T G.107, G.113) out of what was measured."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from sipcli.media.tone import SAMPLE_RATE, dbfs, dominant_hz, samples_of, sum_of_squares

__all__ = [
    "AudioMeter",
    "AudioVerdict",
    "Level",
    "MediaReport",
    "RemoteStats",
    "RxStats",
    "TxStats",
    "mos",
    "mos_of",
    "r_factor",
]

_FRAME_MS = 20
_SPEECH_POWER = (10 ** (-50 / 20) * 32768) ** 2 / 2
"""-50 dBFS, as a mean square."""
_NOTHING = -1.0
_CLIPPED = 32000
"""PCMU's largest value is 32124, PCMA's 32256."""
_NOT_CLIPPED = bytes(octet for octet in range(256) if not 0x7D <= octet <= 0x83)
"""The upper octets of samples that are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RxStats:
    """What we received.  *late* came too late to be played; they are not among *lost*."""

    packets: int = 0
    lost: int = 0
    lost_pct: float = 0.0
    jitter_ms: float = 0.0
    late: int = 0
    rms_dbfs: float | None = None
    speech_pct: float | None = None

    @property
    def loss(self) -> float:
        """*lost_pct*, in short."""
        return self.lost_pct


@dataclass(frozen=True, slots=True, kw_only=True)
class TxStats:
    """What we sent.  *skipped* are grid slots that passed while the process was held up: not sent, not caught up.

    *rms_dbfs* and *speech_pct* are None where nobody measures it.
    """

    packets: int = 0
    octets: int = 0
    skipped: int = 0
    rms_dbfs: float | None = None
    speech_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStats:
    """What the peer received of ours, by its RTCP reports.

    *discard_pct* came too late for him, *mos_lq* and *mos_cq* are his scores for listening and for conversing: out of
    his extended reports (RFC 3611 section 4.7), None where he sends none or has not measured it.
    """

    lost_pct: float
    jitter_ms: float
    discard_pct: float | None = None
    mos_lq: float | None = None
    mos_cq: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioVerdict:
    """What was heard, over the whole time of playout; None before the first frame.

    *tone_hz* is the frequency that holds at least half of the power of the longest
    stretch of sound (up to its last second).
    """

    rms_dbfs: float | None = None
    speech_pct: float | None = None
    tone_hz: float | None = None
    longest_gap_ms: int | None = None
    clipped_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReport:
    """Everything known of a session's media at one moment; *mos* is None until enough was received."""

    codec: str | None = None
    rate: int | None = None
    rx: RxStats = RxStats()
    tx: TxStats = TxStats()
    remote: RemoteStats | None = None
    rtt_ms: float | None = None
    mos: float | None = None
    audio: AudioVerdict = AudioVerdict()
    strangers: int = 0


class Level(NamedTuple):
    """Of a moment: that of its loudest 20 ms, and whether anything in it was clipped."""

    dbfs: float
    clipped: bool


class AudioMeter:
    """Fed every 20 ms of played audio; keeps sums, and the last second of the present and of the longest sound."""

    _KEPT = 50

    def __init__(self) -> None:
        self.rate = SAMPLE_RATE
        """Hz of what is fed; :meth:`tune` changes it."""
        self._frames = 0
        self._samples = 0
        self._squares = 0
        self._speech = 0
        self._clipped = 0
        self._gap = 0
        self._longest_gap = 0
        self._run: deque[array[int]] = deque(maxlen=self._KEPT)
        self._longest_run: tuple[array[int], ...] = ()
        self._loudest = _NOTHING  # a mean square: its logarithm can wait until somebody looks
        self._harsh = False
        self._seen: Level | None = None

    def tune(self, rate: int) -> None:
        """From now on frames of another *rate* come: the counts go on, a stretch of sound ends."""
        if rate != self.rate:
            self._run.clear()
            self._longest_run = ()
            self.rate = rate

    def feed(self, pcm: bytes) -> None:
        """One frame."""
        samples = samples_of(pcm)
        squares = sum_of_squares(samples)
        self._frames += 1
        self._samples += len(samples)
        self._squares += squares
        clipped = False
        if squares > _SPEECH_POWER * len(samples):
            self._speech += 1
            self._gap = 0
            self._run.append(samples)
            # Most frames need not be looked through sample by sample: it would double what a frame costs.
            suspect = pcm[1::2].translate(None, _NOT_CLIPPED)
            clipped = bool(suspect) and (max(samples) >= _CLIPPED or min(samples) <= -_CLIPPED)
            self._clipped += clipped
        else:
            self._gap += 1
            self._longest_gap = max(self._longest_gap, self._gap)
            self._end_run()
        self._loudest = max(self._loudest, squares / len(samples) if samples else 0.0)
        self._harsh |= clipped

    def look(self) -> Level | None:
        """The level since the last look; that of the last one again where nothing came meanwhile."""
        if self._loudest > _NOTHING:
            self._seen = Level(dbfs(self._loudest**0.5), self._harsh)
            self._loudest, self._harsh = _NOTHING, False
        return self._seen

    def _end_run(self) -> None:
        if len(self._run) >= max(1, len(self._longest_run)):
            self._longest_run = tuple(self._run)
        self._run.clear()

    @property
    def rms_dbfs(self) -> float | None:
        """Of everything, silence included."""
        if not self._samples:
            return None
        return round(dbfs((self._squares / self._samples) ** 0.5), 1)

    @property
    def speech_pct(self) -> float | None:
        """Frames above -50 dBFS."""
        return round(100 * self._speech / self._frames, 1) if self._frames else None

    def verdict(self) -> AudioVerdict:
        """Costs some 20 ms when there was sound: for the end of a call."""
        if not self._frames:
            return AudioVerdict()
        kept = self._run if len(self._run) >= len(self._longest_run) else self._longest_run
        sound: array[int] = array("h")
        for samples in kept:
            sound += samples
        return AudioVerdict(
            rms_dbfs=self.rms_dbfs,
            speech_pct=self.speech_pct,
            tone_hz=dominant_hz(sound[-self.rate // 2 :], rate=self.rate),
            longest_gap_ms=self._longest_gap * _FRAME_MS,
            clipped_pct=round(100 * self._clipped / self._frames, 1),
        )


def r_factor(*, loss_pct: float, delay_ms: float) -> float:
    """The E-model's rating of G.711 with concealment, by ITU-T G.107 with its default values; may be below 0.

    *delay_ms* is mouth to ear, one way. Ie = 0 and Bpl = 25.1 are G.113's for G.711 with
    the concealment of its appendix I; losses are taken as random (BurstR = 1).
    """
    impairment = 95 * loss_pct / (loss_pct + 25.1)
    # The simplification of G.107's Idd by Cole and Rosenbluth (2001), good to 400 ms.
    delay_impairment = 0.024 * delay_ms + (0.11 * (delay_ms - 177.3) if delay_ms > 177.3 else 0.0)
    return 93.2 - impairment - delay_impairment


def mos_of(r: float) -> float:
    """The mean opinion score (1 to 4.5) that a rating comes to (ITU-T G.107 annex B)."""
    if r <= 0:
        return 1.0
    return round(min(4.5, max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)), 2)


def mos(*, loss_pct: float, delay_ms: float) -> float:
    """Mean opinion score (1 to 4.5) of G.711 with concealment: see :func:`r_factor`."""
    return mos_of(r_factor(loss_pct=loss_pct, delay_ms=delay_ms))
