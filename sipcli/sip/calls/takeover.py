"""An INVITE with Replaces: whether it may take the place of a call of ours, and of which (RFC 3891 section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sipcli.errors import ParseError
from sipcli.sip.calls.indialog import Call, CallState
from sipcli.sip.calls.replaces import Replaces

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog
    from sipcli.sip.flow import Flow
    from sipcli.sip.syntax.message import Request

__all__ = ["judge_replaces", "misplaced"]

_OVER = (CallState.ENDING, CallState.ENDED, CallState.CANCEL_WANTED, CallState.CANCELLING)

Verdict: TypeAlias = tuple[int | None, Call | None]
"""A refusal's status, or None; and the call that is replaced, if there is one."""


def misplaced(request: Request) -> bool:
    """A Replaces outside of a new INVITE: that earns 400."""
    return "replaces" in request.headers and (request.method != "INVITE" or request.to.tag is not None)


def judge_replaces(core: Core, account: AccountState | None, request: Request, flow: Flow) -> Verdict:
    """Which call the INVITE *request* replaces, or why it may not (section 3)."""
    values = request.values("Replaces")
    if not values:
        return None, None
    value, *more = values
    if more:
        return 400, None
    try:
        replaces = Replaces.parse(value)
    except ParseError:
        return 400, None
    dialog = core.dialogs.get(replaces.dialog_id)
    if dialog is None:
        # Declined for good, so that nobody's phone rings for a call that was just hung up.
        return (603 if replaces.dialog_id in core.departed else 481), None
    call = dialog.usage
    if not isinstance(call, Call):
        return 481, None
    if not _may_replace(dialog, account, flow):
        return 403, None
    return _judge_state(call, dialog, replaces)


def _judge_state(call: Call, dialog: Dialog, replaces: Replaces) -> Verdict:
    if call.state in _OVER:
        return 603, None
    if call.state is CallState.RINGING:  # an early dialog that the other side began
        return 481, None
    if dialog is call.dialog and replaces.early_only:
        return 486, None
    return None, call


def _may_replace(dialog: Dialog, account: AccountState | None, flow: Flow) -> bool:
    """Who knows both random tags was told them by one of the two; and our own server must have let him through.

    Nobody signs a Referred-By (section 3 would have us check that), so it proves nothing here.
    """
    mine = dialog.account
    return mine is not None and mine is account and dialog.at_home and mine.origin(flow).bound
