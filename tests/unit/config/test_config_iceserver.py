"""STUN and TURN servers as people write them (RFC 7064, RFC 7065)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from sipcli.config import ConfigProblems, parse_config
from sipcli.config.iceserver import IceServer, parse_ice_server
from sipcli.errors import ConfigError

ACCOUNT = '[accounts.work]\naor = "sip:alice@example.com"\n'


@pytest.mark.parametrize(
    ("text", "kind", "server"),
    [
        ("stun:stun.example.com", "stun", IceServer("stun", "stun.example.com", 3478)),
        ("stun.example.com:19302", "stun", IceServer("stun", "stun.example.com", 19302)),
        ("STUN:[2001:db8::1]:3479", "stun", IceServer("stun", "2001:db8::1", 3479)),
        ("turn:192.0.2.1", "turn", IceServer("turn", "192.0.2.1", 3478)),
        ("turn:turn.example.com:80?transport=tcp", "turn", IceServer("turn", "turn.example.com", 80, "tcp")),
        ("turns:turn.example.com", "turn", IceServer("turns", "turn.example.com", 5349, "tcp")),
    ],
)
def test_they_are_read_and_written(text: str, kind: Literal["stun", "turn"], server: IceServer) -> None:
    assert parse_ice_server(text, kind) == server
    assert parse_ice_server(str(server), kind) == server


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("turn:turn.example.com", "stun", "is no STUN server"),
        ("stun:stun.example.com", "turn", "is no TURN server"),
        ("stun:", "stun", "is no STUN server"),
        ("stun:a b", "stun", "is no STUN server"),
        ("stun:stun.example.com:0", "stun", "is no STUN server"),
        ("stun:stun.example.com:70000", "stun", "is no STUN server"),
        ("stun:stun.example.com?transport=tcp", "stun", "of TURN only"),
        ("turn:turn.example.com?transport=sctp", "turn", "udp or tcp"),
        ("turns:turn.example.com?transport=udp", "turn", "DTLS is not known"),
        ("turn:alice:hunter2@turn.example.com", "turn", "does not belong in this address"),
    ],
)
def test_what_is_wrong_is_said(text: str, kind: Literal["stun", "turn"], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_ice_server(text, kind)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_an_account_with_all_of_it() -> None:
    more = 'ice = "relay"\nstun = "stun.example.com"\nturn = "turns:turn.example.com"\nturn_username = "t"\n'
    account = parse_config(ACCOUNT + more + 'turn_credentials = ["keychain"]\n', path=None).accounts["work"]
    assert (account.ice, account.turn_username, account.turn_credentials) == ("relay", "t", ("keychain",))
    assert account.stun == IceServer("stun", "stun.example.com", 3478)
    assert account.turn == IceServer("turns", "turn.example.com", 5349, "tcp")


@pytest.mark.parametrize(
    ("more", "place", "why"),
    [
        ('ice = "on"\n', "ice", '"off" or "optional"'),
        ('ice = "relay"\n', "ice", "needs a TURN server"),
        ('stun = "turn:x"\n', "stun", "is no STUN server"),
        ('turn_credentials = ["vualt"]\n', "turn_credentials", r"there is no \[providers.vualt\]"),
        ('turn_password = "x"\n', "turn_password", "secret|not known"),
    ],
)
def test_each_mistake_names_its_place(more: str, place: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems, match=why) as caught:
        parse_config(ACCOUNT + more, path=tmp_path / "config.toml")
    assert [problem.where for problem in caught.value.problems] == [f"[accounts.work] {place}"]
