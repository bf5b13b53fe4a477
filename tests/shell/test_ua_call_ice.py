"""Media sessions that find their path by ICE, on loopback sockets, in real time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipcli.config.iceserver import IceServer
from sipcli.errors import ConfigError, MediaFailed
from sipcli.media.candidates import LocalIce, PeerIce
from sipcli.media.rtp import RtpPacket
from sipcli.ua.calls.callmedia import settings_for
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.media_io import MediaSession
from tests.shell.test_media_session import call, until
from tests.support.clock import live_until, stepped
from tests.support.real import require
from tests.support.servers.process import free_port
from tests.support.wavs import assert_tone

TRY, MUST = IceSettings(policy="optional"), IceSettings(policy="required")


@pytest.fixture(autouse=True)
def _aioice() -> None:
    require("ice")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is given up soon, and consent within a second."""
    monkeypatch.setattr("sipcli.ua.media.icegather.STUN_WAIT", 0.2)
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)


def session(**more: Any) -> MediaSession:
    return MediaSession(**{"codecs": ("PCMU",), "ice": TRY, **more})


def _packets(one: MediaSession) -> int:
    return one.report(verdict=False).rx.packets


def _connected(*sessions: MediaSession) -> Callable[[], bool]:
    return lambda: all(one.facts().ice in ("host", "prflx", "srflx", "relay") for one in sessions)


@asynccontextmanager
async def talking(a: MediaSession, b: MediaSession) -> AsyncIterator[None]:
    async with call(a, b):
        await until(lambda: _packets(a) > 5 and _packets(b) > 5)
        yield


async def _restart(one: MediaSession) -> None:
    assert one.ice is not None
    await one.ice.restart()


@stepped
async def test_E04_both_find_each_other_and_hear_each_others_tones(tmp_path: Path) -> None:
    states: list[str] = []
    a = session(audio="tone:440", record=tmp_path / "a.wav", on_ice=states.append)
    b = session(audio="tone:1000", record=tmp_path / "b.wav", ice=MUST)
    async with call(a, b):
        await live_until(lambda: _packets(a) > 60 and _packets(b) > 60)
        assert (a.facts().ice, b.facts().ice) == ("host", "host")
        assert a.facts().remote == b.local
    assert states == ["checking", "connected"]
    assert_tone(tmp_path / "a.wav", 1000, seconds=0.8)
    assert_tone(tmp_path / "b.wav", 440, seconds=0.8)


@pytest.mark.parametrize("ice", ["both", "one"])
@stepped
async def test_E04_E03_keys_are_agreed_on_over_the_path_that_was_found(tmp_path: Path, ice: str) -> None:
    """DTLS waits for the path (RFC 8445 section 12.1), and shares its ports with STUN and SRTP (RFC 7983)."""
    require("dtls")
    keys: dict[str, Any] = {"srtp": "required", "srtp_keys": "dtls"}
    a = session(audio="tone:440", record=tmp_path / "a.wav", **keys)
    b = session(audio="tone:1000", record=tmp_path / "b.wav", **keys | ({} if ice == "both" else {"ice": None}))
    async with call(a, b):
        await live_until(lambda: _packets(a) > 60 and _packets(b) > 60)
        for one in (a, b):
            assert (one.facts().srtp_keys, one.facts().srtp_verified) == ("dtls", True)
            assert one.facts().ice == ("host" if ice == "both" else None)
    assert_tone(tmp_path / "a.wav", 1000, seconds=0.8)
    assert_tone(tmp_path / "b.wav", 440, seconds=0.8)


async def test_E04_without_rtcp_mux_rtcp_finds_its_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = session(), session()
    await a.open()
    await b.open()
    try:
        offer = a.offer().replace(b"a=rtcp-mux\r\n", b"")
        a.accept_answer(b.answer(offer))
        a.start()
        b.start()
        await until(_connected(a, b))
        assert a.ice is not None
        assert [pair.local.component for pair in a.ice.path.selected] == [1, 2]
        await until(lambda: a.report(verdict=False).rtt_ms is not None)  # an RTCP report went there and came back
    finally:
        await a.close()
        await b.close()


