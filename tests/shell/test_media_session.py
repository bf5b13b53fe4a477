"""Media sessions on loopback sockets; their parts are tested on a stepped clock in tests/flows.

In real time, but for those that judge what is heard or lost: a busy machine tears a tone, and may.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sipcli.errors import ConfigError, LocalProtocolError, MediaFailed, NetworkError
from sipcli.media.rtp import RtpPacket, is_rtcp, parse_rtp
from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from sipcli.media.wav import wav_header
from sipcli.ua.media.audiospec import Melody, Tone
from sipcli.ua.media.media_io import MediaSession
from tests.support.clock import SteppedLoop, live, live_until, stepped
from tests.support.wavs import assert_tone, read_wav

G711 = ("PCMU", "PCMA")


@asynccontextmanager
async def call(a: MediaSession, b: MediaSession) -> AsyncIterator[None]:
    """Both open, agreed and running."""
    try:
        await a.open()
        await b.open()
        a.accept_answer(b.answer(a.offer()))
        a.start()
        b.start()
        yield
    finally:
        await a.close()
        await b.close()


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Real time, but no longer than needed."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def _has_sent(session: MediaSession, packets: int) -> bool:
    return session.report(verdict=False).tx.packets >= packets


def _played(session: MediaSession) -> int:
    return session.report(verdict=False).rx.packets


@stepped
async def test_two_sessions_hear_each_others_tones(tmp_path: Path) -> None:
    states: list[str] = []
    a = MediaSession(codecs=G711, audio="tone:440", record=tmp_path / "a.wav", on_state=states.append)
    b = MediaSession(codecs=G711, audio=Tone(1000), record=str(tmp_path / "b.wav"), host="127.0.0.1")
    async with call(a, b):
        await live_until(lambda: _played(a) > 60 and _played(b) > 60)
        facts = a.facts()
    assert states == ["negotiated", "flowing", "stopped"]
    assert (facts.codec, facts.rate, facts.ptime_ms, facts.remote) == ("PCMU", 8000, 20, b.local)
    assert a.report().audio.tone_hz == pytest.approx(1000, abs=5)
    assert b.report().audio.tone_hz == pytest.approx(440, abs=5)
    assert_tone(tmp_path / "a.wav", 1000, seconds=0.8)
    assert_tone(tmp_path / "b.wav", 440, seconds=0.8)


@stepped
async def test_an_echo_comes_back(tmp_path: Path) -> None:
    a = MediaSession(codecs=G711, audio="tone:700", record=tmp_path / "a.wav")
    async with call(a, MediaSession(codecs=G711, audio="echo")):
        await live_until(lambda: _played(a) > 60)
    assert_tone(tmp_path / "a.wav", 700, seconds=0.8)


async def test_digits_arrive_and_the_caller_waits_for_them() -> None:
    heard: list[tuple[str, int]] = []
    a, b = MediaSession(codecs=G711), MediaSession(codecs=G711, on_dtmf=lambda digit, ms: heard.append((digit, ms)))
    async with call(a, b):
        assert await a.dtmf("1#") == "rfc4733"
        await until(lambda: len(heard) == 2)
        with pytest.raises(LocalProtocolError):
            await a.dtmf("1x")
    assert heard == [("1", 100), ("#", 100)]


@stepped
async def test_programs_read_and_write_pcm() -> None:
    a, b = MediaSession(codecs=G711, audio="null"), MediaSession(codecs=G711, audio="null")
    oscillator = Oscillator(1500)
    frames: list[bytes] = []
    async with call(a, b):

        async def speak() -> None:
            while True:
                await a.write(oscillator.read(1000))

        async def listen() -> None:
            async for frame in b.frames():
                frames.append(frame)
                if len(frames) == 60:
                    break

        speaking = asyncio.create_task(speak())
        await live(listen())
        speaking.cancel()
    assert {len(frame) for frame in frames} == {320}
    assert dominant_hz(samples_of(b"".join(frames[-40:]))) == pytest.approx(1500, abs=2)


async def test_writing_faster_than_real_time_waits() -> None:
    a, b = MediaSession(codecs=G711), MediaSession(codecs=G711)
    async with call(a, b):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await a.write(bytes(320 * 25))
        assert loop.time() - begun > 0.2
    with pytest.raises(LocalProtocolError):
        await a.write(b"")


async def test_readers_end_with_the_session() -> None:
    a, b = MediaSession(codecs=G711), MediaSession(codecs=G711)
    async with call(a, b):
        reading = asyncio.create_task(_count(a))
        await until(lambda: _played(a) > 5)
    assert await reading > 0
    assert await a.read() is None


async def _count(session: MediaSession) -> int:
    return len([frame async for frame in session.frames()])


async def test_pacing_keeps_the_grid() -> None:
    """Seen from outside: timestamps and arrivals agree, whatever the machine does meanwhile."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        session = MediaSession(codecs=G711, audio="tone")
        await session.open()
        session.answer(_offer(peer.getsockname()[1]))
        session.start()
        arrivals: list[tuple[float, RtpPacket]] = []
        try:
            async with asyncio.timeout(30):
                while len(arrivals) < 60:
                    data = await loop.sock_recv(peer, 2048)
                    if not is_rtcp(data):
                        arrivals.append((loop.time(), parse_rtp(data)))
        finally:
            await session.close()
    first_at, first = arrivals[0]
    for before, after in itertools.pairwise(packet for _, packet in arrivals):
        assert after.sequence - before.sequence & 0xFFFF == 1
        assert (after.timestamp - before.timestamp & 0xFFFFFFFF) % 160 == 0
    for at, packet in arrivals:
        elapsed = (packet.timestamp - first.timestamp & 0xFFFFFFFF) / 8000
        assert -0.025 < at - first_at - elapsed < 0.5


