"""Session descriptions that are no good, come late, come early or change: SIPp at the other end, either way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running
from tests.support.real import require
from tests.support.servers import sipp

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("offers")]

HEAD = "v=0\no=x 1 {version} IN IP4 127.0.0.1\ns=-\nc=IN IP4 {address}\nt=0 0\n"
PCMU = "m=audio 40000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"


def sdp(media: str, *, address: str = "127.0.0.1", version: int = 1) -> str:
    return HEAD.format(version=version, address=address) + media


BAD = {
    "no common codec": (sdp("m=audio 40000 RTP/AVP 18\na=rtpmap:18 G729/8000\n"), "no codec in common"),
    "port 0 only": (sdp("m=audio 0 RTP/AVP 0\n"), ""),
    "unknown transport": (sdp("m=audio 40000 DCCP/RTP/AVP 0\n"), ""),
    "no audio": (sdp("m=video 40000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n"), ""),
    "a key of a wrong length": (
        sdp("m=audio 40000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=\n"),
        "signalling that others can read",
    ),
    "another address family": (sdp(PCMU).replace("c=IN IP4 127.0.0.1", "c=IN IP6 fe80::1"), ""),
    "no description": ("nothing\n", ""),
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    require("sipp")
    return Cli(tmp_path / "home")


@pytest.fixture
def phone(cli: Cli) -> Iterator[Callable[..., tuple[Running, str]]]:
    """`sipcli listen` for anybody, and where it is."""
    started: list[Running] = []

    def start(*arguments: str) -> tuple[Running, str]:
        fixed = ("--json", "--no-register", "--port", "0", "--answer", "auto", "--audio", "tone:880")
        running = cli.start("listen", *fixed, *arguments)
        started.append(running)
        [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
        return running, f"127.0.0.1:{at['port']}"

    yield start
    for running in started:
        running.leave()


def succeeds(tmp_path: Path, scenario: str, at: str, **keys: str) -> None:
    done = sipp.call(tmp_path / scenario, scenario, at, "alice", keys=keys)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


class TestTheyCall:
    @pytest.mark.parametrize("what", BAD)
    def test_D01_an_offer_that_is_no_good_is_488_and_the_next_caller_is_served(
        self, tmp_path: Path, phone: Callable[..., tuple[Running, str]], what: str
    ) -> None:
        running, at = phone("--max-calls", "2")
        succeeds(tmp_path, "uac_sdp", at, body=BAD[what][0], status="488")
        succeeds(tmp_path, "uac_direct", at)
        done = running.finish()
        assert done.code == 0, done.stderr
        assert (done.result["calls"], done.result["answered"]) == (2, 1)
        [said] = [told["message"] for told in done.named("warning") if told["code"] == "call_failed"]
        assert said.startswith("call from sip:alice@sip.test: ") and BAD[what][1] in said
        assert "Traceback" not in done.stderr

    def test_where_nobody_had_media_in_common_the_status_is_twelve(
        self, tmp_path: Path, phone: Callable[..., tuple[Running, str]]
    ) -> None:
        running, at = phone("--max-calls", "1")
        succeeds(tmp_path, "uac_sdp", at, body=BAD["no common codec"][0], status="488")
        done = running.finish()
        assert (done.code, done.result["message"]) == (12, "no codec in common"), done.stderr

    @pytest.mark.parametrize(
        "body",
        [
            sdp(PCMU + PCMU.replace("40000", "40010")),
            sdp("m=video 40020 RTP/AVP 96\na=rtpmap:96 VP8/90000\n" + PCMU),
            sdp("m=audio 40000 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=\n"),
            sdp(PCMU, address="0.0.0.0"),
        ],
        ids=["two audio lines", "video too", "a bad key that is optional", "held from the first"],
    )
    def test_D01_what_can_be_taken_is_taken(
        self, tmp_path: Path, phone: Callable[..., tuple[Running, str]], body: str
    ) -> None:
        running, at = phone()
        succeeds(tmp_path, "uac_sdp", at, body=body, status="200")
        assert running.wait_for("call", state="answered")["code"] == 200

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (sdp("m=audio 40000 RTP/AVP 8\na=rtpmap:8 PCMA/8000\n", version=2), "200"),
            (sdp(PCMU.replace("40000", "40044"), version=2), "200"),
            (sdp(PCMU, address="127.0.0.2", version=2), "200"),
            (sdp(PCMU, address="0.0.0.0", version=2), "200"),
            (sdp(PCMU + "a=sendonly\n", version=2), "200"),
            (sdp(PCMU + "m=video 40020 RTP/AVP 96\na=rtpmap:96 VP8/90000\n", version=2), "200"),
            (sdp("m=audio 0 RTP/AVP 0\n", version=2), "200"),
            (sdp("m=audio 40000 RTP/AVP 18\n", version=2), "488"),
            ("nothing\n", "488"),
        ],
        ids=[
            "codec",
            "port",
            "address",
            "c=0.0.0.0",
            "sendonly",
            "video added",
            "port 0",
            "no common codec",
            "nonsense",
        ],
    )
    def test_D01_a_reinvite_changes_what_it_can_and_never_costs_the_call(
        self, tmp_path: Path, phone: Callable[..., tuple[Running, str]], body: str, status: str
    ) -> None:
        """SIPp goes on talking after it, and hangs up itself."""
        running, at = phone("--max-calls", "1")
        succeeds(tmp_path, "uac_reinvite", at, body=body, status=status)
        done = running.finish()
        assert done.code == 0, done.stderr
        assert done.named("call")[-1]["by"] == "remote"
        held = [told["state"] for told in done.named("call")][1:-1]
        assert held[-1] == ("held" if any(w in body for w in ("0.0.0.0", "sendonly", "audio 0 ")) else "answered")

    def test_D01_a_late_offer_is_answered_in_the_ack(
        self, tmp_path: Path, phone: Callable[..., tuple[Running, str]]
    ) -> None:
        running, at = phone("--max-calls", "1")
        succeeds(tmp_path, "uac_late", at)
        done = running.finish()
        assert (done.code, done.result["answered"]) == (0, 1), done.stderr
        assert "PCMU" in {told["codec"] for told in done.named("media")}

    def test_D02_a_caller_who_insists_on_prack_is_served(self, tmp_path: Path, cli: Cli) -> None:
        cli.env["XDG_RUNTIME_DIR"] = str(tmp_path)
        listening = cli.start("listen", "--json", "--no-register", "--port", "0", "--early-media", "--max-calls", "1")
        try:
            [at] = [at for at in listening.wait_for("ready")["listen"] if at["transport"] == "udp"]
            calling = sipp.start(tmp_path / "c", "uac_100rel", f"127.0.0.1:{at['port']}", "alice", {"status": "183"})
            try:
                listening.wait_for("call", state="early")
                assert cli.run("ctl", "answer").code == 0
                assert calling.wait(20) == 0
            finally:
                if calling.poll() is None:
                    calling.kill()
            assert listening.finish().code == 0
        finally:
            listening.leave()


class TestWeCall:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (BAD["no common codec"][0], "no codec in common"),
            (BAD["port 0 only"][0], "the peer refused our audio"),
            (BAD["unknown transport"][0], "the answer speaks DCCP/RTP/AVP"),
            (BAD["no audio"][0], "the peer refused our audio"),
            (BAD["another address family"][0], "cannot be reached"),
            (BAD["no description"][0], "cannot be read"),
            (sdp(PCMU + PCMU), "2 media lines"),
            (BAD["a key of a wrong length"][0], "the answer speaks RTP/SAVP"),
        ],
    )
    def test_D01_an_answer_that_is_no_good_ends_the_call_with_a_sentence_and_twelve(
        self, tmp_path: Path, cli: Cli, body: str, said: str
    ) -> None:
        callee = sipp.SippCallee(tmp_path / "callee", "uas_sdp", keys={"body": body})
        try:
            done = cli.run("call", *to(callee), "--json")
            assert (done.code, said in done.result["message"]) == (12, True), done.result
            assert callee.result() == 0, callee.why()
        finally:
            callee.stop()

    def test_D01_a_late_offer_of_ours_is_answered_in_the_ack(self, tmp_path: Path, cli: Cli) -> None:
        callee = sipp.SippCallee(tmp_path / "callee", "uas_answer")
        try:
            done = cli.run("call", *to(callee), "--json", "--late-offer", "--audio", "tone:440", "--duration", "1")
            assert done.code == 0, done.stderr
            assert done.result["call"]["codec"] == "PCMU"
            assert done.result["call"]["stats"]["rx"]["packets"] > 10, "SIPp echoes what we send"
            assert callee.result() == 0, callee.why()
        finally:
            callee.stop()

    def test_D02_early_media_that_wants_a_prack_is_heard_and_is_the_answer(self, tmp_path: Path, cli: Cli) -> None:
        callee = sipp.SippCallee(tmp_path / "callee", "uas_100rel")
        try:
            done = cli.run("call", *to(callee), "--json", "--audio", "tone:440", "--duration", "1")
            assert done.code == 0, done.stderr
            assert "early" in [told["state"] for told in done.named("call")]
            assert done.result["call"]["codec"] == "PCMU"
            assert callee.result() == 0, callee.why()
        finally:
            callee.stop()


def to(callee: sipp.SippCallee) -> tuple[str, ...]:
    return f"sip:callee@127.0.0.1:{callee.port}", "--from", "sip:alice@sip.test", "--no-register"