@pytest.mark.parametrize("asks", [True, False])
async def test_E04_with_a_peer_that_does_none_the_same_sockets_are_plain(asks: bool) -> None:
    ours, theirs = session(), session(ice=None)
    async with talking(ours, theirs) if asks else talking(theirs, ours):
        assert ours.facts().ice is None
        assert theirs.facts().remote == ours.local
        ours.offer()
        ours.withdraw_offer()
        assert ours.ice is not None and not ours.ice.path._desk.sessions  # no check is answered any more


async def test_E04_who_insists_has_no_call_with_a_peer_that_does_none() -> None:
    ours, theirs = session(ice=MUST), session(ice=None)
    try:
        await ours.open()
        await theirs.open()
        with pytest.raises(MediaFailed, match="we insist on it"):
            ours.accept_answer(theirs.answer(ours.offer()))
    finally:
        await ours.close()
        await theirs.close()


async def test_E04_a_check_that_comes_before_their_answer_is_answered() -> None:
    """RFC 8445 section 7.3: it must be, or the peer waits for a repetition of half a second."""
    from aioice import stun

    ours = session()
    await ours.open()
    try:
        lines = dict(line[2:].split(":", 1) for line in ours.offer().decode().split() if line.startswith("a=ice-"))
        check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        check.attributes["USERNAME"] = f"{lines['ice-ufrag']}:theirs"
        check.attributes["PRIORITY"] = 1
        check.add_message_integrity(lines["ice-pwd"].encode())
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.bind(("127.0.0.1", 0))
            await loop.sock_sendto(peer, bytes(check), ours.local)
            async with asyncio.timeout(30):
                answer = stun.parse_message(await loop.sock_recv(peer, 2048))
    finally:
        await ours.close()
    assert (answer.message_class, answer.transaction_id) == (stun.Class.RESPONSE, check.transaction_id)


async def test_E04_nothing_is_sent_before_a_pair_is_nominated() -> None:
    """RFC 8445 section 12.1: the default candidate is an address that a stranger's SDP names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind(("127.0.0.1", 0))
        victim.settimeout(0.3)
        port = victim.getsockname()[1]
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            f"a=rtcp-mux\r\na=ice-ufrag:evil\r\na=ice-pwd:{'x' * 22}\r\n"
            f"a=candidate:1 1 UDP 1 127.0.0.1 {port} typ host\r\n"
        )
        a = session(audio="tone")
        await a.open()
        try:
            a.answer(offer.encode())
            a.start()
            for _ in range(20):
                await a.read()
            heard = []
            while True:
                try:
                    heard.append(victim.recv(2048))
                except TimeoutError:
                    break
        finally:
            await a.close()
    assert heard and all(data[0] < 4 for data in heard)


async def test_T21_with_ice_a_stranger_is_never_heard() -> None:
    """Not even with the right SSRC, many times, and from the host of the peer: the checks prove who the peer is.

    Fails without the look at ``path`` and ``_proven`` in ``IcePath._arrived``.
    """
    a, b = session(), session(audio="tone:440")
    async with talking(a, b):
        assert a._stream is not None and a.ice is not None
        ssrc, before = a._stream.receiver.ssrc, a.ice.path.strangers
        forged = RtpPacket(payload_type=0, sequence=1, timestamp=1, ssrc=ssrc or 0, payload=bytes(160))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            for _ in range(20):
                stranger.sendto(forged.to_bytes(), a.local)
        path = a.ice.path
        await until(lambda: path.strangers == before + 20)
        assert a.facts().remote == b.local
        assert a.report(verdict=False).strangers == before + 20


async def test_E04_stun_that_makes_no_sense_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A message cut short inside an attribute; aioice unpacks it with struct and lets the error fly."""
    a, b = session(), session(audio="tone:440")
    async with talking(a, b):
        short = bytes.fromhex("00010008 2112a442") + os.urandom(12) + bytes.fromhex("00240001 00000000")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (short, short[:21], b"\0" * 20, b"\1\1\0\0" + os.urandom(40)):
                stranger.sendto(data, a.local)
        seen = _packets(a)
        await until(lambda: _packets(a) > seen + 5)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_E04_a_peer_that_checks_from_everywhere_is_believed_from_a_hundred_places() -> None:
    """Fails without the look at ``_MOST_SOURCES`` in ``Checks.check_incoming``: each is kept, and checked back."""
    from aioice import stun

    a, b = session(), session()
    async with talking(a, b):
        assert a.ice is not None and b.ice is not None
        (checks,) = a.ice.path._desk.sessions.values()
        wire = a.ice.path._main[1]
        for port in range(20000, 20300):
            request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{checks.local_username}:{checks.remote_username}"
            request.attributes["PRIORITY"] = 1
            request.attributes["ICE-CONTROLLED"] = 1
            request.add_message_integrity(checks.local_password.encode())
            wire.datagram_received(bytes(request), ("127.0.0.1", port))
        assert len(checks.proven) == 100


