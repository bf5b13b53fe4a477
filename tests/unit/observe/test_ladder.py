"""The ladder, line for line, and how a call's quality is worded."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.observe.ladder import Ladder, SipSummary
from sipcli.observe.quality import quality_lines, verdict

Fields = dict[str, Any]


def trace(direction: str, sip: str) -> Fields:
    text = sip.strip().replace("\n", "\r\n") + "\r\n\r\n"
    return {
        "direction": direction,
        "transport": "tls",
        "local": "192.0.2.5:41822",
        "remote": "203.0.113.9:5061",
        "start_line": text.split("\r\n")[0],
        "size": len(text),
        "sip": text,
    }


REGISTER = "REGISTER sip:example.com SIP/2.0\nCSeq: 1 REGISTER\nExpires: 3600"
CHALLENGE = """SIP/2.0 401 Unauthorized
CSeq: 1 REGISTER
WWW-Authenticate: Digest realm="trunk", algorithm=SHA-256, qop="auth", nonce="***"
WWW-Authenticate: Digest realm="trunk", algorithm=MD5, qop="auth", nonce="***"
"""
ANSWER = """REGISTER sip:example.com SIP/2.0
CSeq: 2 REGISTER
Authorization: Digest username="alice", realm="trunk", algorithm=SHA-256, response="***"
Expires: 3600"""
OK = """SIP/2.0 200 OK
CSeq: 2 REGISTER
m: <sip:x@192.0.2.5>
 ;expires=600
Service-Route: <sip:edge1;lr>"""


def draw(*events: tuple[str, Fields, float]) -> list[str]:
    ladder = Ladder()
    return [line for name, fields, ms in events for line in ladder.feed(name, fields, ms)]


def test_the_picture_of_a_deferred_registration() -> None:
    challenged = {"chosen": "MD5", "challenge": "c1", "realm": "trunk"}
    lines = draw(
        ("trace", trace("out", REGISTER), 0.2),
        ("trace", trace("in", CHALLENGE), 31),
        ("auth.challenged", challenged, 32),
        (
            "auth.provider",
            {"challenge": "c1", "provider": "keychain", "outcome": "not_found", "took_ms": 1, "message": "no entry"},
            33,
        ),
        (
            "auth.provider",
            {
                "challenge": "c1",
                "provider": "vault",
                "outcome": "found",
                "took_ms": 118.2,
                "secret_ref": "voip/trunk#7",
            },
            151,
        ),
        ("auth.done", {"challenge": "c1", "outcome": "answered", "waited_ms": 119, "cause": "fresh"}, 151),
        ("trace", trace("out", ANSWER), 151),
        ("trace", trace("in", OK), 183),
    )
    assert lines == [
        "  sipcli 192.0.2.5:41822                    203.0.113.9:5061 (tls)",
        "   0.000 ──REGISTER 1─────────────────────────▶",
        '   0.031 ◀──────────────────── 401 Unauthorized   Digest realm="trunk" SHA-256, MD5  qop=auth',
        "   0.032     credentials? keychain: not found (no entry) → vault: 118 ms ✓ voip/trunk#7",
        "   0.151 ──REGISTER 2  SHA-256 alice ─────────▶",
        "   0.183 ◀────────────────────────────── 200 OK   expires 3600→600 (server), Service-Route: <sip:edge1;lr>",
    ]


def test_a_stale_nonce_says_that_nobody_was_asked() -> None:
    [line] = draw(
        ("auth.challenged", {"chosen": "MD5", "challenge": "c2", "realm": "r"}, 500),
        ("auth.done", {"challenge": "c2", "outcome": "answered", "waited_ms": 0, "cause": "stale"}, 500),
    )
    assert line == "   0.500     credentials? nonce was stale: same secret again"


def test_an_abandoned_challenge_says_when() -> None:
    provider = {"challenge": "c", "provider": "prompt", "outcome": "cancelled", "took_ms": 2000}
    [line] = draw(
        ("auth.challenged", {"chosen": "MD5", "challenge": "c", "realm": "r"}, 0),
        ("auth.provider", provider, 2000),
        ("auth.done", {"challenge": "c", "outcome": "abandoned", "waited_ms": 2000, "cause": "fresh"}, 2000),
    )
    assert line.endswith("prompt: cancelled 2000 ms ✗ → abandoned after 2.0 s")


def test_another_remote_gets_its_own_header() -> None:
    other = trace("out", REGISTER) | {"remote": "198.51.100.1:5060"}
    lines = draw(("trace", trace("out", REGISTER), 0), ("trace", other, 1))
    assert sum(line.startswith("  sipcli") for line in lines) == 2


def test_words_of_the_server_are_escaped() -> None:
    lines = draw(
        (
            "trace",
            trace("in", 'SIP/2.0 401 \x1b[2J\nCSeq: 1 REGISTER\nWWW-Authenticate: Digest realm="\x1b]0;x\x07"'),
            0,
        )
    )
    assert "\x1b" not in "".join(lines)
    assert "\\x1b[2J" in lines[1]


@pytest.mark.parametrize("sip", ["", "\r\n", "garbage", "SIP/2.0", "SIP/2.0 99999\r\n\r\n", "INVITE\r\n:\r\n: :\r\n"])
def test_broken_messages_still_have_a_line(sip: str) -> None:
    fields = trace("in", "x") | {"sip": sip}
    assert len(draw(("trace", fields, 0))) == 2


def test_headers_fold_and_are_found_by_their_short_names() -> None:
    summary = SipSummary.of(OK.replace("\n", "\r\n"))
    assert summary.first("contact") == "<sip:x@192.0.2.5> ;expires=600"
    assert summary.status == 200
    assert summary.label == "200 OK"


def test_audio_is_drawn_both_ways() -> None:
    [line] = draw(("media", {"state": "flowing", "codec": "PCMU", "rate": 8000}, 1234))
    assert "PCMU/8000" in line
    assert line.startswith("   1.234 ◀═")
    assert line.endswith("═▶")


class TestQuality:
    STATS: Fields = {
        "rx": {"packets": 250, "lost": 2, "lost_pct": 0.8, "jitter_ms": 1.25, "late": 1, "rms_dbfs": -18.0},
        "tx": {"packets": 251},
        "remote": {"lost_pct": 0.0, "jitter_ms": 0.5},
        "mos": 4.35,
    }  # fmt: skip

    def test_everything_measured_is_said(self) -> None:
        audio = {"rms_dbfs": -18.0, "speech_pct": 98.0, "tone_hz": 440.1, "longest_gap_ms": 20.0}
        assert quality_lines(self.STATS, audio, "PCMU") == [
            "received 250 packets, lost 2 (0.8 %), jitter 1.2 ms, late 1",
            "sent 251 packets; the far end lost 0.0 %, jitter 0.5 ms",
            "heard -18.0 dBFS, sound 98 % of the time, a tone of 440 Hz, longest gap 20 ms",
            "PCMU, MOS 4.3 (very good)",
        ]

    def test_what_was_not_measured_is_not_said(self) -> None:
        assert quality_lines({}) == []
        assert verdict({}) is None

    @pytest.mark.parametrize(("mos", "word"), [(4.2, "good"), (3.7, "some"), (3.2, "many"), (1.0, "nearly all")])
    def test_grades(self, mos: float, word: str) -> None:
        assert word in str(verdict({"mos": mos}))

    def test_silence_and_nothing_are_not_called_good(self) -> None:
        assert verdict({"rx": {"packets": 0}, "mos": 4.4}) == "nothing was received"
        assert verdict({"rx": {"packets": 9, "rms_dbfs": -90.0}, "mos": 4.4}) == "what arrived was silence"
