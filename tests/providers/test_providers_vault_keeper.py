"""The thread that keeps a one-time token alive: how it ends, and that the next token has one again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sipcli.credentials import Secret, Unavailable
from sipcli_providers import _vault_tokens
from sipcli_providers._vault_login import Lease
from sipcli_providers._vault_tokens import Tokens


class Once:
    """A login whose token cannot be had again."""

    once = True

    def login(self, client: Any) -> Lease:
        return Lease(Secret("t"), ttl=10.0, renewable=True, since=0.0)

    def ended(self) -> Unavailable:
        return Unavailable("it ended")


def test_T18_a_new_token_is_kept_alive_although_the_last_keeper_has_not_left_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fails when the thread signs off after it has let go of the lock: the token that comes between has no keeper."""
    started: list[threading.Thread] = []

    def keep_alive(_: Tokens) -> threading.Thread:
        started.append(threading.Thread())
        return started[-1]

    monkeypatch.setattr(_vault_tokens, "_keep_alive", keep_alive)
    now = 0.0
    tokens = Tokens(Once(), lambda: None, lambda error: Unavailable(str(error)))  # type: ignore[arg-type, return-value]
    tokens.clock = lambda: now
    tokens.current()
    now = 11.0
    assert tokens.tend() is None
    tokens.current()
    assert len(started) == 2
