"""Media sessions that agree on keys by DTLS, over loopback: heard, kept over holding, shut to a man in the middle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sipcli.errors import MediaFailed
from sipcli.media.demux import kind_of
from sipcli.media.dtls import DtlsIdentity
from sipcli.media.stream import Datagram
from sipcli.media.tone import dominant_hz, samples_of
from sipcli.ua.media.media_io import MediaSession
from tests.shell.test_media_session import call, until
from tests.support.real import require


@pytest.fixture(autouse=True)
def _needs_dtls() -> None:
    require("dtls")


def _session(tone: int, **more: Any) -> MediaSession:
    settings: dict[str, Any] = {"codecs": ("PCMU",), "srtp": "required", "srtp_keys": "dtls", **more}
    return MediaSession(audio=f"tone:{tone}", **settings)


async def _hears(session: MediaSession, hz: int) -> None:
    """A quarter of a second of *hz*, within ten."""
    pcm = b""
    async with asyncio.timeout(30):
        async for frame in session.frames():
            pcm = (pcm + frame)[-4000:]
            if len(pcm) == 4000 and dominant_hz(samples_of(pcm)) == pytest.approx(hz, abs=5):
                return


async def test_E03_two_sessions_hear_each_other_and_say_by_what() -> None:
    states: list[str] = []
    a, b = _session(440, on_state=states.append), _session(1000, srtp="optional", srtp_keys="any")
    async with call(a, b):
        assert a.facts().srtp is None and a.facts().srtp_keys == "dtls"
        assert not states, "it is not negotiated before there are keys"
        await _hears(a, 1000)
        await _hears(b, 440)
        assert states[0] == "negotiated"
        for facts in (a.facts(), b.facts()):
            assert (facts.srtp, facts.srtp_keys, facts.srtp_verified) == ("AEAD_AES_128_GCM", "dtls", True)


async def test_E03_a_peer_without_rtcp_mux_has_a_handshake_for_each_port() -> None:
    a, b = _session(440), _session(1000)
    try:
        await a.open()
        await b.open()
        a.accept_answer(b.answer(a.offer().replace(b"a=rtcp-mux\r\n", b"")))
        assert b.agreement is not None and not b.agreement.rtcp_mux
        a.start()
        b.start()
        await _hears(a, 1000)
        await until(lambda: a.report(verdict=False).rtt_ms is not None and b.report(verdict=False).rtt_ms is not None)
    finally:
        await a.close()
        await b.close()


async def test_E03_hold_and_resume_shake_no_hands_again() -> None:
    a, b = _session(440), _session(1000)
    async with call(a, b):
        await _hears(a, 1000)
        assert a._dtls is not None
        before = a._dtls._handshakes.keys()
        for held in (True, False):
            a.accept_answer(b.answer(a.offer(hold=held)))
            assert a.facts().srtp is not None, "the keys hold without a break"
        assert a._dtls._handshakes.keys() is before
        await _hears(b, 440)


async def test_E03_another_id_and_certificate_in_mid_call_shake_hands_again_and_the_audio_goes_on() -> None:
    """RFC 8842 section 5.5: a peer that wants a new association offers another ``a=tls-id``."""
    a, b = _session(440), _session(1000)
    async with call(a, b):
        await _hears(a, 1000)
        assert a._dtls is not None and b._negotiator is not None
        before = a._dtls._handshakes.keys()
        b._negotiator.keying._identity, b._negotiator.keying._tls_id = None, ""
        b.accept_answer(a.answer(b.offer()))
        assert a.facts().srtp is None, "nothing goes out under the old keys, or under none"
        await until(lambda: a.facts().srtp and b.facts().srtp)
        assert a._dtls._handshakes.keys() not in (None, before)
        await _hears(a, 1000)
        await _hears(b, 440)


async def test_E03_without_tls_it_is_said_that_nobody_vouches_for_the_other_side() -> None:
    said: list[tuple[str, str]] = []
    a = _session(440, secure=False, on_warning=lambda code, text: said.append((code, text)))
    b = _session(1000)
    async with call(a, b):
        await _hears(a, 1000)
        assert [code for code, _ in said] == ["srtp-unverified"]
        assert a.facts().srtp_verified is False


@pytest.mark.parametrize("lost", range(4))
async def test_E03_a_lost_flight_is_sent_again(lost: int) -> None:
    """By OpenSSL's own timer, which knows no clock but the real one: a second passes."""
    a, b = _session(440), _session(1000)
    said: list[bytes] = []

    def losing(session: MediaSession) -> None:
        assert session._sockets is not None
        send = session._sockets.send

        def pass_on(datagrams: Iterable[Datagram]) -> None:
            for datagram in datagrams:
                said.append(datagram.data)
                if len(said) - 1 != lost:
                    send([datagram])

        session._sockets.send = pass_on  # type: ignore[method-assign]

    try:
        await a.open()
        await b.open()
        losing(a)
        losing(b)
        a.accept_answer(b.answer(a.offer()))
        a.start()
        b.start()
        await until(lambda: a.facts().srtp and b.facts().srtp)
        assert {kind_of(data) for data in said[:4]} == {"dtls"}
    finally:
        await a.close()
        await b.close()


