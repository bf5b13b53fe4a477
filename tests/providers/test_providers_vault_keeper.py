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


class Slow:
    """A login that takes five seconds of *clock*, and gives another token each time."""

    once = False

    def __init__(self) -> None:
        self.now = 100.0
        self.logins = 0

    def login(self, client: Any) -> Lease:
        self.now += 5
        self.logins += 1
        return Lease(Secret(f"t{self.logins}"), ttl=60.0)

    def ended(self) -> Unavailable:
        return Unavailable("it ended")


def slow() -> tuple[Slow, Tokens]:
    login = Slow()
    tokens = Tokens(login, lambda: None, lambda error: Unavailable(str(error)))  # type: ignore[arg-type, return-value]
    tokens.clock = lambda: login.now
    return login, tokens


def test_T18_of_all_who_were_refused_with_one_token_the_first_logs_in() -> None:
    login, tokens = slow()
    refused = tokens.current()
    newer = [tokens.after(refused) for _ in range(3)]
    assert (login.logins, newer) == (2, [newer[0]] * 3)
    assert newer[0].token == Secret("t2")


def test_T18_a_token_is_as_old_as_the_question_for_it() -> None:
    """Its life began on the server, somewhere between the question and the answer."""
    _, tokens = slow()
    assert tokens.current().since == 100.0
