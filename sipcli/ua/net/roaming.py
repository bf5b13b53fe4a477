"""Another network in the middle of everything: bind anew, and tell who talks to us where we are (RFC 5626 4.5).

::

    address gone ──> registrations: REGISTER again ──> registered ──┐
                     calls are adrift                               ├──> re-INVITE, with audio at the new address
    proxy came back ──> registered over another connection ─────────┘
    nothing of it in 32 s ──> the call ends, and says why
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sipcli.errors import SipcliError
from sipcli.sip.events import RegistrationChanged
from sipcli.sip.targets import is_literal
from sipcli.ua.net.localhost import source_towards
from sipcli.ua.net.network import NetworkWatch, still_ours
from sipcli.ua.net.networknotices import NetworkNotice
from sipcli.ua.notices import WarningNotice

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["Roaming"]

log = logging.getLogger(__name__)

AGAIN: Final = 5.0
"""Seconds to the next try, while the other side cannot be told: it may have lost its way to the proxy, too."""
TRIES: Final = 6
PATIENCE: Final = 32.0
"""Seconds without an address of ours that the other side knows: one transaction's; then it has hung up, most likely."""


class Roaming:
    """Of one agent.  :meth:`changed` is the way in; everything is for the loop's thread."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self._watch: NetworkWatch | None = None
        self._lost: set[str] = set()
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = NetworkWatch(loop, self.changed)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        for deadline in self._deadlines.values():
            deadline.cancel()
        for task in self._tasks.values():
            task.cancel()

    # --- what happens -----------------------------------------------------------------------------------------

    def changed(self) -> None:
        """The addresses of this machine are others than before."""
        agent = self._agent
        if agent.closed:
            return
        agent.endpoint.network_changed()
        gone = {host for host in self._in_use() if not still_ours(host)}
        for host in sorted(gone - self._lost):
            agent.tell(NetworkNotice(state="lost", address=host))
        self._lost |= gone
        with agent.turn() as engine:
            for host in gone:
                engine.address_lost(host, engine.now)
            engine.network_changed(engine.now)
        for call in agent.calls:
            if call.core.adrift:
                self._give_time(call)
                # Who is bound by his registrar is told when that has worked: the way to the other side leads by there.
                if not self._awaits_registrar(call, gone):
                    self._recover(call)

    def on_registration(self, event: RegistrationChanged) -> None:
        """Bound, perhaps over another flow: what went over the old one goes over this."""
        if event.state != "registered" or event.flow is None:
            return
        self._arrived(event.flow.local[0])
        for call in self._agent.calls:
            if call.account is not None and call.account.name == event.account and call.core.adrift:
                self._recover(call)

    def _awaits_registrar(self, call: Call, gone: set[str]) -> bool:
        """Is the call's account being bound anew right now?"""
        account = call.account
        return account is not None and account.binding is not None and account.local_address in gone | self._lost

    def _in_use(self) -> set[str]:
        media = {call.media.local[0] for call in self._agent.calls if call.media is not None}
        return media | self._agent.engine.local_hosts

    def _arrived(self, host: str) -> None:
        if self._lost:
            self._lost.clear()
            self._agent.tell(NetworkNotice(state="up", address=host))

    # --- calls ------------------------------------------------------------------------------------------------

    def _give_time(self, call: Call) -> None:
        if call.id not in self._deadlines:
            loop = asyncio.get_running_loop()
            self._deadlines[call.id] = loop.call_later(PATIENCE, self._give_up, call)

    def _give_up(self, call: Call) -> None:
        del self._deadlines[call.id]
        if not call.is_over and call.core.adrift:
            with self._agent.turn():
                call.core.on_silence("lost: our address is gone, and no other was found in time")

    def forget(self, call: Call) -> None:
        """It is over: nothing here holds it any longer."""
        deadline, task = self._deadlines.pop(call.id, None), self._tasks.get(call.id)
        if deadline is not None:
            deadline.cancel()
        if task is not None:
            task.cancel()

    def _recover(self, call: Call) -> None:
        if call.id not in self._tasks:
            task = self._tasks[call.id] = asyncio.get_running_loop().create_task(self._tell_where(call))
            task.add_done_callback(lambda _: self._tasks.pop(call.id, None))

    async def _tell_where(self, call: Call) -> None:
        """re-INVITE, with audio at an address that we have.  Without one, the next change brings us back here."""
        for tries in range(1, TRIES + 1):
            try:
                session = call.session
                if not still_ours(session.local[0]):
                    host = self._address_for(call)
                    if host is None:
                        return
                    await session.move(host)
                    self._arrived(host)
                await call.changes.reoffer()
                break
            except SipcliError as error:
                if call.is_over or not call.core.adrift:
                    break
                log.info("call %s: the other side was not told where we are now: %s", call.id, error)
                if tries == TRIES:
                    message = f"call {call.id}: the other side was not told where we are now: {error}"
                    self._agent.tell(WarningNotice(code="call_adrift", message=message))
            await asyncio.sleep(AGAIN)
        deadline = None if call.core.adrift else self._deadlines.pop(call.id, None)
        if deadline is not None:
            deadline.cancel()

    def _address_for(self, call: Call) -> str | None:
        """Ours on the way to the other side; None while there is no way."""
        flow = None if call.account is None else call.account.registered_over
        if flow is not None and still_ours(flow.local[0]):
            return flow.local[0]
        dialog = call.core.dialog
        hop = None if dialog is None else dialog.target().hop
        return source_towards(hop.host, hop.port or 5060) if hop is not None and is_literal(hop.host) else None
