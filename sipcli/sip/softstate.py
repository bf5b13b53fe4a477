"""State that a server keeps for us for a time: a binding, a subscription, a publication.

Each is asked for, granted for so many seconds, refreshed, and taken back (RFC
3261 section 10.2, RFC 6665 section 4.1.2, RFC 3903 section 4).  What is common
to them stands here; when a refresh is due is in :mod:`sipcli.sip.pauses`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from sipcli.errors import ParseError
from sipcli.sip.events import Why
from sipcli.sip.exchange import Exchange
from sipcli.sip.syntax.message import Response

if TYPE_CHECKING:
    from sipcli.sip.core import Core

__all__ = ["OneRequest", "SoftState", "granted", "verdict"]

_REFUSALS = frozenset((401, 403, 407))


class OneRequest(ABC):
    """The owner of one request at a time, a pending challenge included: none may overtake another."""

    __slots__ = ("_core", "_exchange")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._exchange: Exchange | None = None

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.start()

    def _drop_exchange(self) -> None:
        """What is under way is of no use any more: nobody hears how it ends."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.stop()

    def on_provisional(self, exchange: Exchange, response: Response) -> None:  # noqa: B027  # it changes nothing here
        pass

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if exchange is not self._exchange:
            return
        self._exchange = None
        if response is not None and response.status < 300:
            self._succeeded(exchange, response)
        else:
            self._not_granted(exchange, response, why)

    @abstractmethod
    def _succeeded(self, exchange: Exchange, response: Response) -> None:
        """A 2xx came."""

    @abstractmethod
    def _not_granted(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        """Another final response came, or none and *why*."""


class SoftState(OneRequest):
    """What we ask a server to keep for :attr:`expires` seconds."""

    __slots__ = ("_too_brief", "expires")

    def __init__(self, core: Core, *, expires: int) -> None:
        super().__init__(core)
        self.expires = expires
        self._too_brief = False
        """A 423 was heeded already, and nothing granted since."""

    def asks_longer(self, response: Response | None) -> bool:
        """423: ask for Min-Expires, once for each grant.  True: :attr:`expires` is that now.

        RFC 3261 section 10.2.8, RFC 6665 section 4.2.1.1, RFC 3903 section 5.
        """
        least = None if self._too_brief or response is None else _longer(response, self.expires)
        if least is None:
            return False
        self._too_brief, self.expires = True, least
        return True


def _longer(response: Response, asked: int) -> int | None:
    """Seconds that a 423 wants instead of *asked*; None when they are no more."""
    least = response.find("Min-Expires") or ""
    if response.status != 423 or not (least.isascii() and least.isdigit() and len(least) < 11):
        return None
    return int(least) if asked < int(least) < 2**32 else None


def granted(response: Response, asked: int) -> int:
    """Seconds.  A server may shorten what we asked for, and that is what it took where it does not say."""
    try:
        expires = response.expires
    except ParseError:
        return asked
    return asked if expires is None else min(expires, asked)


def verdict(response: Response | None) -> Literal["refused", "failed"]:
    """How what was never granted ended: by a no to us, or by anything else, which says nothing of a secret."""
    return "refused" if response is not None and response.status in _REFUSALS else "failed"
