"""Calls whose audio is encrypted: keys go over TLS only, the event says so, and a stranger's packets are not heard."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sipcli.config import AccountConfig
from sipcli.errors import ConfigError
from sipcli.media.tone import dominant_hz, samples_of
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.calls.callmedia import settings_for, speaks_tls
from sipcli.ua.media.media_io import MediaSession
from tests.shell.test_media_session import call
from tests.support.real import require


async def _some(session: MediaSession, count: int) -> AsyncIterator[tuple[bytes, int]]:
    async for frame in session.frames():
        yield frame, count
        count -= 1
        if not count:
            return


async def test_E02_two_sessions_hear_each_other_and_nothing_is_readable() -> None:
    require("srtp")
    a = MediaSession(audio="tone:440", codecs=("PCMU",), srtp="required")
    b = MediaSession(audio="tone:1000", codecs=("PCMU",), srtp="optional")
    async with call(a, b):
        frames = [frame async for frame, _ in _some(a, 40)]
        pcm = b"".join(frames)
        assert dominant_hz(samples_of(pcm[-8000:])) == pytest.approx(1000, abs=2)
        assert a.facts().srtp == b.facts().srtp == "AEAD_AES_128_GCM"


def test_E02_keys_are_not_sent_without_tls() -> None:
    """Fails without the check of *secure* in ``srtp_for``: the keys would be in every hop's log."""
    assert settings_for(None, {"srtp_keys": "sdes"}, secure=False)["srtp"] == "off"
    with pytest.raises(ConfigError, match="over TLS only") as caught:
        settings_for(None, {"srtp": "required"}, secure=False)
    assert caught.value.hint is not None and "tls" in caught.value.hint


def test_E02_over_tls_it_is_tried_unless_switched_off() -> None:
    require("srtp")
    assert settings_for(None, {}, secure=True)["srtp"] == "optional"
    assert settings_for(None, {"srtp": "off"}, secure=True)["srtp"] == "off"


@pytest.mark.parametrize(
    ("target", "secure"),
    [("sip:a@b", False), ("sip:a@b;transport=tcp", False), ("sip:a@b;transport=TLS", True), ("sips:a@b", True)],
)
async def test_which_way_is_secure(target: str, secure: bool) -> None:
    async with UserAgent() as agent:
        assert speaks_tls(agent, None, SipUri.parse(target)) is secure


@pytest.mark.parametrize(
    ("target", "secure"),
    [
        ("sip:bob@example.com", True),
        ("sip:bob@sbc.example.com", True),
        ("sip:bob@elsewhere.example", False),
        ("sip:bob@elsewhere.example;transport=tls", True),
        ("sip:bob@192.0.2.50;transport=udp", False),
    ],
)
async def test_T10_a_call_that_leaves_our_tls_server_aside_is_not_secure_by_it(target: str, secure: bool) -> None:
    """Fails where the account's server alone decides: its callee elsewhere got the keys by UDP."""
    server = SipUri.parse("sip:sbc.example.com;transport=tls")
    async with UserAgent() as agent:
        account = agent.add_account(AccountConfig.for_aor("sip:alice@example.com", registrar=server))
        assert speaks_tls(agent, account, SipUri.parse(target)) is secure


def test_required_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.media.srtp.missing", lambda: "the package pylibsrtp (pip install 'sipcli[srtp]')")
    monkeypatch.setattr("sipcli.media.dtls.missing", lambda: "the package pyOpenSSL (pip install 'sipcli[dtls]')")
    with pytest.raises(ConfigError, match="pip install"):
        settings_for(None, {"srtp": "required"}, secure=True)
    assert settings_for(None, {"srtp": "optional"}, secure=True)["srtp"] == "off"


def test_E03_dtls_by_name_is_to_be_had_without_tls_and_any_is_not() -> None:
    """RFC 5763 section 8: without integrity of the SDP it keeps out who only listens, so it must be asked for."""
    require("dtls")
    assert settings_for(None, {"srtp": "required", "srtp_keys": "dtls"}, secure=False)["srtp"] == "required"
    with pytest.raises(ConfigError) as caught:
        settings_for(None, {"srtp": "required", "srtp_keys": "any"}, secure=False)
    assert caught.value.hint is not None and "--srtp-keys dtls" in caught.value.hint


@pytest.mark.parametrize("policy", ["optional", "required"])
def test_dtls_by_name_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    monkeypatch.setattr("sipcli.media.dtls.missing", lambda: "the package pyOpenSSL (pip install 'sipcli[dtls]')")
    with pytest.raises(ConfigError, match=r"DTLS-SRTP needs the package pyOpenSSL \(pip install 'sipcli\[dtls\]'\)"):
        settings_for(None, {"srtp": policy, "srtp_keys": "dtls"}, secure=True)
