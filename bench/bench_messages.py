"""Parsing and writing an INVITE of ordinary size, a second's worth."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

from sipcli.sip.syntax.message import Request, parse_message

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnashds8;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=a48s\r\n'
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: a84b4c76e66710@192.0.2.1\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@192.0.2.1:5060>\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, INFO\r\n"
    b"Supported: replaces, timer\r\n"
    b"User-Agent: bench\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 168\r\n\r\n"
    b"v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
)


def rate(act: Callable[[], object], seconds: float = 1.0) -> int:
    """The best of five, times a second: what the code costs, not what the machine was doing."""
    timer = timeit.Timer(act)
    number, _ = timer.autorange()
    return round(number / min(timer.repeat(5, number)))


def main() -> None:
    message = parse_message(INVITE)
    assert isinstance(message, Request)

    def read() -> None:
        got = parse_message(INVITE)
        got.cseq, got.call_id, got.via.branch  # noqa: B018 - what the transaction layer asks of every message

    print(
        json.dumps({"name": "INVITE parsed", "value": rate(lambda: parse_message(INVITE)), "unit": "/s", "target": ""})
    )
    print(json.dumps({"name": "INVITE parsed and matched", "value": rate(read), "unit": "/s", "target": ""}))

    def write() -> bytes:
        return message.with_("Max-Forwards", "69").to_bytes()  # what was written once is not written again

    print(json.dumps({"name": "INVITE changed and written", "value": rate(write), "unit": "/s", "target": ""}))


if __name__ == "__main__":
    main()
