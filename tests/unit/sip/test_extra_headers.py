"""Headers that a person adds: which are taken, and which are refused before anything is sent."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip.syntax.extraheaders import extra_header


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-A: b", ("X-A", "b")),
        ("X-A:b", ("X-A", "b")),
        ("X-A :  b ", ("X-A", "b")),
        ("X-A:", ("X-A", "")),
        ("X-A: sip:bob@b.example", ("X-A", "sip:bob@b.example")),
        ("Subject: Grüße, \N{EARTH GLOBE EUROPE-AFRICA}", ("Subject", "Grüße, \N{EARTH GLOBE EUROPE-AFRICA}")),
        ("s: short", ("s", "short")),
        ("P-Asserted-Identity: <sip:1@b.example>", ("P-Asserted-Identity", "<sip:1@b.example>")),
    ],
)
def test_a_header_as_people_write_it(text: str, header: tuple[str, str]) -> None:
    assert extra_header(text) == header


@pytest.mark.parametrize("text", ["X-A b", "", "X-A"])
def test_no_colon(text: str) -> None:
    with pytest.raises(ParseError, match="no colon in it; write it as 'X-A: b'"):
        extra_header(text)


@pytest.mark.parametrize(
    "text", [": b", "X A: b", "X-Ä: b", "X-A\r\n: b", " X-A: b", "X-A\t: b", '"X": b', "X\x1b[2J: b"]
)
def test_a_name_that_is_no_token(text: str) -> None:
    with pytest.raises(ParseError, match="is no header name; write it as 'X-A: b'") as refused:
        extra_header(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "value",
    ["b\r\nVia: x", "b\rc", "b\nc", "b\r\n c", "b\0c", "b\tc", "b\x1b[2Jc", "b\x7fc", "b\x85c", "b\u2028c", "\udcffb"],
)
def test_T13_a_value_cannot_begin_another_line(value: str) -> None:
    """Fails without the check of ``isprintable`` in ``extra_header``: what ``header_line`` lets pass goes out."""
    with pytest.raises(ParseError, match="line end or another control character"):
        extra_header(f"X-A: {value}")


@pytest.mark.parametrize(
    "name",
    [
        "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Route", "Record-Route", "Content-Length",
        "Content-Type", "Content-Encoding", "Authorization", "Proxy-Authorization", "Expires", "Allow", "Supported",
        "Require", "Proxy-Require", "Accept", "Allow-Events", "Session-Expires", "Min-SE", "User-Agent", "Event",
        "Recv-Info", "RAck", "Refer-To", "Replaces",
        "v", "f", "t", "i", "m", "l", "c", "e", "k", "u", "x", "o", "r",
    ],
)  # fmt: skip
def test_what_the_stack_writes_itself_in_any_case_and_form(name: str) -> None:
    for written in (name, name.upper(), name.lower(), f"{name} "):
        with pytest.raises(ParseError, match="is written by sipcli itself"):
            extra_header(f"{written}: 1")


@pytest.mark.parametrize(
    "text", ["Authorization: Digest hunter2", "Authorization Digest hunter2", "X Y: hunter2", "X: hunter2\n"]
)
def test_a_refusal_does_not_repeat_the_value(text: str) -> None:
    with pytest.raises(ParseError) as refused:
        extra_header(text)
    assert "hunter2" not in str(refused.value)
