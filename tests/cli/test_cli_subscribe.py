"""``sipcli subscribe``, and the words for what it hears and for messages."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.cli.console import Style
from sipcli.cli.statewords import state_words
from sipcli.cli.words import Talker
from tests.support.cli import Cli

ESC = "\x1b[2J\u202e"


def notification(**fields: Any) -> dict[str, Any]:
    return {"target": "sip:bob@example.com", "state": "active", "notifier": 1, **fields}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mwi": {"waiting": True, "messages": []}}, "messages wait"),
        (
            {
                "mwi": {
                    "waiting": True,
                    "account": "sip:sales@example.com",
                    "messages": [{"kind": "voice", "new": 2, "old": 5, "urgent_new": 1, "urgent_old": 0}],
                }
            },
            "messages wait for sip:sales@example.com: 2 new (1 urgent) and 5 old voice messages",
        ),
        ({"presence": {"entity": "x", "activities": [], "contacts": []}}, "nothing known"),
        (
            {"presence": {"open": True, "note": "at four", "activities": ["on-the-phone"], "contacts": []}},
            "available (on-the-phone) \N{EN DASH} “at four”",
        ),
        ({"presence": {"open": False, "activities": [], "contacts": []}}, "not available"),
        ({"dialogs": []}, "no calls"),
        (
            {
                "dialogs": [
                    {"id": "1", "state": "early", "direction": "recipient", "remote": "sip:a@b"},
                    {"id": "2", "state": "confirmed"},
                    {"id": "3", "state": "terminated", "remote": "sip:gone@b"},
                ]
            },
            "called by sip:a@b; in call with somebody",
        ),
        ({"state": "pending"}, "not allowed yet"),
        ({}, "nothing known"),
    ],
)
def test_D05_a_state_in_words(fields: dict[str, Any], words: str) -> None:
    assert state_words(notification(**fields)) == f"sip:bob@example.com: {words}"


def test_T12_D05_their_words_cannot_move_the_cursor() -> None:
    """Fails without ``safe_text`` and ``quoted`` in ``statewords``."""
    hostile = [
        {"presence": {"open": True, "note": ESC, "activities": [ESC], "contacts": []}},
        {"mwi": {"waiting": True, "account": ESC, "messages": []}},
        {"dialogs": [{"id": ESC, "state": "confirmed", "remote": ESC}]},
        {"target": ESC},
    ]
    for fields in hostile:
        words = state_words(notification(**fields))
        assert words.isprintable() and "\\x1b" in words


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_T12_D05_a_message_is_text_whatever_it_holds(kind: str) -> None:
    fields = {"direction": "in", "remote": f"sip:{ESC}", "content_type": kind, "body": f"<b>hi</b>{ESC}"}
    sentence = Talker().sentence("message", fields)
    assert sentence is not None and sentence.text.isprintable()
    assert ("<b>hi</b>" in sentence.text) is (kind == "text/plain")


def test_D05_who_writes_is_a_quiet_line() -> None:
    said = Talker().sentence("composing", {"remote": "sip:bob@b", "state": "active"})
    assert said is not None and (said.text, said.style) == ("sip:bob@b is writing…", Style.DIM)
    assert Talker().sentence("composing", {"remote": "sip:bob@b", "state": "idle"}) is None


def test_D04_somebody_who_is_not_there_is_5(alice: Cli) -> None:
    done = alice.run("subscribe", "480", "--event", "presence", "--json")
    assert (done.code, done.result["code"]) == (5, 480)
    assert [entry["state"] for entry in done.named("subscription")] == ["trying", "failed"]


def test_D04_a_server_that_notifies_of_nothing_says_of_what_it_does(alone: Cli) -> None:
    done = alone.run("subscribe", "bob", "--event", "presence", "--json")
    assert (done.code, done.result["code"]) == (1, 489)
    assert done.result["hint"] == "the server notifies of: refer"


def test_D04_nobody_there_is_7(cli: Cli) -> None:
    done = cli.run("subscribe", "--from", "sip:a@127.0.0.1:9", "--once", "--json", "--no-input")
    assert done.code == 7
