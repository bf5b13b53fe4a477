"""The audio of a call: opened before the call exists, and what it came to in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sipcli.media.quality import AudioVerdict, MediaReport, RxStats, TxStats
from sipcli.ua.media_io import MediaSession

if TYPE_CHECKING:
    from sipcli.ua.audio import AudioSpec
    from sipcli.ua.call import Call

__all__ = ["CallReport", "MediaHooks", "open_media"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """What a call came to.  Times in milliseconds, None where it did not come so far.

    *pdd_ms*: from dialling to the first sign of the far end; *setup_ms*: to the
    answer; *ring_ms* and *talk_ms*: how long it rang, and was up.
    """

    by: Literal["local", "remote", "network"]
    code: int | None = None
    reason: str = ""
    setup_ms: float | None = None
    ring_ms: float | None = None
    talk_ms: float | None = None
    pdd_ms: float | None = None
    media: MediaReport = MediaReport()  # noqa: RUF009 - frozen

    @property
    def codec(self) -> str | None:
        return self.media.codec

    @property
    def rx(self) -> RxStats:
        return self.media.rx

    @property
    def tx(self) -> TxStats:
        return self.media.tx

    @property
    def audio(self) -> AudioVerdict:
        return self.media.audio


class MediaHooks:
    """What a media session calls, before and after its call exists."""

    def __init__(self) -> None:
        self.call: Call | None = None

    def digit(self, digit: str, duration_ms: int) -> None:
        if self.call is not None:
            self.call._heard_digit(digit, duration_ms)  # noqa: SLF001 - one room

    def state(self, state: str) -> None:
        if self.call is not None:
            self.call._teller.media(state)  # noqa: SLF001

    def warning(self, code: str, message: str) -> None:
        if self.call is not None:
            self.call._teller.warning(code, message)  # noqa: SLF001


async def open_media(
    hooks: MediaHooks, host: str, *, audio: AudioSpec | str | None = None, record: Path | str | None = None, **more: Any
) -> MediaSession:
    media = MediaSession(
        audio="null" if audio is None else audio,
        record=record,
        host=host,
        on_dtmf=hooks.digit,
        on_state=hooks.state,
        on_warning=hooks.warning,
        **more,
    )
    await media.open()
    return media
