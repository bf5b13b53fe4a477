"""DTLS-SRTP over a path that ICE found: first the path, then the keys, then the audio (RFC 8842 section 6)."""

from __future__ import annotations

import asyncio

import pytest

from sipcli.media.candidates import PeerIce, Selected
from sipcli.ua.media.dtls_io import DtlsDriver
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.icewire import Checks
from sipcli.ua.media.media_io import MediaSession
from tests.shell.test_media_dtls_session import _hears, _session
from tests.shell.test_media_session import call, until
from tests.support.real import require


@pytest.fixture(autouse=True)
def _needs_both() -> None:
    require("dtls", "ice")


def _with_ice(tone: int) -> MediaSession:
    return _session(tone, ice=IceSettings(policy="required"))


async def test_E03_keys_are_agreed_on_where_the_checks_found_a_way() -> None:
    a, b = _with_ice(440), _with_ice(1000)
    async with call(a, b):
        await _hears(a, 1000)
        await _hears(b, 440)
        assert a.facts().ice == b.facts().ice == "host"
        assert a.facts().srtp == b.facts().srtp == "AEAD_AES_128_GCM"


async def test_E03_a_handshake_that_begins_before_we_know_the_path_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """rtpengine shakes hands as soon as it is nominated; what we threw away it said again two seconds later."""
    a, b, go_on = _with_ice(440), _with_ice(1000), asyncio.Event()
    seek = Checks.seek

    async def late(self: Checks, peer: PeerIce, *, controlling: bool) -> tuple[Selected, ...]:
        found = await seek(self, peer, controlling=controlling)
        if controlling:  # a, who offered
            await go_on.wait()
        return found

    monkeypatch.setattr(Checks, "seek", late)
    monkeypatch.setattr(DtlsDriver, "_wake", lambda driver: None)  # nothing is said twice
    async with call(a, b):
        await until(lambda: a.ice is not None and bool(a.ice.path._early))
        assert a.facts().ice == "checking"
        go_on.set()
        await _hears(a, 1000)
        await _hears(b, 440)


async def test_E03_a_restart_of_ice_keeps_the_association() -> None:
    """RFC 8842 section 3.3: another ufrag is no other association."""
    a, b = _with_ice(440), _with_ice(1000)
    async with call(a, b):
        await _hears(a, 1000)
        assert a._dtls is not None
        keys = a._dtls._handshakes.keys()
        assert a.ice is not None
        await a.ice.restart()
        a.accept_answer(b.answer(a.offer()))
        await until(lambda: a.facts().ice == b.facts().ice == "host")
        assert a._dtls._handshakes.keys() is keys
        await _hears(b, 440)