async def test_E04_two_that_both_control_settle_it() -> None:
    """487, and the one with the smaller number gives in (RFC 8445 section 7.3.1.1)."""
    a, b = session(), session()
    await a.open()
    await b.open()
    try:
        a.offer()
        b.offer()
        assert a.ice is not None and b.ice is not None
        sides = [one._negotiator.ice.local for one in (a, b) if one._negotiator is not None]
        paths = a.ice.path, b.ice.path
        peers = [_as_peer(local) for local in sides]
        paths[0].agree(sides[0], peers[1], controlling=True)
        paths[1].agree(sides[1], peers[0], controlling=True)
        await until(lambda: all(path.state == "connected" for path in paths))
        assert paths[0].controlling != paths[1].controlling
    finally:
        await a.close()
        await b.close()


async def test_E04_who_is_full_controls_where_the_other_is_lite() -> None:
    """RFC 8445 section 6.1.1, whoever offers; this other one is not really lite, and gives in."""
    a, b = session(), session()
    await a.open()
    await b.open()
    try:
        b.accept_answer(a.answer(b.offer().replace(b"t=0 0\r\n", b"t=0 0\r\na=ice-lite\r\n")))
        assert a.ice is not None and b.ice is not None
        assert a.ice.path.controlling
        await until(_connected(a, b))
        assert a.ice.path.controlling != b.ice.path.controlling
    finally:
        await a.close()
        await b.close()


def _as_peer(local: LocalIce | None) -> PeerIce:
    assert local is not None
    return PeerIce(local.ufrag, local.pwd, local.candidates)


@pytest.mark.usefixtures("quick")
async def test_E04_without_consent_nothing_is_sent_any_more() -> None:
    """RFC 7675 section 5.1.  Fails when ``lost`` does not stop :meth:`IcePath.send`."""
    states: list[str] = []
    a, b = session(audio="tone", on_ice=states.append), session()
    async with talking(a, b):
        assert a.ice is not None and b.ice is not None
        for wire in b.ice.path._main.values():
            wire.send = wire.transport.sendto = lambda *_: None  # type: ignore[method-assign,assignment]
        seen = _packets(b)
        await until(lambda: states[-1] == "lost")
        after = _packets(b)
        assert after > seen  # b is there, and hears; it only does not say so any more
        unsent = a.ice.path.unsent
        await until(lambda: a.ice is not None and a.ice.path.unsent > unsent + 10)
        assert _packets(b) <= after + 2
        assert a.facts().ice == "lost"


