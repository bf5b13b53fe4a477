"""The lines of the control socket: parsing is total, bounded, and keeps no secret in sight."""

from __future__ import annotations

import json
import traceback

import pytest

from sipcli.ua.control.line import LONGEST_LINE, ControlError, LineSplitter, parse_request, reply

CANARY = "canary-5e1f"


def parsed(text: str) -> object:
    return parse_request(bytearray(text.encode()))


def test_a_command_and_its_fields() -> None:
    request = parse_request(bytearray(b'{"id":"7","command":"auth.answer","account":"ops","secret":"x"}'))
    assert (request.id, request.command, request.fields) == ("7", "auth.answer", {"account": "ops"})
    assert request.secrets["secret"].reveal() == b"x"
    assert request.text("account") == "ops"
    assert request.text("username") is None
    request.wipe()
    assert request.secrets["secret"].reveal() == b""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "one JSON object per line"),
        ("hello", "one JSON object per line"),
        ("[]", "one JSON object per line"),
        ("[" * 10000, "one JSON object per line"),
        ('{"id":1}', "“command” is missing"),
        ('{"id":1,"command":7}', "“command” is missing"),
        ('{"id":{},"command":"status"}', "“id” is a number"),
        ('{"id":true,"command":"status"}', "“id” is a number"),
        ('{"id":1.5,"command":"status"}', "“id” is a number"),
        ('{"id":"' + "x" * 65 + '","command":"status"}', "“id” is a number"),
        ('{"id":1,"command":"auth.answer","secret":7}', "“secret” is a text"),
        ('{"id":1,"command":"auth.answer","secret":"\\ud800"}', "“secret” is no text"),
    ],
)
def test_garbage_is_refused_in_words(line: str, told: str) -> None:
    with pytest.raises(ControlError, match=told) as raised:
        parsed(line)
    assert raised.value.kind == "bad_request"


def test_a_refusal_knows_the_id_that_could_be_read() -> None:
    with pytest.raises(ControlError) as raised:
        parsed('{"id":"9"}')
    assert json.loads(reply(raised.value.id, raised.value)) == {
        "v": 1,
        "id": "9",
        "ok": False,
        "error": "bad_request",
        "message": "“command” is missing",
    }


def test_octets_of_another_locale_survive() -> None:
    text = b"p\xe4ss".decode("utf-8", "surrogateescape")
    line = json.dumps({"command": "auth.answer", "secret": text}).encode()
    assert parse_request(bytearray(line)).secrets["secret"].reveal() == b"p\xe4ss"


@pytest.mark.parametrize(
    "line",
    [
        '{"command":"auth.answer","secret":"%s"',
        '{"command":"auth.answer","secret":["%s"]}',
        '{"secret":"%s"}',
        '"%s"',
        '{"id":{},"command":"auth.answer","secret":"%s"}',
    ],
)
def test_T34_no_error_tells_what_the_line_held(line: str) -> None:
    """Fails when json's own error is let through (it carries the whole document in ``doc``)."""
    octets = bytearray(line.replace("%s", CANARY).encode())
    with pytest.raises(ControlError) as raised:
        parse_request(octets)
    error = raised.value
    assert CANARY not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    assert CANARY not in str(vars(error.__context__) if error.__context__ else "")
    assert not any(octets)


def test_T34_a_request_shows_no_secret() -> None:
    """Fails when the secret is left among the fields."""
    assert CANARY not in repr(parsed(json.dumps({"command": "auth.answer", "secret": CANARY})))


def test_lines_come_whole_whatever_the_pieces() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a"') == []
    one, two = splitter.feed(b":1}\n{}\nrest")
    assert (one.octets, two.octets) == (b'{"a":1}', b"{}")
    (three,) = splitter.feed(b"\n")
    assert three.octets == b"rest"


def test_T34_a_line_that_is_too_long_is_thrown_away_and_not_kept() -> None:
    """Fails without the bound in ``LineSplitter.feed``: a megabyte would be held."""
    splitter = LineSplitter()
    said = [line for _ in range(64) for line in splitter.feed(b"x" * LONGEST_LINE)]
    assert [line.octets for line in said] == [None]
    assert len(splitter._buffer) == 0
    after = splitter.feed(b"still it\n{}\n")
    assert [line.octets for line in after] == [b"{}"]
