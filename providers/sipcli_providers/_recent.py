"""The latest few of what is kept for each account and realm, safe from several threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most *most* values: realms are the network's, and must not fill our memory.  What was put first goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: K) -> V | None:
        with self._lock:
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        """*value* in place of what was there before, and the latest of all."""
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = value

    def drop(self, key: K) -> None:
        with self._lock:
            self._kept.pop(key, None)
