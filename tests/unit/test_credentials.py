"""What secrets and user names may be made of (sipcli.credentials): any octets, and nothing that no header can carry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from sipcli.credentials import (
    BearerCredentials,
    Ha1Credentials,
    PasswordCredentials,
    Secret,
    SigningCredentials,
    UserAction,
)

LONE = "\ud800"
"""JSON may spell half a character (``"\\ud800"``); no octets stand for it."""
LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")
"""What was typed, or exported, under another locale than UTF-8: octets that are no UTF-8."""


def chain(error: BaseException | None) -> list[BaseException]:
    """*error*, and all that a traceback printer would find behind it."""
    return [] if error is None else [error, *chain(error.__cause__), *chain(error.__context__)]


def test_octets_that_are_no_utf_8_are_a_password_too() -> None:
    assert Secret(LATIN).reveal() == b"caf\xe9"
    assert PasswordCredentials(LATIN, Secret("x")).username == LATIN


def test_T14_a_secret_that_cannot_be_one_is_refused_and_not_quoted() -> None:
    """Fails with a bare ``value.encode()``: UnicodeEncodeError carries the whole text, and its repr shows it."""
    with pytest.raises(ValueError, match="no text") as caught:
        Secret("hunter2-canary" + LONE)
    for error in chain(caught.value):
        assert "hunter2" not in f"{error!r} {error.args} {vars(error)} {getattr(error, 'object', '')}"


@pytest.mark.parametrize(
    "make",
    [
        lambda name: PasswordCredentials(name, Secret("x")),
        lambda name: Ha1Credentials(name, "example.com", "MD5", Secret("0" * 32)),
        lambda name: SigningCredentials(name),
    ],
)
@pytest.mark.parametrize("name", ["ali" + LONE, "ali\nce", "ali\rce", "ali\0ce"])
def test_T13_a_user_name_that_no_header_can_carry_is_refused(make: Callable[[str], object], name: str) -> None:
    """A store gives it, and the answer to a challenge would fail after its token was spent."""
    with pytest.raises(ValueError, match="the user name"):
        make(name)


def test_a_token_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="the token contains"):
        BearerCredentials(Secret("abc\r\nX: y"))


@pytest.mark.parametrize("wrong", [{"expires_in": "60"}, {"realm": None}, {"ref": 5}], ids=str)
def test_what_is_no_number_or_text_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    for make in (
        lambda: PasswordCredentials("alice", Secret("x"), **wrong),
        lambda: BearerCredentials(Secret("x"), **wrong),
        lambda: SigningCredentials("alice", **wrong),
        lambda: Ha1Credentials(**{"username": "alice", "realm": "r", "algorithm": "MD5", "ha1": Secret("x")} | wrong),
    ):
        with pytest.raises(TypeError, match=r"not (str|NoneType|int)"):
            make()


def test_a_life_that_no_clock_holds_is_refused_where_it_is_given() -> None:
    """It overflowed where an answer was put together, when its challenge was spent."""
    with pytest.raises(ValueError, match="further away"):
        PasswordCredentials("alice", Secret("x"), expires_in=10**400)
    for life in (10**15, math.inf, math.nan, -1, 0.0):
        assert PasswordCredentials("alice", Secret("x"), expires_in=life).expires_in is life


@pytest.mark.parametrize("life", [math.nan, math.inf, -math.inf])
def test_a_code_lives_for_a_finite_time(life: float) -> None:
    """The event says so in JSON, which knows no infinity; and a timer is set for it."""
    with pytest.raises(ValueError, match="finite"):
        UserAction(provider="sso", url="https://login.example.com", user_code="AB", expires_in=life)
    assert UserAction(provider="sso", url="https://login.example.com").expires_in is None
