"""What the broker is asked: one deferred challenge, under which conditions it may be answered, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sipcli.credentials import Credentials, DigestInput, SigningCredentials
from sipcli.sip.auth import GiveUp, RealmState
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.chain import ChainFailure, Terms
from sipcli.ua.auth.rations import Ration

if TYPE_CHECKING:
    from sipcli.ua.auth.flight import Flight
    from sipcli.ua.auth.signing import Signing

__all__ = ["Answerable", "Ask", "Waiter"]


class Answerable(Protocol):
    """What the broker needs of a :class:`~sipcli.ua.auth.challenge.DeferredChallenge`."""

    @property
    def challenges(self) -> tuple[Challenge, ...]: ...
    @property
    def realms(self) -> Mapping[str, RealmState]: ...
    @property
    def is_valid(self) -> bool: ...

    def digest_inputs(self, key: SigningCredentials) -> tuple[DigestInput, ...]: ...
    def respond(self, *credentials: Credentials) -> None: ...
    def give_up(self, why: GiveUp) -> None: ...
    def on_revoked(self, callback: Callable[[], None]) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Ask:
    """One deferred challenge, and under which conditions it may be answered.

    *fetch* False: only the cache may answer (hanging up, unbinding).  *prompts*
    False: nobody may be asked (a refresh in the background).  *waits* True: there
    is nobody at our terminal, and one who signs in elsewhere is awaited beyond
    any deadline; *answerable*: so is one who has the secret, and *on_failed* sees
    to it.  *latest*, on the loop's clock: an answer
    after it is of no use.  *labels*: realm → the id of its challenge in notices.
    *is_registered*: did the registrar take these credentials, for that realm?
    """

    deferred: Answerable
    terms: Terms
    origin: Origin
    method: str
    status: int = 401
    fetch: bool = True
    prompts: bool = True
    waits: bool = False
    answerable: bool = False
    ration: Ration = field(default_factory=lambda: Ration(3))
    latest: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    on_failed: Callable[[ChainFailure], None] | None = None
    is_registered: Callable[[str, Credentials], bool] = lambda realm, credentials: False

    def offers(self, realm: str) -> tuple[str, ...]:
        """What would do for *realm*, topmost first, as header values; none where it was asked for by no header."""
        state = self.deferred.realms.get(realm)
        return () if state is None else tuple(offer.text for offer in state.offers)


class Waiter:
    """One challenge on its way: answered once every realm has its credentials (A07).

    *began* is when, on the loop's clock.
    """

    __slots__ = ("ask", "began", "done", "first_failure", "flights", "found", "signing", "timer", "tried")

    def __init__(self, ask: Ask, began: float) -> None:
        self.ask = ask
        self.began = began
        self.found: dict[str, Credentials] = {}
        self.flights: list[Flight] = []
        self.tried: set[tuple[str, str]] = set()
        self.first_failure: ChainFailure | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.signing: Signing | None = None
        self.done = False

    @property
    def prompts(self) -> bool:
        return self.ask.prompts

    def may_prompt(self) -> bool:
        """Takes one of the ration if there is one."""
        return self.ask.prompts and self.ask.ration.take()