@pytest.mark.parametrize("who", ["a", "b"])
async def test_E04_a_restart_keeps_the_audio_while_it_looks(who: str) -> None:
    states: list[str] = []
    a, b = session(audio="tone:440", on_ice=states.append), session()
    async with talking(a, b):
        asks, answers = (a, b) if who == "a" else (b, a)
        await _restart(asks)
        asks.accept_answer(answers.answer(asks.offer()))
        assert a.facts().ice == "checking"
        seen = _packets(b)
        await until(lambda: states.count("connected") == 2)
        await until(lambda: _packets(b) > seen + 10)
        assert b.report(verdict=False).rx.lost == 0


async def test_E04_a_restart_that_is_refused_changes_nothing() -> None:
    a, b = session(audio="tone:440"), session()
    async with talking(a, b):
        await _restart(a)
        a.offer()
        a.withdraw_offer()
        seen = _packets(b)
        await until(lambda: _packets(b) > seen + 10)
        assert a.facts().ice == "host"
        a.accept_answer(b.answer(a.offer()))
        assert a.facts().ice == "host"


@pytest.mark.parametrize("theirs", [TRY, None])
async def test_E04_a_new_address_is_a_restart_with_other_sockets(theirs: IceSettings | None) -> None:
    """With a peer that does no ICE it is another address in the SDP, and nothing else."""
    a, b = session(audio="tone:440"), session(ice=theirs)
    async with talking(a, b):
        await a.move("127.0.0.2")
        offer = a.offer()
        assert b"c=IN IP4 127.0.0.2\r\n" in offer
        a.accept_answer(b.answer(offer))
        await until(lambda: b.facts().remote == a.local and a.local[0] == "127.0.0.2")
        seen = _packets(b)
        await until(lambda: _packets(b) > seen + 10)


async def test_E04_the_branch_that_answers_last_is_the_one() -> None:
    """A forked INVITE: a 183 of one phone, the 200 of another, and both do ICE."""
    a, early, last = session(audio="tone:440"), session(), session()
    async with talking(a, early):
        await last.open()
        try:
            assert early._negotiator is not None
            offer = a._negotiator._local.to_bytes()  # type: ignore[union-attr]
            a.accept_answer(last.answer(offer))
            last.start()
            await until(lambda: _packets(last) > 10)
            assert a.facts().remote == last.local
        finally:
            await last.close()


@pytest.mark.usefixtures("quick")
async def test_E04_servers_that_are_away_cost_a_sentence_and_no_call() -> None:
    said: list[tuple[str, str]] = []
    away = free_port()
    settings = IceSettings(
        policy="required", stun=IceServer("stun", "127.0.0.1", away), turn=IceServer("turn", "127.0.0.1", away)
    )
    a = session(ice=settings, on_warning=lambda code, sentence: said.append((code, sentence)))
    async with talking(a, session()):
        assert a.facts().ice == "host"
    assert sorted(said) == [
        ("stun-failed", f"the STUN server stun:127.0.0.1:{away} does not answer"),
        ("turn-failed", f"the TURN server turn:127.0.0.1:{away} does not answer"),
    ]


@pytest.mark.usefixtures("quick")
async def test_E04_relay_without_a_relay_is_no_call() -> None:
    settings = IceSettings(policy="relay", turn=IceServer("turn", "127.0.0.1", free_port()))
    a = session(ice=settings, on_warning=lambda *_: None)
    with pytest.raises(MediaFailed, match="no relay"):
        await a.open()


def test_E04_where_aioice_is_missing_optional_goes_on_and_required_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sipcli.ua.media.icesettings.missing", lambda: "the package aioice (pip install 'sipcli[ice]')")
    assert settings_for(None, {"ice": "optional"}, secure=False)["ice"] is None
    with pytest.raises(ConfigError, match="ICE needs the package aioice"):
        settings_for(None, {"ice": "required"}, secure=False)


def test_E04_it_is_off_unless_somebody_says_so() -> None:
    assert settings_for(None, {}, secure=False)["ice"] is None
    assert settings_for(None, {"ice": "optional"}, secure=False)["ice"] == TRY
    with pytest.raises(ConfigError, match="needs a TURN server"):
        settings_for(None, {"ice": "relay"}, secure=False)