@stepped
async def test_a_held_up_loop_skips_and_does_not_burst() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppedLoop)
    a, b = MediaSession(codecs=G711, audio="tone"), MediaSession(codecs=G711)
    async with call(a, b):
        await live_until(lambda: _played(b) > 10)
        before = a.report(verdict=False).tx
        loop.now += 0.3
        await live_until(lambda: a.report(verdict=False).tx.skipped > before.skipped)
        after = a.report(verdict=False).tx
        assert after.skipped - before.skipped >= 12
        assert after.packets - before.packets <= 4
        await live_until(lambda: _played(b) > 30)
        assert b.report(verdict=False).rx.lost == 0


def _offer(port: int, *lines: str, host: str = "127.0.0.1") -> bytes:
    head = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 0 101"]
    return "\r\n".join([*head, "a=rtpmap:101 telephone-event/8000", *lines, ""]).encode()


@stepped
async def test_a_stranger_is_not_heard() -> None:
    a, b = MediaSession(codecs=G711, audio="tone:440"), MediaSession(codecs=G711, audio="tone:1000")
    oscillator = Oscillator(2222)
    async with call(a, b):
        await live_until(lambda: _played(a) > 10)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            for n in range(200):
                packet = RtpPacket(
                    payload_type=0, sequence=n, timestamp=160 * n, ssrc=9, payload=oscillator.read()[:160]
                )
                stranger.sendto(packet.to_bytes(), a.local)
            await live_until(lambda: _played(a) > 60)
    report = a.report()
    assert report.strangers == 200
    assert report.rx.lost == 0
    assert report.audio.tone_hz == pytest.approx(1000, abs=1)


async def test_a_peer_elsewhere_is_learnt() -> None:
    session = MediaSession(codecs=G711, audio="tone")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        await session.open()
        try:
            session.answer(_offer(9, host="192.0.2.1"))
            session.start()
            for n in range(4):
                packet = RtpPacket(payload_type=0, sequence=n, timestamp=160 * n, ssrc=9, payload=bytes(160))
                await loop.sock_sendto(peer, packet.to_bytes(), session.local)
            async with asyncio.timeout(30):
                data = await loop.sock_recv(peer, 2048)
            assert parse_rtp(data).payload_type == 0
            assert session.facts().latched
            assert session.facts().remote == peer.getsockname()
        finally:
            await session.close()


