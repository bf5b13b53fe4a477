"""Digits that are pressed in a call: as telephone events, as tones, or by INFO (RFC 4733, RFC 6086 section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError
from sipcli.media.dtmf import GAP_MS, PAUSE, PAUSE_MS, TONE_MS, DtmfMode, check_digits, way_of
from sipcli.ua.failures import failure_of

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["press"]

_RELAY = "application/dtmf-relay"


async def press(call: Call, digits: str, sent: Callable[[str, str], None]) -> None:
    """Send *digits* the way that the call, else its account, wants; returns when they are out.

    *sent(digit, via)* is told of each.

    LocalProtocolError when one of them is none, or nothing can be sent now; by INFO the typed error of a refusal.
    """
    wanted = check_digits(digits)
    agreement = call.session.agreement
    way = way_of(_mode(call), events=agreement is not None and agreement.send_event_type is not None)
    if way == "info":
        await _by_info(call, wanted, sent)
        return
    await call.session.dtmf(wanted, inband=way == "inband")
    for digit in wanted.replace(PAUSE, ""):
        sent(digit, way)


def _mode(call: Call) -> DtmfMode:
    said: DtmfMode | None = call.wishes.get("dtmf_mode")
    if said is not None:
        return said
    return "auto" if call.account is None else call.account.config.dtmf_mode


async def _by_info(call: Call, digits: str, sent: Callable[[str, str], None]) -> None:
    """One INFO for each digit; the next one leaves when the gateway can have played the one before."""
    if not call.is_up:
        raise LocalProtocolError("DTMF cannot be sent by INFO before the call is answered")
    for digit in digits:
        if digit == PAUSE:
            await asyncio.sleep(PAUSE_MS / 1000)
            continue
        body = f"Signal={digit}\r\nDuration={TONE_MS}\r\n".encode()
        report = await call.send_request("INFO", body=body, content_type=_RELAY)
        if report.code >= 300:
            name = None if call.account is None else call.account.name
            error = failure_of("digits by INFO", name, code=report.code, reason=report.reason)
            error.hint = 'let them go with the audio: dtmf_mode = "auto" in the account, or --dtmf-mode auto'
            raise error
        sent(digit, "info")
        await asyncio.sleep((TONE_MS + GAP_MS) / 1000)
