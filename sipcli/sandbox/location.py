"""Where users are: the bindings that REGISTER makes (RFC 3261 section 10.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sipcli.sandbox.config import SandboxConfig
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request
from sipcli.sip.syntax.uri import NameAddr, SipUri

__all__ = ["Binding", "Location"]


@dataclass(frozen=True, slots=True)
class Binding:
    """One Contact of a user.  *flow* is the way the REGISTER came, and so the way a call goes back."""

    contact: NameAddr
    flow: Flow
    expires_at: float
    call_id: str
    cseq: int


class Location:
    """Bindings by user name; an address is known by its user part, for every domain is ours."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self._bindings: dict[str, list[Binding]] = {}

    def find(self, user: str, now: float) -> tuple[Binding, ...]:
        """What is bound now, the latest last."""
        return tuple(binding for binding in self._bindings.get(user, ()) if binding.expires_at > now)

    def all(self, now: float) -> Iterator[Binding]:
        """Everything that is bound now."""
        for user in tuple(self._bindings):
            yield from self.find(user, now)

    def forget_flow(self, flow: Flow) -> None:
        """A connection is gone, and with it the only way to whoever registered over it."""
        for bindings in self._bindings.values():
            bindings[:] = [binding for binding in bindings if binding.flow.id != flow.id or not flow.reliable]

    def register(self, request: Request, flow: Flow, now: float) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Process one REGISTER, wholly or not at all: the status and the header fields of its answer.

        ParseError when a header field makes no sense.
        """
        user = request.to.sip_uri.user_text or ""
        kept = list(self.find(user, now))
        if request.contact_star:
            if request.expires != 0:
                return 400, ()
            if any(_is_older(request, binding) for binding in kept):
                return 500, ()
            kept = []
        for contact in request.contacts:
            expires = self._expires(request, contact)
            if 0 < expires < self.config.min_expires:
                return 423, (("Min-Expires", str(self.config.min_expires)),)
            same = [binding for binding in kept if _same_place(binding.contact, contact)]
            if any(_is_older(request, binding) for binding in same):
                return 500, ()
            kept = [binding for binding in kept if binding not in same]
            if expires > 0:
                kept.append(Binding(contact, flow, now + expires, request.call_id, request.cseq.number))
        self._bindings[user] = kept
        return 200, tuple(self._contacts(kept, now))

    def _expires(self, request: Request, contact: NameAddr) -> int:
        own = contact.param("expires")
        asked = int(own) if own is not None and own.isascii() and own.isdigit() else request.expires
        return min(self.config.max_expires if asked is None else asked, self.config.max_expires)

    @staticmethod
    def _contacts(bindings: list[Binding], now: float) -> Iterator[tuple[str, str]]:
        for binding in bindings:
            left = max(1, round(binding.expires_at - now))
            yield "Contact", str(binding.contact.with_param("expires", str(left)))


def _same_place(one: NameAddr, other: NameAddr) -> bool:
    """The comparison of section 19.1.4."""
    if isinstance(one.uri, SipUri) and isinstance(other.uri, SipUri):
        return one.uri.equivalent(other.uri)
    return one.uri == other.uri


def _is_older(request: Request, binding: Binding) -> bool:
    """Out of order: the same Call-ID with a CSeq that has not grown (section 10.3, steps 6 and 7)."""
    return binding.call_id == request.call_id and request.cseq.number <= binding.cseq
