"""What SUBSCRIBE and NOTIFY say of a subscription: Event and Subscription-State (RFC 6665 sections 4.1.3 and 8.2)."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from sipcli.errors import ParseError
from sipcli.sip.syntax.grammar import Params, is_token, parse_params, unquote
from sipcli.sip.syntax.message import Message

__all__ = ["EventType", "SubState", "SubscriptionState"]

SubState: TypeAlias = Literal["active", "pending", "terminated"]

# What a subscriber does after each reason (section 4.1.3); "invariant" holds whatever retry-after says.
_FOR_GOOD = frozenset(("rejected", "noresource", "invariant"))
_AT_ONCE = frozenset(("deactivated", "timeout"))


class EventType(NamedTuple):
    """The Event header: a package, templates included (``presence.winfo``), and what tells two in one dialog apart.

    Compared octet by octet, other parameters left out (section 8.2.1).
    """

    package: str
    id: str | None = None

    @classmethod
    def parse(cls, value: str) -> EventType:
        """Raises ParseError."""
        package, params = _split(value)
        return cls(package, _find(params, "id"))

    @classmethod
    def of(cls, message: Message) -> EventType:
        """ParseError when *message* has no Event header, or an odd one."""
        return cls.parse(message.get("Event"))

    def __str__(self) -> str:
        return self.package if self.id is None else f"{self.package};id={self.id}"


class SubscriptionState(NamedTuple):
    """The Subscription-State header.  *expires* and *retry_after* are in seconds.

    A state that is none of the three means that the subscription lives; so it is
    ``active`` here (section 8.2.3 leaves room for more, and nobody defined one).
    """

    state: SubState
    reason: str | None = None
    expires: int | None = None
    retry_after: int | None = None

    @classmethod
    def parse(cls, value: str) -> SubscriptionState:
        """Raises ParseError; a number that is none is left out."""
        word, params = _split(value)
        state: SubState = "active"
        match word.lower():
            case "pending":
                state = "pending"
            case "terminated":
                state = "terminated"
        reason = _find(params, "reason")
        return cls(
            state,
            None if reason is None else reason.lower(),
            None if state == "terminated" else _seconds(params, "expires"),  # section 4.1.3: no meaning, to be ignored
            _seconds(params, "retry-after"),
        )

    @classmethod
    def of(cls, notify: Message) -> SubscriptionState:
        """ParseError when *notify* has none, or an odd one: both earn 400."""
        return cls.parse(notify.get("Subscription-State"))

    @property
    def over(self) -> bool:
        return self.state == "terminated"

    def again_in(self, pause: float) -> float | None:
        """Seconds until a new subscription makes sense; None: never (section 4.1.3).

        *pause* is what we wait where the notifier wants us back, but not at once, and does not say when.
        """
        if self.reason in _FOR_GOOD:
            return None
        if self.reason in _AT_ONCE:
            return 0.0
        if self.retry_after is not None:
            return float(self.retry_after)
        return pause  # probation; giveup, which would only be pending again; no reason, or one that nobody knows


def _split(value: str) -> tuple[str, Params]:
    word, semicolon, rest = value.partition(";")
    word = word.strip()
    if not is_token(word):
        raise ParseError(f"this is no event or state: {value[:60]!r}")
    return word, parse_params(semicolon + rest)


def _find(params: Params, name: str) -> str | None:
    return next((unquote(value) for key, value in params if key.lower() == name and value is not None), None)


def _seconds(params: Params, name: str) -> int | None:
    text = (_find(params, name) or "").lstrip("0") or ("0" if _find(params, name) else "")
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) <= 10 else 2**32 - 1
