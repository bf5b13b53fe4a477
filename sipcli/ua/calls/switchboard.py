"""Several calls at once: who may disturb, who waits, who decides about a call that rings, which one is talked to."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from sipcli.errors import LocalProtocolError, SipcliError
from sipcli.ua.calls.callchange import quiet_future
from sipcli.ua.notices import Notice, WarningNotice

if TYPE_CHECKING:
    from sipcli.config import AccountConfig
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["CallWaitingNotice", "Decision", "DoNotDisturbNotice", "Refusal", "Switchboard"]

log = logging.getLogger(__name__)

Decision: TypeAlias = Literal["answer", "reject", "decline"]


class Refusal(NamedTuple):
    """What a caller is told instead of ringing."""

    code: int
    reason: str


class CallWaitingNotice(Notice):
    """Somebody calls while *others* (ids of calls) are not over; it rings nevertheless."""

    event: ClassVar[str] = "call.waiting"
    call: str
    remote: str
    others: tuple[str, ...]


class DoNotDisturbNotice(Notice):
    """Calls are refused from now on (*on*), or ring again."""

    event: ClassVar[str] = "dnd"
    on: bool


class Switchboard:
    """The calls of *agent*, as one person has them: one is active, the others are held or ring."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self._dnd: bool | None = None
        self._asked: dict[str, asyncio.Future[Decision]] = {}

    # --- who may disturb --------------------------------------------------------------------------------------

    @property
    def dnd(self) -> bool:
        """Is nobody to disturb, whatever account is called?  Until it is set, each account's ``dnd`` says."""
        if self._dnd is not None:
            return self._dnd
        accounts = self._agent.accounts
        return bool(accounts) and all(account.config.dnd for account in accounts)

    @dnd.setter
    def dnd(self, on: bool) -> None:
        before, self._dnd = self.dnd, on
        if before != on:
            self._agent.tell(DoNotDisturbNotice(on=on))

    def refusal(self, call: Call) -> Refusal | None:
        """Why *call*, which has just come in, is refused at once; None: it may ring."""
        manners = self._manners(call)
        silent = self.dnd if self._dnd is not None or manners is None else manners.dnd
        if silent:
            return Refusal(480 if manners is None else manners.dnd_code, "Do Not Disturb")
        if manners is not None and not manners.call_waiting and self._others(call):
            return Refusal(486, "Busy Here")
        return None

    def announce(self, call: Call) -> None:
        """Tell that *call* waits, where there are others."""
        others = self._others(call)
        if others:
            remote = str(call.remote.uri)
            self._agent.tell(CallWaitingNotice(call=call.id, remote=remote, others=tuple(o.id for o in others)))

    def _manners(self, call: Call) -> AccountConfig | None:
        """Whose rules hold: the called account's; whoever named none gets those of the only one."""
        accounts = self._agent.accounts
        account = call.account or (accounts[0] if len(accounts) == 1 else None)
        return None if account is None else account.config

    def _others(self, call: Call) -> list[Call]:
        return [other for other in self._agent.calls if other is not call and not other.is_over]

    # --- who decides ------------------------------------------------------------------------------------------

    def ask(self, call: Call) -> asyncio.Future[Decision]:
        """What :meth:`decide` says of *call*, at a terminal or from another program.  End with :meth:`forget`."""
        return self._asked.setdefault(call.id, quiet_future(asyncio.get_running_loop()))

    def forget(self, call: Call) -> None:
        """Nobody is asked any more."""
        asked = self._asked.pop(call.id, None)
        if asked is not None:
            asked.cancel()

    def decide(self, call: Call, decision: Decision) -> None:
        """Raises LocalProtocolError when nobody is asked about *call*, or somebody has answered."""
        asked = self._asked.get(call.id)
        if asked is None or asked.done():
            raise LocalProtocolError(f"nothing is to be decided about {call.id}: it is {call.state}")
        asked.set_result(decision)

    # --- which one is talked to -------------------------------------------------------------------------------

    async def hold_others(self, call: Call) -> None:
        """Hold every call that is up but *call* and those in a conference; one that cannot be held is told about."""
        for other in self._others(call):
            if other.is_up and other.conference is None and not other.session.held:
                try:
                    await other.hold()
                except SipcliError as error:
                    log.info("%s cannot be held: %s", other.id, error)
                    self._agent.tell(WarningNotice(code="not_held", message=f"{other.id} cannot be held: {error}"))

    async def switch(self, call: Call) -> None:
        """Talk to *call*: the others are held, it is resumed.  Raises LocalProtocolError when it is not up."""
        if not call.is_up:
            raise LocalProtocolError(
                f"{call.id} is {call.state}: only a call that is up can be switched to", hint="answer it first"
            )
        await self.hold_others(call)
        if call.session.held:
            await call.resume()
