"""A session that changes while it is up: holds and resumes, theirs and ours (RFC 3264 8, RFC 3261 14)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from sipcli.errors import LocalProtocolError, MediaFailed, SipcliError
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.events import CallConfirmed, CallEarlyAnswer, CallReanswered, CallRefreshDue, CallReoffered
from sipcli.ua.failures import failure_of

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["SessionChanges", "quiet_future"]

log = logging.getLogger(__name__)


class SessionChanges:
    """The offers and answers of one call: the first, and what changes it afterwards."""

    def __init__(self, agent: UserAgent, call: Call) -> None:
        self._agent = agent
        self._call = call
        self._one_by_one = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None
        self._refresh: asyncio.Future[None] | None = None  # the session timer's own offer

    async def reoffer(self, *, hold: bool | None = None) -> None:
        """Offer the session anew, held or not, None: as it is; returns when the other side agreed.

        What is asked meanwhile - at the keyboard, over the control socket - is offered after it, in that order.
        A hold of what we hold already, and its counterpart, offer nothing and are no news.
        Raises MediaFailed, or what the refusal says; the session is then as it was.
        """
        async with self._one_by_one:
            if self._call.is_over:
                raise LocalProtocolError(f"{self._call.id} is over")
            held = self._call.session.held
            if hold == held:
                return
            await self._reoffer(hold=held if hold is None else hold)
            if hold is not None:
                self._tell_whether_it_flows()

    async def _reoffer(self, *, hold: bool) -> None:
        call, media = self._call, self._call.session
        before = media.held
        self._waiter = quiet_future(asyncio.get_running_loop())
        try:
            if self._refresh is not None:  # its answer is none to us, and to our SDP
                await asyncio.wait((self._refresh, self._waiter), return_when=asyncio.FIRST_COMPLETED)
            if self._waiter.done():
                await self._waiter
            with self._agent.turn():
                call.core.reinvite(media.offer(hold=hold))
            await self._waiter
        except BaseException:
            if not call.is_over:
                media.withdraw_offer()
                if before != hold:
                    media.offer(hold=before)
                    media.withdraw_offer()
            raise
        finally:
            self._waiter = None

    def fail(self, error: SipcliError) -> None:
        """The call is over: whoever waits for a change is told *error*."""
        for future in (self._refresh, self._waiter):
            if future is not None and not future.done():
                future.set_exception(error)

    # --- the first exchange -----------------------------------------------------------------------------------

    def hear(self, sdp: bytes, *, fatal: bool) -> None:
        """Their answer, early or final; or their offer, where our INVITE brought none."""
        call, media = self._call, self._call.session
        try:
            if isinstance(call.core, OutgoingCall) and call.core.late_offer:
                call.core.acknowledge(media.answer(sdp))
            else:
                media.accept_answer(sdp)
            media.start()
        except MediaFailed as error:
            if fatal:
                call.give_up(error)
            else:
                log.info("call %s: early media is not understood: %s", call.id, error)

    def on_confirmed(self, event: CallConfirmed) -> None:
        """The ACK came in; with our offer in the 2xx it brings the answer (RFC 3261 section 13.2.1)."""
        if event.sdp is not None and event.call.offer is None:
            self.hear(event.sdp, fatal=True)
        elif self._call.session.agreement is None:
            self._call.give_up(MediaFailed("call: the caller never answered our offer", code=488))

    def on_early_answer(self, event: CallEarlyAnswer) -> None:
        """The PRACK came in, with the answer to the offer that ``Call.early`` made."""
        if event.sdp is not None:
            self.hear(event.sdp, fatal=True)
        else:
            self._call.give_up(MediaFailed("call: the caller never answered our offer", code=488))

    # --- what the core tells ----------------------------------------------------------------------------------

    def on_reoffered(self, event: CallReoffered) -> None:
        call, media = self._call, self._call.session
        try:
            sdp = media.offer() if event.offer is None else media.answer(event.offer)
        except (MediaFailed, LocalProtocolError) as error:
            log.info("call %s: their new offer is refused: %s", call.id, error)
            call.core.reject_reinvite(488)
            return
        call.core.answer_reinvite(sdp)
        if event.offer is not None and call.is_up:
            self._tell_whether_it_flows()

    def _tell_whether_it_flows(self) -> None:
        """Both may hold: what one of them resumes is held by the other still."""
        call, agreement = self._call, self._call.session.agreement
        if agreement is not None:
            flows = agreement.may_receive and agreement.may_send
            call.tell("answered" if flows else "held", by=None if flows else "local" if call.session.held else "remote")

    def on_reanswered(self, event: CallReanswered) -> None:
        media = self._call.session
        error: SipcliError | None = None
        try:
            if event.sdp is None:
                media.withdraw_offer()
                error = failure_of("call", None, code=event.code, reason=event.reason, why=event.why)
            else:
                media.accept_answer(event.sdp)
        except MediaFailed as failed:
            error = failed
        if event.asked:
            return
        waiter = self._waiter
        if self._refresh is not None:  # it goes before whatever a person wants meanwhile
            waiter, self._refresh = self._refresh, None
        if waiter is None or waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)

    def on_offer_stale(self) -> None:
        """The offer waited, and something changed meanwhile (conformance A20)."""
        self._call.core.replace_offer(self._call.session.offer())

    def on_refresh_due(self, event: CallRefreshDue) -> None:
        """The session timer wants a re-INVITE: the same offer again, unless one is under way already."""
        if self._waiter is None and self._refresh is None:
            self._refresh = quiet_future(asyncio.get_running_loop())
            self._call.core.reinvite(self._call.session.offer())


def quiet_future(loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """A future whose failure nobody need fetch."""
    future: asyncio.Future[Any] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
