"""Stream framing: limits, lost frames, keep-alives (RFC 3261 section 18.3, RFC 5626 section 4.4.1; B16, T23)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip.syntax.framing import KEEPALIVE, PONG, Ping, StreamFramer
from sipcli.sip.syntax.message import MAX_HEADERS, MAX_LINE, MAX_MESSAGE

HEAD = b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
GOOD = HEAD + b"l: 2\r\n\r\nhi"


def test_B16_two_in_one_and_the_rest_waits() -> None:
    framer = StreamFramer()
    assert list(framer.feed(GOOD + GOOD + GOOD[:9])) == [GOOD, GOOD]
    assert framer.pending
    assert list(framer.feed(GOOD[9:])) == [GOOD]
    assert not framer.pending


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"\r\n",
        HEAD + b"Content-Length: \r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1x\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nl: 2\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Content-Length: 65536\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
        HEAD + b"l: 0\r\nX: " + b"y" * MAX_LINE + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * MAX_HEADERS + b"l: 0\r\n\r\n",
    ],
)
def test_B16_a_lost_frame_stays_lost(data: bytes) -> None:
    framer = StreamFramer()
    got = framer.feed(GOOD + data)
    assert next(got) == GOOD
    with pytest.raises(ParseError) as caught:
        next(got)
    assert caught.value.partial is not None
    assert caught.value.partial.reply(400).to_bytes().startswith(b"SIP/2.0 400 Bad Request\r\nVia: ")
    with pytest.raises(ParseError):
        list(framer.feed(GOOD))


def test_B16_a_fold_may_hold_the_length() -> None:
    assert list(StreamFramer().feed(HEAD + b"Content-Length:\r\n 2\r\n\r\nhi")) != []


def test_T13_a_long_challenge_loses_no_frame() -> None:
    """It is skipped where challenges are read; its neighbours are answered.  Fails without the exception for it."""
    data = (
        HEAD.replace(b"OPTIONS sip:h SIP/2.0", b"SIP/2.0 401 No")
        + b"WWW-Authenticate : Digest realm="
        + b"y" * 5 * MAX_LINE
        + b"\r\nl: 0\r\n\r\n"
    )
    framer = StreamFramer()
    assert [got for at in range(0, len(data), 100) for got in framer.feed(data[at : at + 100])] == [data]


def test_T23_an_endless_challenge_ends_before_memory_does() -> None:
    framer, fed = StreamFramer(), 0
    with pytest.raises(ParseError):
        while fed < 2 * MAX_MESSAGE:
            fed += 100
            list(framer.feed(b"www-authenticate:" + b"a" * 83 if fed == 100 else b"a" * 100))
    assert fed <= MAX_MESSAGE + 200


def test_T23_an_endless_line_ends_before_memory_does() -> None:
    framer, fed = StreamFramer(), 0
    with pytest.raises(ParseError):
        while fed < 10 * MAX_LINE:
            fed += 100
            list(framer.feed(b"a" * 100))
    assert fed <= MAX_LINE + 200


def test_T23_an_endless_header_ends_before_memory_does() -> None:
    framer, fed = StreamFramer(), 0
    with pytest.raises(ParseError):
        while fed < 10 * MAX_MESSAGE:
            fed += 1000
            list(framer.feed(b"X: " + b"y" * 995 + b"\r\n"))
    assert fed <= MAX_MESSAGE + 2000


def test_pings_are_found_between_messages_only() -> None:
    framer = StreamFramer()
    body = HEAD + b"l: 4\r\n\r\n" + KEEPALIVE
    assert list(framer.feed(KEEPALIVE + GOOD + KEEPALIVE + KEEPALIVE + body)) == [
        *(Ping.PING, GOOD, Ping.PING, Ping.PING, body),
    ]


def test_a_pong_is_one_after_a_ping() -> None:
    framer = StreamFramer()
    assert list(framer.feed(PONG)) == []
    assert not framer.pending
    assert list(framer.feed(GOOD)) == [GOOD]
    framer.pinged()
    assert list(framer.feed(PONG)) == [Ping.PONG]
    assert list(framer.feed(PONG + GOOD)) == [GOOD]


def test_a_ping_crossing_ours_is_answered_first() -> None:
    framer = StreamFramer()
    framer.pinged()
    assert list(framer.feed(KEEPALIVE + PONG)) == [Ping.PING, Ping.PONG]