async def test_silence_is_told_and_hold_is_not_silence() -> None:
    states: list[str] = []
    now = 0.0
    session = MediaSession(codecs=G711, on_state=states.append, clock=lambda: now)
    await session.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        try:
            session.answer(_offer(peer.getsockname()[1]))
            session.start()
            now = 1.0
            await asyncio.sleep(0)
            packet = RtpPacket(payload_type=0, sequence=1, timestamp=1, ssrc=9, payload=bytes(160))
            peer.sendto(packet.to_bytes(), session.local)
            await until(lambda: session.state == "flowing")
            now = 3.5
            await until(lambda: session.state == "silent")
            session.answer(_offer(peer.getsockname()[1], "a=inactive"))
            now = 10.0
            await asyncio.sleep(0.05)
            assert session.state == "negotiated"
        finally:
            await session.close()
    assert states == ["negotiated", "flowing", "silent", "negotiated", "stopped"]


async def test_T23_who_says_good_bye_again_and_again_fills_no_log() -> None:
    """Fails without the least silence in ``_tell``: fifty changes a second, for as long as somebody likes."""
    states: list[str] = []
    now = 0.0
    session = MediaSession(codecs=G711, on_state=states.append, clock=lambda: now)
    await session.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        host, port = session.local
        good_bye = struct.pack("!BBHL", 0x80, 201, 1, 9) + struct.pack("!BBHL", 0x81, 203, 1, 9)
        try:
            session.answer(_offer(peer.getsockname()[1]))
            session.start()
            for n in range(25):
                packet = RtpPacket(payload_type=0, sequence=n, timestamp=160 * n, ssrc=9, payload=bytes(160))
                for data, to in ((packet.to_bytes(), port), (good_bye, port + 1)):
                    peer.sendto(data, (host, to))
                    sent = session.report(verdict=False).tx.packets
                    now += 0.02
                    await until(partial(_has_sent, session, sent + 1))
        finally:
            await session.close()
    assert states.count("flowing") <= 2


async def test_nothing_ever_came_is_silence_too() -> None:
    states: list[str] = []
    now = 0.0
    session = MediaSession(codecs=G711, on_state=states.append, clock=lambda: now)
    await session.open()
    try:
        session.answer(_offer(9))
        session.start()
        now = 2.5
        await until(lambda: session.state == "silent")
    finally:
        await session.close()


async def test_hold_sends_silence_and_muting_too() -> None:
    a, b = MediaSession(codecs=G711, audio="tone"), MediaSession(codecs=G711, audio="tone")
    async with call(a, b):
        await until(lambda: _played(a) > 10)
        b.answer(offer := a.offer(hold=True))
        assert b"a=sendonly" in offer
        a.accept_answer(b.answer(offer))
        assert a.held
        await until(lambda: b.report().audio.speech_pct != 100.0)
        a.accept_answer(b.answer(a.offer(hold=False)))
        assert not a.held
        a.muted = True
        quiet = b.report(verdict=False).rx
        await until(lambda: _played(b) > quiet.packets + 20)


async def test_a_refused_hold_leaves_the_call_as_it_was() -> None:
    a, b = MediaSession(codecs=G711), MediaSession(codecs=G711)
    async with call(a, b):
        a.offer(hold=True)
        assert a.held
        a.withdraw_offer()
        assert not a.held


async def test_no_codec_in_common() -> None:
    session = MediaSession(codecs=("PCMA",))
    await session.open()
    try:
        with pytest.raises(MediaFailed):
            session.answer(_offer(9))
        with pytest.raises(LocalProtocolError):
            session.start()
    finally:
        await session.close()


async def test_order_matters() -> None:
    session = MediaSession(codecs=G711)
    for act in (session.offer, session.facts, lambda: session.answer(b""), lambda: session.local):
        with pytest.raises(LocalProtocolError):
            act()
    assert session.report().codec is None
    await session.open()
    with pytest.raises(LocalProtocolError):
        await session.open()
    with pytest.raises(LocalProtocolError):
        await session.dtmf("1")
    await session.close()
    await session.close()
    with pytest.raises(LocalProtocolError):
        await session.open()


async def test_closing_during_digits_and_writes_lets_everybody_go() -> None:
    a, b = MediaSession(codecs=G711), MediaSession(codecs=G711)
    async with call(a, b):
        waiting = [asyncio.create_task(a.dtmf("1234567890")), asyncio.create_task(a.write(bytes(320 * 500)))]
        await until(lambda: _played(b) > 5)
        await a.close()
        async with asyncio.timeout(30):
            await asyncio.gather(*waiting)


