"""Calls that come in: what becomes of a caller when we ourselves make a mistake."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.cli.incoming import AnswerPlan, CallDesk


class Caller:
    """A call whose answer needs a module that cannot be opened, for there is no file descriptor left."""

    id = "call1"
    remote = SimpleNamespace(uri="sip:bob@there.invalid")
    hung_up = 0

    async def accept(self, **_: object) -> None:
        raise ModuleNotFoundError("No module named 'sipcli.ua.media.media_io'")

    async def hangup(self) -> None:
        self.hung_up += 1


async def test_a_mistake_of_ours_leaves_no_caller_ringing() -> None:
    call: Any = Caller()
    talk: Any = SimpleNamespace(media={}, recording=lambda *_: None)
    run: Any = None
    CallDesk(run, AnswerPlan("auto"), talk).incoming(call)
    [taking] = [task for task in asyncio.all_tasks() if task.get_name() == "call-call1"]
    with pytest.raises(ModuleNotFoundError):  # it is told as any mistake is
        await taking
    assert call.hung_up == 1
