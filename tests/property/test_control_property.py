"""The control protocol: total, bounded, and what was written is what is read, however it was cut into pieces."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sipcli.ua.control.line import LONGEST_LINE, ControlError, LineSplitter, parse_request, reply

ids = st.one_of(st.none(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=64))
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=50))
commands = st.fixed_dictionaries(
    {"id": ids, "command": st.text(max_size=30), "secret": st.text(max_size=200)},
    optional={"account": plain, "username": plain},
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(st.lists(commands, max_size=5), st.lists(st.integers(0, 10**6), max_size=20))
def test_what_was_sent_is_what_is_understood(sent: list[dict[str, Any]], cuts: list[int]) -> None:
    stream = b"".join(json.dumps(command).encode() + b"\n" for command in sent)
    splitter = LineSplitter()
    lines = [line for piece in pieces(stream, cuts) for line in splitter.feed(piece)]
    requests = [parse_request(line.octets) for line in lines if line.octets is not None]
    assert len(requests) == len(sent)
    for request, command in zip(requests, sent, strict=True):
        assert (request.id, request.command) == (command["id"], command["command"])
        assert request.secrets["secret"].reveal() == command["secret"].encode()
        assert request.fields == {k: v for k, v in command.items() if k in ("account", "username")}


@given(st.binary(max_size=300))
def test_parsing_is_total_and_leaves_nothing_behind(data: bytes) -> None:
    line = bytearray(data)
    try:
        parse_request(line)
    except ControlError as error:
        json.loads(reply(error.id, error))
    assert not any(line)


@given(st.lists(st.binary(max_size=5000), max_size=30))
def test_never_more_than_a_line_is_held(data: list[bytes]) -> None:
    splitter = LineSplitter()
    whole = b"".join(data)
    lines = []
    for piece in data:
        lines += splitter.feed(piece)
        assert len(splitter._buffer) <= LONGEST_LINE
    expected = whole.split(b"\n")[:-1]
    good = [line.octets for line in lines if line.octets is not None]
    assert good == [line for line in expected if len(line) <= LONGEST_LINE]
