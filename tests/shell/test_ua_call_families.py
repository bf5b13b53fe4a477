"""Signalling by one address family, audio by the other: a proxy may have joined them (RFC 6157 section 4; C07)."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.sip.flow import Flow
from sipcli.ua.calls.callmedia import host_for, open_incoming

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN {}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n"
V4, V6 = "127.0.0.1", "::1"


def offer(connection: str, port: int = 4000) -> bytes:
    return SDP.format(connection, port).encode()


@pytest.mark.parametrize(
    ("here", "said", "host"),
    [
        (V6, offer("IP4 127.0.0.1"), V4),
        (V4, offer("IP6 ::1"), V6),
        (V4, offer("IP4 127.0.0.9"), V4),
        (V6, offer("IP6 ::1"), V6),
        (V6, offer("IP4 0.0.0.0"), V6),
        (V6, offer("IP4 127.0.0.1", 0), V6),
        (V6, offer("IP4 phone.example.com"), V6),
        (V6, offer("IP4 127.0.0.1").replace(b"t=0 0\r\n", b"t=0 0\r\nm=video 9 RTP/AVP 99\r\nc=IN IP6 ::1\r\n"), V4),
        (V6, b"nonsense", V6),
        (V6, b"", V6),
        (V6, None, V6),
    ],
)
def test_C07_our_audio_has_the_family_of_the_callers(here: str, said: bytes | None, host: str) -> None:
    assert host_for(said, here) == host


def test_C07_where_we_have_no_such_address_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.ua.calls.callmedia.source_towards", lambda host, port: None)
    assert host_for(offer("IP4 192.0.2.1"), V6) == V6


@pytest.mark.parametrize(
    ("here", "there", "line"),
    [(V6, "IP4 127.0.0.1", b"c=IN IP4 127.0.0.1\r\n"), (V4, "IP6 ::1", b"c=IN IP6 ::1\r\n")],
)
async def test_C07_a_caller_whose_audio_has_the_other_family_is_answered_in_it(
    here: str, there: str, line: bytes
) -> None:
    """It was 488: "the peer's audio is at 127.0.0.1, which cannot be reached from ::1"."""
    said: list[bytes] = []
    attached: list[Any] = []
    call: Any = SimpleNamespace(
        account=None,
        agent=SimpleNamespace(turn=contextlib.nullcontext),
        attach=lambda media, hooks: attached.append(media),
        reject=lambda code: pytest.fail(f"refused with {code}"),
    )
    flow = Flow(1, "udp", (here, 5060), (here, 5070))
    core: Any = SimpleNamespace(dialog=SimpleNamespace(flow=flow), offer=offer(there))
    try:
        await open_incoming(call, core, said.append, None, {})
        assert line in said[0]
    finally:
        for media in attached:
            await media.close()