class Middle:
    """Somebody at the port that the answer names, who only looks at what comes."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.seen: list[bytes] = []
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._hear)

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def _hear(self) -> None:
        self.seen.append(self.socket.recv(4096))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket.fileno())
        self.socket.close()


@asynccontextmanager
async def _deceived(victim: MediaSession, mallory: MediaSession) -> AsyncIterator[None]:
    """*victim* called somebody whose SDP got through, but whose port is *mallory*'s."""
    bob = _session(1000)
    try:
        for session in (victim, mallory, bob):
            await session.open()
        offer = victim.offer()
        answer = bob.answer(offer)
        mallory.answer(offer)
        victim.accept_answer(answer.replace(str(bob.local[1]).encode(), str(mallory.local[1]).encode()))
        victim.start()
        mallory.start()
        yield
    finally:
        for session in (victim, mallory, bob):
            await session.close()


async def test_E03_another_certificate_than_the_answer_said_is_no_media_and_one_failure() -> None:
    """Fails without ``_judge`` in ``DtlsAssociation``: Mallory would hear every word."""
    failed: list[MediaFailed] = []
    victim, mallory = _session(440, on_failed=failed.append), _session(666)
    async with _deceived(victim, mallory):
        await until(lambda: failed)
        assert "fingerprint" in str(failed[0]) and failed[0].code == 488
        await asyncio.wait_for(victim.read(), 30)
        assert victim.report(verdict=False).tx.packets == 0
        assert victim.facts().srtp is None
        assert mallory.report(verdict=False).rx.packets == 0
    assert len(failed) == 1


async def test_E03_until_there_are_keys_nothing_is_sent_in_clear() -> None:
    """Fails when ``Protection.protect`` lets a packet through for want of keys: the first words are for everybody."""
    victim, bob, middle = _session(440), _session(1000), Middle()
    try:
        await victim.open()
        await bob.open()
        answer = bob.answer(victim.offer()).replace(str(bob.local[1]).encode(), str(middle.port).encode())
        victim.accept_answer(answer.replace(b"setup:active", b"setup:passive"))
        victim.start()
        for _ in range(10):
            await asyncio.wait_for(victim.read(), 30)
        await until(lambda: middle.seen)
        assert {kind_of(data) for data in middle.seen} == {"dtls"}
    finally:
        await victim.close()
        await bob.close()
        middle.close()


def test_E03_a_certificate_names_nobody() -> None:
    """RFC 5763 section 6.1: two calls cannot be told to be one person's."""
    certificate = DtlsIdentity.generate().certificate
    assert certificate.subject.rfc4514_string() == "CN=sip"
    assert not list(certificate.extensions)