@pytest.mark.parametrize("host", ["192.0.2.77", "not an address"])
async def test_an_address_that_is_not_ours(host: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError):
        await MediaSession(codecs=G711, host=host, record=tmp_path / "x.wav").open()


async def test_ports_within_a_range() -> None:
    sessions = [MediaSession(codecs=G711, ports=range(23450, 23458)) for _ in range(4)]
    try:
        for session in sessions:
            await session.open()
        assert [session.local[1] for session in sessions] == [23450, 23452, 23454, 23456]
        with pytest.raises(NetworkError):
            await MediaSession(codecs=G711, ports=range(23450, 23458)).open()
    finally:
        for session in sessions:
            await session.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_ipv6() -> None:
    a, b = MediaSession(codecs=G711, audio="tone", host="::1"), MediaSession(codecs=G711, host="::1")
    try:
        await a.open()
    except NetworkError:
        pytest.skip("no IPv6 loopback here")
    await b.open()
    try:
        b.accept_answer(a.answer(b.offer()))
        a.start()
        b.start()
        await until(lambda: _played(b) > 10)
    finally:
        await a.close()
        await b.close()


# -- files ------------------------------------------------------------------------


@stepped
async def test_a_wav_file_is_sent_and_then_silence(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    pcm = Oscillator(600).read(8000)
    source.write_bytes(wav_header(len(pcm)) + pcm)
    a, b = MediaSession(codecs=G711, audio=str(source)), MediaSession(codecs=G711, record=tmp_path / "out.wav")
    async with call(a, b):
        await live_until(lambda: _played(b) > 75)
    assert_tone(tmp_path / "out.wav", 600, seconds=0.9)
    samples, _ = read_wav(tmp_path / "out.wav")
    assert max(samples[-800:]) == 0


@stepped
async def test_both_sides_are_recorded_when_asked(tmp_path: Path) -> None:
    a = MediaSession(codecs=G711, audio="tone:440", record=tmp_path / "a.wav", record_mode="both")
    async with call(a, MediaSession(codecs=G711, audio="tone:1000")):
        await live_until(lambda: _played(a) > 50)
    data = (tmp_path / "a.wav").read_bytes()
    samples = samples_of(data[44:])
    assert data[22] == 2
    assert dominant_hz(samples[0::2][-4000:]) == pytest.approx(440, abs=1)
    assert dominant_hz(samples[1::2][-4000:]) == pytest.approx(1000, abs=1)


async def test_a_full_disk_does_not_end_the_call(tmp_path: Path) -> None:
    warnings: list[str] = []
    a = MediaSession(codecs=G711, record=tmp_path / "a.wav", on_warning=lambda code, message: warnings.append(code))
    async with call(a, MediaSession(codecs=G711, audio="tone")):
        assert a.end.recorder is not None
        a.end.recorder.failure = "No space left on device"
        before = _played(a)
        await until(lambda: _played(a) > before + 10)
    assert warnings == ["recording-failed"]


async def test_a_failing_source_becomes_silence() -> None:
    warnings: list[str] = []
    a = MediaSession(
        codecs=G711, audio=Melody(notes=((99999, 20),)), on_warning=lambda code, message: warnings.append(code)
    )
    b = MediaSession(codecs=G711)
    async with call(a, b):
        await until(lambda: _played(b) > 5)
    assert warnings == ["audio-failed"]


@pytest.mark.parametrize("audio", ["missing.wav", "no.wav", "fifo.wav"])
async def test_what_cannot_be_played_is_said_before_the_call(audio: str, tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_bytes(b"this is not a WAV file")
    os.mkfifo(tmp_path / "fifo.wav")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(ConfigError, match=audio):
        await MediaSession(codecs=G711, audio=str(tmp_path / audio)).open()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


async def test_what_is_closed_does_not_move() -> None:
    """Fails without the look at ``_closed`` in ``move``: a call that ended meanwhile would open two sockets."""
    session = MediaSession()
    await session.open()
    await session.close()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LocalProtocolError):
        await session.move("127.0.0.2")
    assert len(os.listdir("/proc/self/fd")) == before
