"""A call of ours that is answered 3xx: followed by policy, or because a person says so (threat T22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.events import CallRedirected
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.calls.following import objection, same_domain_objection
from sipcli.ua.calls.transfernotices import TransferKind

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call
    from sipcli.ua.calls.transfers import TransferDesk

__all__ = ["RedirectRequest", "on_redirected"]


class RedirectRequest:
    """Whoever *call* was for is to be called at *target*.  ``accept`` or ``refuse`` it, now or later."""

    kind: TransferKind = "redirect"
    referred_by: str | None = None

    def __init__(self, desk: TransferDesk, call: Call, target: SipUri, event: CallRedirected) -> None:
        self._desk = desk
        self._event = event
        self._done = False
        self.call = call
        self.target = target

    @property
    def open(self) -> bool:
        """Is it still of use to decide?"""
        return not self._done and not self.call.is_over

    def accept(self) -> None:
        """Call *target*; it stays the same call."""
        if not self.open:
            return
        self._done = True
        before = self.call.remote.uri
        with self._desk.agent.turn():
            if self._event.call.redirect(self.target):
                self.call.trail = (*self.call.trail, before)
                self._desk.tell(self.call, "redirect", self.target, "trying", code=self._event.response.status)

    def refuse(self, code: int | None = None, reason: str | None = None) -> None:
        """Go nowhere: the call ends with its 3xx.  *code*: what the rule that forbids it has in SIP."""
        if self.open:
            self._done = True
            self._desk.tell(self.call, "redirect", self.target, "refused", code=code, reason=reason)
            with self._desk.agent.turn():
                self._event.call.stay()


def on_redirected(desk: TransferDesk, event: CallRedirected) -> None:
    """Inside a turn.  Only the first target that may be called at all is looked at."""
    agent = desk.agent
    call = agent.find_call(event.call.id)
    if call is None or agent.closed:
        event.call.stay()
        return
    account, trail, secure = call.account, (*call.trail, call.remote.uri), event.call.target.secure
    judged = [(target, objection(target, account, call.trail, secure=secure)) for target in event.targets]
    target = next((target for target, why in judged if why is None), event.targets[0])
    request = RedirectRequest(desk, call, target, event)
    forbidden = dict(judged)[target]
    looped = any(isinstance(before, SipUri) and before.aor.equivalent(target.aor) for before in trail)
    policy = (agent.config if account is None else account.config).policy.redirect
    if forbidden is not None:
        request.refuse(*forbidden)
    elif looped:
        request.refuse(482, "the call was there before")
    elif policy == "same-domain":
        why = same_domain_objection(target, account, call.trail)
        if why is None:
            request.accept()
        else:
            request.refuse(None, why)
    elif policy == "ask" and desk.on_request is not None:
        desk.tell(call, "redirect", target, "asked", code=event.response.status)
        desk.on_request(request)
    else:
        request.refuse(None, "there is nobody to ask")
