"""A transfer that we ask for: hold, REFER, wait for the word, hang up - or go on talking (RFC 5589)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError, RequestFailed, SipcliError
from sipcli.sip.calls.transfer import refer_to
from sipcli.sip.events import TransferChanged
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.calls.callchange import quiet_future
from sipcli.ua.calls.transfernotices import TransferKind, TransferNotice
from sipcli.ua.failures import failure_of

if TYPE_CHECKING:
    from sipcli.sip.calls.transfer import Transfer
    from sipcli.ua.calls.call import Call

__all__ = ["Handovers"]

log = logging.getLogger(__name__)

REPLACED_WAIT = 3.0
"""Seconds in which the other end of a replaced call hangs it up; then we do."""


class Handovers:
    """The transfers that this agent asked for."""

    def __init__(self) -> None:
        self._under_way: dict[Transfer, _Handover] = {}

    async def blind(self, call: Call, target: SipUri) -> int | None:
        """Send the other side of *call* to *target*; returns the status he got there, None if he left without a word.

        Raises the typed error when he would not, or could not; the call then goes on.
        """
        return await self._run(call, f"<{target.replace(headers=())}>", "blind", str(target.aor), (call,))

    async def attended(self, call: Call, other: Call) -> int | None:
        """Join the other sides of *call* and *other*; both calls are over then.  Raises as :meth:`blind`."""
        if other is call or other.is_over or other.core.dialog is None or not other.core.settled:
            raise LocalProtocolError(
                f"an attended transfer joins two calls that are up, and {other.id} is not another one that is",
                hint="look what there is: sipcli status",
            )
        with call.agent.turn():
            where = refer_to(other.core)
        code = await self._run(call, where, "attended", str(other.remote.uri), (call, other))
        try:
            await asyncio.wait_for(other.finished(), REPLACED_WAIT)
        except (TimeoutError, SipcliError):
            await other.hangup()
        return code

    async def _run(
        self, call: Call, where: str, kind: TransferKind, target: str, calls: tuple[Call, ...]
    ) -> int | None:
        quieted: list[Call] = []
        try:
            for talking in calls:
                await _quiet(talking, quieted)
            code = await self._refer(call, where, _Handover(call, kind, target))
        except BaseException:
            await _go_on(call, quieted)
            raise
        await call.hangup()
        return code

    async def _refer(self, call: Call, where: str, handover: _Handover) -> int | None:
        with call.agent.turn():
            transfer = call.core.refer(where, (("Referred-By", f"<{call.local}>"),))
            self._under_way[transfer] = handover
        call.tell("transferring")
        try:
            event = await handover.outcome
        finally:
            self._under_way.pop(transfer, None)
        if event.state == "done":
            return event.code
        account = call.account
        name = None if account is None else account.name
        story = None if account is None or transfer.exchange is None else account.story(transfer.exchange)
        raise failure_of("transfer", name, code=event.code, reason=event.reason, why=event.why, story=story)

    def on_changed(self, event: TransferChanged) -> None:
        """The core tells; also of a call that is over."""
        handover = self._under_way.get(event.transfer)
        if handover is not None:
            handover.hear(event)


async def _quiet(call: Call, quieted: list[Call]) -> None:
    """Hold *call*, as section 6.1 does, and remember that we did; who will not be held may be transferred, too."""
    if call.session.held:
        return
    try:
        await call.hold()
    except RequestFailed as error:
        log.info("call %s is transferred without a hold: %s", call.id, error)
    else:
        quieted.append(call)


async def _go_on(call: Call, quieted: list[Call]) -> None:
    """Back to where it was, as far as that can be."""
    for talking in quieted:
        if not talking.is_over:
            try:
                await talking.resume()
            except SipcliError as error:
                log.warning("call %s stays on hold: %s", talking.id, error)
    if not call.is_over and call.state == "transferring":
        held = call.session.held
        call.tell("held" if held else "answered", by="local" if held else None)


class _Handover:
    """One transfer under way."""

    def __init__(self, call: Call, kind: TransferKind, target: str) -> None:
        self._call = call
        self._kind: TransferKind = kind
        self._target = target
        self.outcome: asyncio.Future[TransferChanged] = quiet_future(asyncio.get_running_loop())

    def hear(self, event: TransferChanged) -> None:
        why = event.why if isinstance(event.why, str) else None if event.why is None else event.why.value
        self._call.agent.tell(
            TransferNotice(
                call=self._call.id,
                direction="out",
                kind=self._kind,
                target=self._target,
                state=event.state,
                code=event.code,
                reason=event.reason or why,
            )
        )
        if event.state in ("done", "failed") and not self.outcome.done():
            self.outcome.set_result(event)
