"""The nonces a sandbox has issued: how old they are, and how often they were used (RFC 7616 section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Nonce", "NonceBook"]

_KEEP: Final = 10_000


@dataclass(slots=True)
class Nonce:
    """*last_nc* is the highest nonce count seen; 0 before the first use.  *uses* counts good answers."""

    text: str
    realm: str
    algorithm: str
    issued_at: float
    last_nc: int = 0
    uses: int = 0


class NonceBook:
    """Issues nonces and remembers the latest ten thousand."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._nonces: dict[str, Nonce] = {}

    def issue(self, realm: str, algorithm: str, now: float) -> Nonce:
        nonce = Nonce(self._random(16).hex(), realm, algorithm, now)
        self._nonces[nonce.text] = nonce
        if len(self._nonces) > _KEEP:
            del self._nonces[next(iter(self._nonces))]
        return nonce

    def find(self, text: str) -> Nonce | None:
        return self._nonces.get(text)
