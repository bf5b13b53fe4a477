"""What is told of a call in which nothing is heard any more: the event ``silence`` (docs/events.md)."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from sipcli.ua.notices import Notice

__all__ = ["SilenceNotice", "SilenceState"]

SilenceState: TypeAlias = Literal["asking", "alive", "unknown", "gone"]


class SilenceNotice(Notice):
    """Neither RTP nor RTCP came in *call* for *quiet_s* seconds, and what we did about it.

    ``asking``: an OPTIONS went out; ``alive``: it was answered; ``unknown``: it did not get through, and is asked
    again; ``gone``: it was not answered, or somebody there knows of no call: it ends.
    """

    event: ClassVar[str] = "silence"
    call: str
    state: SilenceState
    quiet_s: float
