"""Publications: our own event state, kept at a server that others subscribe to (RFC 3903).

::

    TRYING → PUBLISHED ⇄ (refresh, modify) → REMOVING → GONE
             412: the server has forgotten it → published anew, whole
             any later failure → RETRYING → TRYING
"""

from __future__ import annotations

from collections.abc import Container
from enum import Enum
from typing import TYPE_CHECKING

from sipcli.sip.events import PublicationChanged, PublicationPhase, Why
from sipcli.sip.exchange import Exchange, ExchangeState
from sipcli.sip.flow import Flow
from sipcli.sip.letter import Letter
from sipcli.sip.pauses import backoff, refresh_in, retry_after
from sipcli.sip.softstate import SoftState, granted, verdict
from sipcli.sip.syntax.grammar import is_token
from sipcli.sip.syntax.message import Response, code_and_reason
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import CSeqCounter

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["Publication", "PublicationState"]

LEAST_REFRESH = 1.0


class PublicationState(Enum):
    TRYING = "trying"
    PUBLISHED = "published"
    RETRYING = "retrying"
    REMOVING = "removing"
    GONE = "gone"


class Publication(SoftState):
    """The state of *event* of *target* as we say it is; one PUBLISH is outstanding at most (section 4)."""

    __slots__ = (
        "_account",
        "_body",
        "_cseq",
        "_failures",
        "_new",
        "_published_once",
        "_tag",
        "call_id",
        "content_type",
        "etag",
        "event",
        "id",
        "state",
        "target",
    )

    def __init__(
        self,
        core: Core,
        account: AccountState,
        target: SipUri,
        event: str,
        body: bytes,
        content_type: str,
        *,
        expires: int,
    ) -> None:
        super().__init__(core, expires=expires)
        self._account = account
        self.id = core.new_id("pub")
        self.target = target
        self.event = event
        self.state = PublicationState.TRYING
        self.etag: str | None = None
        """What the server calls the state it holds; None: it holds none."""
        self._body = body
        self.content_type = content_type
        self._new = True
        """The server does not have :attr:`_body` yet."""
        self.call_id, self._tag, self._cseq = core.new_call_id(), core.new_tag(), CSeqCounter()
        self._failures = 0
        self._published_once = False
        core.standing.add(self)

    @property
    def account(self) -> str:
        return self._account.name

    # -- commands ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._tell("trying")
        self._send()

    def modify(self, body: bytes, content_type: str) -> None:
        """Say something new; waits for the PUBLISH that is under way, and the latest word wins."""
        if self.state in (PublicationState.REMOVING, PublicationState.GONE):
            return
        self._body, self.content_type, self._new = body, content_type, True
        if self._exchange is None and self.state is PublicationState.PUBLISHED:
            self._send()

    def remove(self) -> None:
        """Take it back; ``removed`` is told when the server has done so, or did not answer."""
        if self.state in (PublicationState.REMOVING, PublicationState.GONE):
            return
        self._core.wheel.disarm(self)
        exchange = self._exchange
        self.state = PublicationState.REMOVING
        if exchange is not None and exchange.state is ExchangeState.SENT:
            exchange.closing = True  # it may succeed yet: then there is something to take back
            return
        self._drop_exchange()
        self._leave()

    def close(self, why: str) -> None:
        """The account goes: nothing more is sent."""
        if self.state is not PublicationState.GONE:
            self._gone("removed", why=why)

    def belongs_to(self, accounts: Container[AccountState | None]) -> bool:
        return self._account in accounts

    def flow_lost(self, flow: Flow) -> None:
        """The server's state does not hang on a connection."""

    def on_timer(self, name: str) -> None:
        if self._exchange is None:
            self._send()

    # -- requests ------------------------------------------------------------------------------------

    def _send(self, *, remove: bool = False) -> None:
        """Table 1 of section 4.1: a body says something, an entity-tag names what it is said of."""
        core, account = self._core, self._account
        core.wheel.disarm(self)
        said = not remove and (self._new or self.etag is None)
        headers = [("Event", self.event), ("Expires", "0" if remove else str(self.expires))]
        if self.etag is not None:
            headers.append(("SIP-If-Match", self.etag))
        self._new = self._new and not said
        letter = Letter.outside(
            "PUBLISH",
            account,
            self.target,
            tag=self._tag,
            call_id=self.call_id,
            cseq=self._cseq,
            headers=headers,
            body=self._body if said else b"",
            content_type=self.content_type if said else None,
        )
        self._start(Exchange(core, self, account, letter, interactive=not remove))

    def _succeeded(self, exchange: Exchange, response: Response) -> None:
        if self.state is not PublicationState.REMOVING:
            self._accepted(response)
        elif exchange.closing:
            self.etag = _etag_of(response)
            self._leave()
        else:
            self._gone("removed", response)

    def _not_granted(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if self.state is PublicationState.REMOVING:
            self._gone("removed", response, why)
        elif response is not None and response.status == 412 and self.etag is not None:
            self.etag = None  # section 5: never tried again; said anew, whole
            self._send()
        elif self.asks_longer(response):
            self._new = True
            self._send()
        else:
            self._failed(response, why)

    def _accepted(self, response: Response) -> None:
        etag = _etag_of(response)
        if etag is None:
            self._failed(response, "protocol: the server gave no SIP-ETag to what we published")
            return
        self.etag = etag
        self.state = PublicationState.PUBLISHED
        self._failures, self._too_brief, self._published_once = 0, False, True
        seconds = granted(response, self.expires)
        if self._new:
            self._send()
            return
        self._core.arm(self, "refresh", max(refresh_in(seconds), LEAST_REFRESH))
        self._tell("published", response, expires_s=seconds)

    def _failed(self, response: Response | None, why: Why) -> None:
        if not self._published_once:
            self._gone(verdict(response), response, why)
            return
        self._failures += 1
        self._new = True
        delay = max(backoff(self._failures, self._core.uniform), retry_after(response))
        self.state = PublicationState.RETRYING
        self._core.arm(self, "retry", delay)
        self._tell("retrying", response, retry_in_s=delay, why=why)

    def _leave(self) -> None:
        if self.etag is None:
            self._gone("removed")
        else:
            self._send(remove=True)

    def _gone(self, phase: PublicationPhase, response: Response | None = None, why: Why = None) -> None:
        self._core.wheel.disarm(self)
        self._drop_exchange()
        self.state = PublicationState.GONE
        self.etag = None
        self._core.standing.discard(self)
        self._tell(phase, response, why=why)

    def _tell(
        self,
        phase: PublicationPhase,
        response: Response | None = None,
        *,
        expires_s: int | None = None,
        retry_in_s: float | None = None,
        why: Why = None,
    ) -> None:
        code, reason = code_and_reason(response)
        self._core.emit(PublicationChanged(self, phase, code, reason, expires_s, retry_in_s, why))


def _etag_of(response: Response) -> str | None:
    etag = response.find("SIP-ETag")
    return etag if etag and is_token(etag) else None
