"""Somebody else sends us on: REFERs in our calls, INVITEs that replace them (RFC 5589, RFC 3891; threat T22)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sipcli.errors import RequestFailed, SipcliError
from sipcli.sip.events import CallRedirected, CallReferred
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.calls.following import objection, same_domain_objection
from sipcli.ua.calls.handover import Handovers
from sipcli.ua.calls.redirects import RedirectRequest, on_redirected
from sipcli.ua.calls.transfernotices import TransferKind, TransferNotice, TransferState

if TYPE_CHECKING:
    from sipcli.config.model import FollowPolicy
    from sipcli.sip.calls.indialog import Call as CoreCall
    from sipcli.sip.calls.refer import Referral
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.notices import Notice

__all__ = ["TransferDesk", "TransferRequest"]

log = logging.getLogger(__name__)

GOODBYE_WAIT = 6.0
"""Seconds in which whoever sent us on hangs up, once he knows that we arrived; then we do."""


class TransferRequest:
    """The other side of *call* asks us to call *target* instead.  ``accept`` or ``refuse`` it, now or later.

    *kind* is ``attended`` where we are to take the place of a call that *target* is
    in already.  *referred_by* is whatever the other side says of itself.
    """

    def __init__(self, desk: TransferDesk, call: Call, referral: Referral) -> None:
        self._desk = desk
        self._referral = referral
        self.call = call
        self.target: SipUri = referral.reference.target
        self.kind: TransferKind = "blind" if referral.reference.replaces is None else "attended"
        self.referred_by = referral.reference.referred_by

    @property
    def open(self) -> bool:
        """Is it still of use to decide?"""
        return self._referral.undecided

    def accept(self) -> None:
        """Call *target*; the other side is told how it goes, and the old call ends when the new one is answered."""
        if self.open:
            self._desk.follow(self.call, self._referral, self.kind)

    def refuse(self, code: int = 603, reason: str | None = None) -> None:
        """Stay in the call."""
        if self.open:
            with self._desk.agent.turn():
                self._referral.refuse(code)
            self._desk.tell(self.call, self.kind, self.target, "refused", code=code, reason=reason)


class TransferDesk:
    """Decides by the account's policy who may send our calls on, follows, and reports."""

    def __init__(self, agent: UserAgent) -> None:
        self.agent = agent
        self.ours = Handovers()
        self.on_request: Callable[[TransferRequest | RedirectRequest], None] | None = None
        """Asked where a policy says ``ask``; without it nobody is asked, and the answer is no."""
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """The agent closes, and its calls are over: nobody is followed any more."""
        for task in self._tasks:
            task.cancel()

    # --- 3xx --------------------------------------------------------------------------------------------------

    def may_be_redirected(self, account: Account | None) -> bool:
        """Shall a 3xx wait for a word?"""
        return (self.agent.config if account is None else account.config).policy.redirect != "refuse"

    def on_redirected(self, event: CallRedirected) -> None:
        on_redirected(self, event)

    # --- REFER ------------------------------------------------------------------------------------------------

    def on_referred(self, event: CallReferred) -> None:
        """Inside a turn.  A fault here leaves the REFER undecided, and the core declines that."""
        call, referral = self.agent.find_call(event.call.id), event.referral
        if call is None or self.agent.closed:
            referral.refuse()
            return
        request = TransferRequest(self, call, referral)
        account = call.account
        trail = (*call.trail, call.remote.uri)
        forbidden = objection(request.target, account, call.trail, secure=False)  # the core looked at sips itself
        policy = self._policy(account)
        if forbidden is not None:
            request.refuse(*forbidden)
        elif policy == "same-domain":
            why = same_domain_objection(request.target, account, call.trail)
            if why is None and request.target.aor.equivalent(trail[-1]):
                why = "the call is there already"
            if why is None:
                request.accept()
            else:
                request.refuse(603, why)
        elif policy == "ask" and self.on_request is not None:
            referral.accept(pending=True)
            self.tell(call, request.kind, request.target, "asked")
            self.on_request(request)
        else:
            request.refuse(603, "the policy refuses it" if policy == "refuse" else "there is nobody to ask")

    def follow(self, call: Call, referral: Referral, kind: TransferKind) -> None:
        with self.agent.turn():
            if not referral.accept():
                return
        self._start(self._follow(call, referral, kind))

    async def _follow(self, call: Call, referral: Referral, kind: TransferKind) -> None:
        reference = referral.reference
        headers = [("Referred-By", reference.referred_by)] if reference.referred_by else []
        if reference.replaces is not None:
            headers.append(("Replaces", str(reference.replaces)))
        report = _Reporter(self, call, referral, kind)
        report.tell("trying")
        try:
            new = await self._dial(call, reference.target, tuple(headers))
            report.watch(new)
            try:
                await new.answered()
            finally:
                report.unwatch()
        except SipcliError as error:
            code = error.code if isinstance(error, RequestFailed) and error.code and error.code >= 300 else 503
            call.successor = None
            report.last_word(code, str(error))
            return
        report.last_word(200, None)
        await self.leave(call)

    async def _dial(self, call: Call, target: SipUri, headers: tuple[tuple[str, str], ...]) -> Call:
        from sipcli.ua.calls.call import Call as UaCall  # media comes with it: a registration needs none
        from sipcli.ua.calls.callmedia import again

        wishes = again(call.wishes)
        new = await UaCall.dial(self.agent, call.account, target, headers=headers, **wishes)
        new.trail = (*call.trail, call.remote.uri)
        _keep_silent(call, new)
        call.successor = new
        return new

    async def leave(self, call: Call) -> None:
        """Wait until the other side of *call* hangs up, and do it ourselves if he does not."""
        try:
            await asyncio.wait_for(call.finished(), GOODBYE_WAIT)
        except (TimeoutError, SipcliError):
            await call.hangup()

    # --- Replaces ---------------------------------------------------------------------------------------------

    def take_over(self, replaced: CoreCall | None, new: Call) -> bool:
        """*new* replaces a call: it is answered as that was, without asking, and the core hangs that up then.

        Where the policy refuses every transfer the call stays as it is.  False: it replaces none of ours.
        """
        old = None if replaced is None else self.agent.find_call(replaced.id)
        if old is None:
            return False
        if self._policy(old.account) == "refuse":
            new.reject(403)
            self.tell(old, "replaced", new.remote.uri, "refused", code=403, reason="the policy refuses it")
            return True
        new.trail = old.trail
        old.successor = new
        self._start(self._take_over(old, new))
        return True

    async def _take_over(self, old: Call, new: Call) -> None:
        from sipcli.ua.calls.callmedia import again

        target = new.remote.uri
        try:
            await new.accept(**again(old.wishes))
            _keep_silent(old, new)
        except SipcliError as error:
            old.successor = None
            if new.state == "ringing":
                new.reject(488)
            self.tell(old, "replaced", target, "failed", reason=str(error))
            return
        self.tell(old, "replaced", target, "done", new_call=new.id)

    # --- inside -----------------------------------------------------------------------------------------------

    def _policy(self, account: Account | None) -> FollowPolicy:
        return (self.agent.config if account is None else account.config).policy.transfer

    def tell(self, call: Call, kind: TransferKind, target: object, state: TransferState, **more: Any) -> None:
        self.agent.tell(
            TransferNotice(call=call.id, direction="in", kind=kind, target=str(target), state=state, **more)
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a transfer failed", exc_info=error)


class _Reporter:
    """Tells whoever sent us on, and everybody here, how the new call goes."""

    def __init__(self, desk: TransferDesk, call: Call, referral: Referral, kind: TransferKind) -> None:
        self._desk = desk
        self._call = call
        self._referral = referral
        self._kind: TransferKind = kind
        self._new: Call | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def watch(self, new: Call) -> None:
        self._new = new
        self._unsubscribe = self._desk.agent.subscribe(self._look)

    def unwatch(self) -> None:
        self._unsubscribe()

    def _look(self, notice: Notice) -> None:
        fields = notice.to_json()
        if notice.event != "call" or self._new is None or fields["call"] != self._new.id:
            return
        code = fields.get("code")
        if fields["state"] in ("trying", "ringing", "early") and code is not None:
            with self._desk.agent.turn():
                self._referral.report(code)
            if code > 100:
                self.tell("progress", code)

    def last_word(self, code: int, why: str | None) -> None:
        with self._desk.agent.turn():
            self._referral.report(code)
        self.tell("done" if code < 300 else "failed", code, why)

    def tell(self, state: TransferState, code: int | None = None, reason: str | None = None) -> None:
        new = None if self._new is None else self._new.id
        target = self._referral.reference.target
        self._desk.tell(self._call, self._kind, target, state, code=code, reason=reason, new_call=new)


def _keep_silent(old: Call, new: Call) -> None:
    """Whoever muted or held *old* is not heard in *new*, which nobody asked him about: he unmutes it himself."""
    if old.muted or (old.media is not None and old.media.held):
        new.session.muted = True
