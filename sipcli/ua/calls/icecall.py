"""What a call makes of its ICE: goes on, says so, begins anew, or ends (RFC 8445, RFC 7675)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError, MediaFailed, SipcliError
from sipcli.ua.notices import WarningNotice

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["IceCare"]

log = logging.getLogger(__name__)


class IceCare:
    """One call's.  At most one of its errands is under way."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._errand: asyncio.Task[None] | None = None

    def hear(self, state: str) -> None:
        """The path changed."""
        call = self._call
        if call.is_over:
            return
        if state == "failed":
            # RFC 8445 section 8.1.2 has nothing left to try, and a call that nobody hears is no call.
            call.give_up(MediaFailed("call: ICE found no path for the audio", code=488))
        elif state == "connected" and call.session.ice is not None and call.session.ice.update_due:
            self._send(self._update)
        elif state == "lost":
            why = "the other side no longer confirms that it wants our audio; looking for a new path"
            call.agent.tell(WarningNotice(code="ice-lost", message=f"call {call.id}: {why}"))
            self._send(self._restart)

    async def restart(self, host: str | None = None) -> None:
        """Look for a path for the audio anew; *host*: our address, if it has changed (RFC 8445 section 9).

        Returns when the other side agreed to it; the old path serves until there is a new one.  Raises
        LocalProtocolError where the call does no ICE, NetworkError, or what the refusal says.
        """
        session = self._call.session
        if session.ice is None or session.agreement is None or session.agreement.ice is None:
            raise LocalProtocolError("this call does no ICE")
        if host is None:
            await session.ice.restart()
        else:
            await session.move(host)
        await self._call.changes.reoffer()

    def _send(self, errand: Callable[[], Coroutine[object, object, None]]) -> None:
        if self._errand is None or self._errand.done():
            self._errand = asyncio.get_running_loop().create_task(errand())

    async def _update(self) -> None:
        """RFC 8839 section 4.3.4: say in the SDP, too, where the audio goes, for those on the way who read it."""
        call = self._call
        try:
            await call.answered()
            await call.changes.reoffer()
        except (SipcliError, LocalProtocolError) as error:
            log.info("call %s: the offer with the selected candidates was not taken: %s", call.id, error)

    async def _restart(self) -> None:
        """RFC 7675 section 5.1: without consent nothing is sent any more; new checks may bring it back."""
        call = self._call
        try:
            await self.restart()
        except (SipcliError, LocalProtocolError) as error:
            call.give_up(
                MediaFailed(f"call: the audio has no path any more, and none was found anew: {error}", code=488)
            )
