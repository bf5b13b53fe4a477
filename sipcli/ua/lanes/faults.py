"""What a provider's exceptions mean, whatever it was asked to do (docs/architecture.md, "The chain and the broker")."""

from __future__ import annotations

import logging
import traceback

from sipcli.credentials import Cancelled, Denied, NotFound, ProviderError, Unavailable
from sipcli.ua.notices import ProviderOutcome

__all__ = ["Bug", "as_provider_error", "bug", "kind_of", "outcome_of", "pause_before_retry", "rank_of"]

log = logging.getLogger(__name__)

TRIES = 3
FIRST_PAUSE = 0.5

_RANK: dict[type[ProviderError], int] = {NotFound: 0, Unavailable: 1, Denied: 2, Cancelled: 3}
_OUTCOME: dict[type[ProviderError], ProviderOutcome] = {
    NotFound: "not_found",
    Unavailable: "unavailable",
    Denied: "denied",
    Cancelled: "cancelled",
}
_WORDLESS: dict[type[ProviderError], str] = {
    NotFound: "it has nothing for this account",
    Unavailable: "it cannot answer now, and does not say why",
    Denied: "it refuses, and does not say why",
    Cancelled: "a person said no",
}
"""The sentence that a provider owes and did not give."""


class Bug(Unavailable):
    """A provider that broke the contract: asking it again would change nothing."""


def kind_of(error: ProviderError) -> type[ProviderError]:
    return next((kind for kind in (Cancelled, Denied, Unavailable) if isinstance(error, kind)), NotFound)


def rank_of(error: ProviderError) -> int:
    """How telling it is: of a chain's errors the highest is shown."""
    return _RANK[kind_of(error)]


def outcome_of(error: ProviderError) -> ProviderOutcome:
    return _OUTCOME[kind_of(error)]


def as_provider_error(name: str, module: str, error: BaseException) -> ProviderError:
    """*error* itself if the contract knows it, else a :class:`Bug` that keeps the text of *error* to itself."""
    try:
        return _read(name, module, error)
    except Exception:  # it is the provider's own class: whatever is looked at may raise
        return bug(name, module, f"it raised {type(error).__name__}, which cannot be read")


def _read(name: str, module: str, error: BaseException) -> ProviderError:
    if isinstance(error, ProviderError):
        if not str(error).strip():
            error.args = (_WORDLESS[kind_of(error)],)
        return error
    # The frames, not the message: an exception's text may quote the very secret.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.debug("provider %s raised %s\n%s", name, type(error).__name__, frames)
    return bug(name, module, f"it raised {type(error).__name__}")


def bug(name: str, module: str, what: str) -> Bug:
    """*module* is where the provider comes from, empty if it could not even be made."""
    return Bug(f"provider {name} is broken: {what}" + (f" ({module})" if module else ""))


def pause_before_retry(error: ProviderError, tries: int) -> float | None:
    """Seconds until a provider is asked again after *tries* failures; None: not again."""
    if not isinstance(error, Unavailable) or isinstance(error, Bug) or tries >= TRIES:
        return None
    return FIRST_PAUSE * 2.0 ** (tries - 1) if error.retry_after is None else max(error.retry_after, 0.0)
