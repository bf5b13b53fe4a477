"""What is told of a call that goes elsewhere: the event ``transfer`` (docs/events.md)."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from sipcli.ua.notices import Direction, Notice, maybe

__all__ = ["TransferKind", "TransferNotice", "TransferState"]

TransferKind: TypeAlias = Literal["blind", "attended", "replaced", "redirect"]
TransferState: TypeAlias = Literal["asked", "refused", "trying", "accepted", "progress", "done", "failed"]


class TransferNotice(Notice):
    """*call* goes to *target*: ``out`` when we asked for it, ``in`` when somebody else did.

    ``replaced`` is a call that another took the place of, ``redirect`` one that was
    answered 3xx.  *code* is a SIP status, *reason* its words or ours, *new_call* the
    call that follows.
    """

    event: ClassVar[str] = "transfer"
    call: str
    direction: Direction
    kind: TransferKind
    target: str
    state: TransferState
    code: int | None = maybe()
    reason: str | None = maybe()
    new_call: str | None = maybe()
