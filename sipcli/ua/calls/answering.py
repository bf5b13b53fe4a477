"""Whoever answers incoming calls: a function that returns at once, or a coroutine that stays with the call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from sipcli.errors import LocalProtocolError

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["CallHandler", "hand_over"]

log = logging.getLogger(__name__)

CallHandler: TypeAlias = "Callable[[Call], Coroutine[Any, Any, None] | None]"


def hand_over(handler: CallHandler, call: Call) -> None:
    """Give *call* to *handler*.  A coroutine runs on the loop, beside the call, and ends with the agent at the latest.

    Raises what a plain function raises; a coroutine that fails is logged, and its call is refused or hung up.
    """
    coroutine = handler(call)
    if coroutine is None:
        return
    task = asyncio.get_running_loop().create_task(_attend(coroutine, call))
    call.agent.attending.add(task)
    task.add_done_callback(call.agent.attending.discard)


async def _attend(coroutine: Coroutine[Any, Any, None], call: Call) -> None:
    try:
        await coroutine
    except Exception as error:
        if call.is_over and isinstance(error, LocalProtocolError):
            log.debug("call %s was over before its coroutine: %s", call.id, error)  # nobody can know that in time
            return
        log.exception("the coroutine that had call %s failed; the call ends", call.id)
        await call.hangup()
