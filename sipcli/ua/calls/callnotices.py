"""What is told of a call: the events ``call``, ``media``, ``stats`` and ``warning``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from sipcli.media.quality import MediaReport
from sipcli.sip.calls.answer import IncomingCall
from sipcli.ua.notices import (
    CallNotice,
    CallState,
    MediaNotice,
    RemoteFigures,
    RxFigures,
    Side,
    StatsNotice,
    TxFigures,
    WarningNotice,
    address_text,
)

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.media.mediafacts import MediaState

__all__ = ["CallTeller"]

_HEARD_AGAIN = ("ringing", "early")
"""No news the second time: each phone of a fork rings, and says so again every minute (RFC 3261 section 13.3.1.1)."""


class CallTeller:
    """Makes the notices of one call."""

    __slots__ = ("_agent", "_call", "_told")

    def __init__(self, agent: UserAgent, call: Call) -> None:
        self._agent = agent
        self._call = call
        self._told: CallNotice | None = None

    def call(
        self,
        state: CallState,
        *,
        code: int | None = None,
        reason: str | None = None,
        by: Side | None = None,
        why: str | None = None,
    ) -> None:
        call, transport, asserted = self._call, None, None
        if state == "ringing" and isinstance(call.core, IncomingCall) and call.core.made_over is not None:
            transport, asserted = call.core.made_over.transport, call.core.asserted
        notice = CallNotice(
            call=call.id,
            direction=call.direction,
            state=state,
            local=call.local,
            remote=str(call.remote.uri),
            remote_name=call.remote.display or None,
            code=code,
            reason=reason or None,
            by=by,
            why=why,
            transport=transport,
            asserted=asserted,
            sip_call_id=call.sip_call_id,
        )
        if notice == self._told and state in _HEARD_AGAIN:
            return
        self._told = notice
        self._agent.tell(notice)

    def media(self, state: str) -> None:
        media = self._call.media
        if media is None or (state == "silent" and self._call.core.over):
            return  # whoever hangs up falls silent: that is no news
        facts = media.facts()
        remote = None if facts.remote is None else address_text(facts.remote)
        self._agent.tell(
            MediaNotice(
                call=self._call.id,
                state=cast("MediaState", state),
                codec=facts.codec,
                rate=facts.rate,
                ptime_ms=facts.ptime_ms,
                local=address_text(facts.local),
                remote=remote,
                latched=remote if facts.latched else None,
                srtp=facts.srtp,
                srtp_keys=facts.srtp_keys,
                srtp_verified=facts.srtp_verified,
                ice=facts.ice,
            )
        )

    def stats(self, report: MediaReport) -> None:
        rx, tx, remote = report.rx, report.tx, report.remote
        self._agent.tell(
            StatsNotice(
                call=self._call.id,
                rx=RxFigures(
                    packets=rx.packets,
                    lost=rx.lost,
                    lost_pct=rx.lost_pct,
                    jitter_ms=rx.jitter_ms,
                    late=rx.late,
                    rms_dbfs=rx.rms_dbfs,
                    speech_pct=rx.speech_pct,
                ),
                tx=TxFigures(packets=tx.packets, rms_dbfs=tx.rms_dbfs, speech_pct=tx.speech_pct, skipped=tx.skipped),
                remote=None if remote is None else RemoteFigures(**asdict(remote)),
                rtt_ms=report.rtt_ms,
                mos=report.mos,
            )
        )

    def warning(self, code: str, message: str) -> None:
        self._agent.tell(WarningNotice(code=code, message=f"call {self._call.id}: {message}"))
