"""The small rooms of the command line: exit statuses, who is meant, words, tallies, trace files, answer plans."""

from __future__ import annotations

import errno
import inspect
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sipcli import credentials, errors
from sipcli.cli.config_cmd import write_new
from sipcli.cli.console import Console
from sipcli.cli.environment import Environment
from sipcli.cli.exits import ExitStatus, outcome_of, status_of
from sipcli.cli.failure import report_failure
from sipcli.cli.listen import AnswerPlan
from sipcli.cli.parameters import GlobalOptions
from sipcli.cli.silent import SilentTerminal, action_words
from sipcli.cli.tally import Tally
from sipcli.cli.tracefile import TraceFile
from sipcli.cli.who import PASSWORD_FILE, choose_account, customise, server_only, target_uri
from sipcli.cli.words import Talker
from sipcli.config import AccountConfig, Config, parse_config
from sipcli.credentials import CancelSignal, UserAction
from sipcli.errors import ConfigError
from sipcli.sip.syntax.uri import SipUri, parse_uri
from tests.support.strangeplaces import strange_place

CONFIG = parse_config(
    """
    [accounts.work]
    aor = "sip:alice@example.com"
    [accounts.home]
    aor = "sip:al@home.example"
    """
)


class TestExits:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (errors.ConfigError("x"), 2),
            (errors.ParseError("x"), 2),
            (errors.AuthRefused("x"), 3),
            (errors.NoCredentials("x"), 4),
            (errors.AuthAbandoned("x"), 4),
            (errors.AuthExpired("x"), 8),
            (errors.ProviderFailed("x"), 8),
            (errors.NoAnswer("x", code=480), 5),
            (errors.Busy("x", code=486), 6),
            (errors.Declined("x", code=603), 6),
            (errors.NetworkError("x"), 7),
            (errors.ResolveError("x"), 7),
            (errors.TlsError("x"), 7),
            (errors.ServerFailed("x", code=503), 7),
            (errors.RemoteProtocolError("x"), 9),
            (errors.NotReachable("x", code=404), 11),
            (errors.MediaFailed("x", code=488), 12),
            (errors.AgentClosed("x"), 1),
            (errors.Refused("x", code=420), 1),
            (errors.Refused("x", code=403), 3),
            (errors.Refused("x", code=408), 5),
            (errors.Refused("x", code=600), 6),
            (errors.Refused("x", code=604), 11),
            (errors.Refused("x", code=606), 12),
            (errors.Refused("x", code=599), 7),
            (credentials.NotFound("x"), 4),
            (credentials.Denied("x"), 8),
            (credentials.Unavailable("x"), 8),
            (credentials.Cancelled("x"), 4),
            (OSError("x"), 1),
            (ValueError("x"), 1),
        ],
        ids=lambda value: repr(value),
    )
    def test_the_table(self, error: Exception, status: int) -> None:
        assert status_of(error) == status
        assert outcome_of(error)

    def test_a_person_who_took_too_long_is_four(self) -> None:
        error = errors.AuthExpired("x")
        error.awaited_person = True
        assert status_of(error) == ExitStatus.NO_CREDENTIALS

    def test_every_error_of_ours_has_a_status_and_none_is_success(self) -> None:
        kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
        assert len(kinds) > 20
        for kind in kinds:
            error = kind.__new__(kind)
            error.code = None
            assert status_of(error) != ExitStatus.OK

    def test_statuses_are_the_contracts(self) -> None:
        assert {status.name: int(status) for status in ExitStatus} == {
            "OK": 0, "OTHER": 1, "USAGE": 2, "REFUSED": 3, "NO_CREDENTIALS": 4, "TIMEOUT": 5, "BUSY": 6, "NETWORK": 7,
            "PROVIDER": 8, "PROTOCOL": 9, "EXPECTATION": 10, "UNREACHABLE": 11, "MEDIA": 12,
            "HANGUP": 129, "INTERRUPTED": 130, "TERMINATED": 143,
        }  # fmt: skip


class TestFailures:
    def report(self, error: Exception, **settings: Any) -> tuple[int, str]:
        err = io.StringIO()
        console = Console(environment=Environment(io.StringIO(), err, {}))
        return report_failure(console, "call", error, **settings), err.getvalue()

    def test_a_sentence_the_next_step_and_the_raw_cause(self) -> None:
        error = errors.TlsError("the certificate of sbc.example is expired", hint="ask its owner")
        error.__cause__ = OSError("certificate has expired (_ssl.c:1006)")
        status, said = self.report(error)
        assert status == 7
        assert said.splitlines() == [
            "sipcli: the certificate of sbc.example is expired",
            "  ask its owner",
            "  (OSError: certificate has expired (_ssl.c:1006))",
        ]

    @pytest.mark.parametrize(
        "number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.ENOTDIR], ids=errno.errorcode.get
    )
    def test_a_file_that_cannot_be_written(self, number: int) -> None:
        status, said = self.report(OSError(number, os.strerror(number), "/x/rec.wav"))
        assert status == 1
        assert f"/x/rec.wav: {os.strerror(number)}" in said
        assert "another" in said.splitlines()[1]

    def test_json_says_code_realm_and_provider(self) -> None:
        out = io.StringIO()
        console = Console(json=True, environment=Environment(out, io.StringIO(), {}))
        error = errors.AuthRefused("no", code=403, reason="Forbidden", realm="r", provider="vault")
        report_failure(console, "register", error)
        result = json.loads(out.getvalue())
        assert {
            "code": 403,
            "reason": "Forbidden",
            "realm": "r",
            "provider": "vault",
            "exit": 3,
        }.items() <= result.items()

    @pytest.mark.parametrize(
        ("what", "step"),
        [
            ("the other side does no ICE, and we insist on it", "--ice optional"),
            ("call: ICE found no path for the audio", "--ice off"),
            ("the peer does not encrypt the audio, and we insist on it", "--srtp optional"),
            ("none of the peer's SRTP keys can be used (length, suite or tag)", "--srtp optional"),
            ("call: the answer has no SDP", "--ladder"),
            ("call failed: 488, server says “NO SERVICE”", "--codec"),
            ("call failed: 488 Not Acceptable Here", "--codec"),
        ],
    )
    def test_what_stands_in_the_way_of_audio_has_its_own_next_step(self, what: str, step: str) -> None:
        status, said = self.report(errors.MediaFailed(what, code=488))
        assert (status, step in said.splitlines()[1]) == (12, True), said


class TestWho:
    @pytest.mark.parametrize(
        ("name", "text", "wanted"),
        [
            ("work", None, "work"),
            (None, "work", "work"),
            (None, "sip:alice@example.com", "work"),
            (None, "alice@EXAMPLE.com", "work"),
            (None, "carol@example.com", "carol@example.com"),
        ],
    )
    def test_is_meant(self, name: str | None, text: str | None, wanted: str) -> None:
        assert choose_account(CONFIG, name, text).name == wanted

    def test_another_address_for_an_account(self) -> None:
        account = choose_account(CONFIG, "work", "sip:support@example.com")
        assert (account.name, str(account.aor)) == ("work", "sip:support@example.com")

    def test_several_and_none_named(self) -> None:
        with pytest.raises(ConfigError, match="which account") as caught:
            choose_account(CONFIG, None)
        assert "--account" in str(caught.value.hint)

    def test_a_name_that_is_none_has_a_near_one(self) -> None:
        with pytest.raises(ConfigError) as caught:
            choose_account(CONFIG, "wrok")
        assert caught.value.hint == "did you mean “work”?"

    def test_the_only_one_is_meant(self) -> None:
        only = Config().with_account(AccountConfig.for_aor("a@b.example"))
        assert choose_account(only, None).name == "a@b.example"

    def test_options_change_an_account_for_this_run(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("x")
        authorities = tmp_path / "ca.pem"
        authorities.touch()
        said = {
            "transport": "tcp", "registrar": "sbc.example:5080", "proxy": None, "username": "al", "expires": 60,
            "password_file": str(secret),
        }  # fmt: skip
        config, account = customise(CONFIG, CONFIG.accounts["work"], GlobalOptions(ca=authorities), said)
        assert (account.transport, str(account.registrar), account.username) == ("tcp", "sip:sbc.example:5080", "al")
        assert account.expires == 60
        assert account.proxy is None
        assert account.ca_file == authorities
        assert account.credentials == (PASSWORD_FILE,)
        assert config.providers[PASSWORD_FILE].options == {"path": str(secret)}
        assert config.accounts["work"] is account
        with pytest.raises(ConfigError, match=r"nowhere\.pem cannot be read"):
            customise(CONFIG, CONFIG.accounts["work"], GlobalOptions(ca=Path("nowhere.pem")), {})

    @pytest.mark.parametrize(
        ("text", "uri"),
        [
            ("sip:bob@b.example;transport=tcp", "sip:bob@b.example;transport=tcp"),
            ("bob@b.example", "sip:bob@b.example"),
            ("bob", "sip:bob@example.com"),
            ("+49 (30) 12-34", "sip:+49301234@example.com"),
            ("tel:+49-30-1234", "sip:+49301234@example.com"),
            ("*61#", "sip:*61%23@example.com"),
        ],
    )
    def test_is_dialled(self, text: str, uri: str) -> None:
        assert str(target_uri(text, CONFIG.accounts["work"])) == uri

    @pytest.mark.parametrize(
        "text", ["alice@example.com", "sip:alice@192.0.2.7:5080", "sip:al%20ice@[2001:db8::1]:5070;transport=tcp"]
    )
    def test_the_name_that_a_hint_gives_to_somebody_without_a_configuration_means_him(self, text: str) -> None:
        """`sipcli auth save NAME` kept the password of another port, where nobody looked for it."""
        meant = choose_account(Config(), None, text)
        again = choose_account(Config(), None, meant.name)
        assert (again.aor, again.name) == (meant.aor, meant.name)

    @pytest.mark.parametrize("text", ["sip:bob:never-seen@b.example", "bob:never-seen@b.example"])
    def test_T14_an_address_with_a_password_is_refused_and_not_repeated(self, text: str) -> None:
        """Fails without the look at the password in ``SipUri.written``: the last line of a call would show it."""
        with pytest.raises(ConfigError, match=r"not even in sip:bob@b\.example") as caught:
            target_uri(text, CONFIG.accounts["work"])
        assert "never-seen" not in f"{caught.value} {caught.value.hint}"

    def test_without_an_account_a_word_is_a_host(self) -> None:
        target = target_uri("sbc.example.com", None)
        assert str(target) == "sip:sbc.example.com"
        assert server_only(target).credentials == ()

    @pytest.mark.parametrize("text", ["", "sip:", "sip:a b@c", "bob@", "mailto:x@y z"])
    def test_nonsense_is_not_dialled(self, text: str) -> None:
        with pytest.raises(ConfigError):
            target_uri(text, CONFIG.accounts["work"])


class TestTalker:
    def say(self, event: str, **fields: Any) -> str:
        sentence = Talker({"work": "sip:alice@example.com"}).sentence(event, fields)
        return "" if sentence is None else sentence.text

    def test_the_kind_of_a_reason_is_for_programs(self) -> None:
        why = "connect: nobody at 192.0.2.1 port 5060: connection refused"
        said = self.say("registration", account="work", state="retrying", reason=why, retry_in_s=40)
        assert "is not registered: nobody at 192.0.2.1 port 5060: connection refused; trying again in 40 s" in said
        odd = self.say("registration", account="work", state="retrying", reason="odd: it is theirs", retry_in_s=40)
        assert "odd: it is theirs" in odd

    def test_registered(self) -> None:
        said = self.say(
            "registration", account="work", state="registered", code=200, expires_s=600,
            via={"transport": "tls", "remote": "192.0.2.1:5061"},
        )  # fmt: skip
        assert said == "registered sip:alice@example.com at 192.0.2.1:5061 (tls) for 600 s"

    def test_a_refresh_that_changes_nothing_is_not_told_and_a_change_is(self) -> None:
        talker = Talker()
        fields = {"account": "a", "state": "registered", "code": 200, "contact": "sip:x", "expires_s": 60}
        assert talker.sentence("registration", fields) is not None
        assert talker.sentence("registration", fields) is None
        assert talker.sentence("registration", {"account": "a", "state": "trying"}) is not None
        assert talker.sentence("registration", fields) is None
        assert talker.sentence("registration", fields | {"contact": "sip:y"}) is not None

    def test_retrying_says_why_and_when(self) -> None:
        said = self.say(
            "registration", account="work", state="retrying", code=503, reason="Busy\x1b[2J", retry_in_s=30.0
        )
        assert said == "sip:alice@example.com is not registered: 503, server says “Busy\\x1b[2J”; trying again in 30 s"

    def test_a_challenge_names_what_was_skipped(self) -> None:
        said = self.say(
            "auth.challenged", method="REGISTER", code=401, realm="r\n", attempt=2, chosen="SHA-256",
            skipped=[{"scheme": "Digest", "algorithm": "SHA-512-256", "why": "not supported"}],
        )  # fmt: skip
        assert "attempt 2" in said
        assert "realm “r\\x0a”" in said
        assert said.endswith("answering with SHA-256; skipped: SHA-512-256 (not supported)")

    @pytest.mark.parametrize(("outcome", "level"), [("found", 1), ("not_found", 1), ("denied", 0), ("unavailable", 0)])
    def test_troubled_providers_are_always_told(self, outcome: str, level: int) -> None:
        sentence = Talker().sentence("auth.provider", {"provider": "vault", "outcome": outcome, "took_ms": 1.0})
        assert sentence is not None
        assert sentence.level == level

    def test_T26_a_needed_person_is_told_only_where_none_can_be_asked(self) -> None:
        fields = {"challenge": "c", "provider": "prompt", "expires_in_s": 120.0, "at_terminal": True}
        assert Talker(can_ask=lambda: True).sentence("auth.needed", fields) is None
        sentence = Talker(can_ask=lambda: False).sentence("auth.needed", fields)
        assert sentence is not None
        assert sentence.text == "prompt needs a person, and nobody can be asked here"

    @pytest.mark.parametrize(("control", "more"), [(None, ""), ("/run/sip cli/ops", " --control '/run/sip cli/ops'")])
    def test_who_waits_elsewhere_is_told_with_the_socket_that_has_to_be_named(
        self, control: str | None, more: str
    ) -> None:
        talker = Talker()
        talker.control = None if control is None else Path(control)
        needed = {"account": "ops", "provider": "prompt", "expires_in_s": None, "realm": "r"}
        sentence = talker.sentence("auth.needed", needed)
        assert sentence is not None
        assert sentence.text.endswith(f"give it with: sipcli auth answer ops{more}")

    def test_a_person_who_is_asked_in_a_window_is_not_called_absent(self) -> None:
        fields = {"challenge": "c", "provider": "window", "expires_in_s": 120.0, "at_terminal": False}
        assert Talker(can_ask=lambda: False).sentence("auth.needed", fields) is None

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"state": "ringing", "direction": "in", "remote_name": "Bob"}, "⟶ call from “Bob” <sip:bob@b.example>"),
            (
                {"state": "ringing", "direction": "in", "transport": "tls", "asserted": "absent"},
                "⟶ call from sip:bob@b.example (TLS, P-Asserted-Identity absent)",
            ),
            (
                {"state": "ringing", "direction": "in", "transport": "udp", "asserted": "untrusted"},
                "⟶ call from sip:bob@b.example (UDP, P-Asserted-Identity not trusted)",
            ),
            ({"state": "ringing", "direction": "out"}, "sip:bob@b.example is ringing"),
            (
                {"state": "ended", "direction": "out", "code": 486, "reason": "Busy"},
                "call with sip:bob@b.example ended, 486, server says “Busy”",
            ),
            (
                {"state": "ended", "direction": "out", "code": 486, "reason": "Busy Here"},
                "call with sip:bob@b.example ended, 486 Busy Here",
            ),
            (
                {"state": "ended", "direction": "in", "by": "local", "code": 486, "reason": "Busy Here"},
                "call with sip:bob@b.example ended, we answered 486",
            ),
            (
                {"state": "ended", "direction": "out", "by": "local", "code": 487, "reason": "Request Terminated"},
                "call with sip:bob@b.example ended, we gave up",
            ),
            (
                {"state": "ended", "direction": "in", "by": "remote", "code": 487, "reason": "Request Terminated"},
                "call with sip:bob@b.example ended, they gave up",
            ),
            ({"state": "ended", "direction": "in", "by": "remote"}, "call with sip:bob@b.example ended, they hung up"),
            ({"state": "held", "direction": "out", "by": "local"}, "the call with sip:bob@b.example is on hold"),
            ({"state": "held", "direction": "out", "by": "remote"}, "sip:bob@b.example put the call on hold"),
            ({"state": "trying", "direction": "out"}, ""),
        ],
        ids=lambda value: "",
    )
    def test_calls(self, fields: dict[str, Any], said: str) -> None:
        assert self.say("call", remote="sip:bob@b.example", **fields) == said

    def test_an_event_of_a_later_version_is_nothing_to_stumble_over(self) -> None:
        assert self.say("weather", temperature=21) == ""


class TestTally:
    def test_what_authentication_cost(self) -> None:
        tally = Tally()
        tally.count("auth.challenged", {"chosen": "MD5", "challenge": "c1", "realm": "r"})
        assert tally.pending == {"c1"}
        tally.count("auth.provider", {"challenge": "c1", "provider": "keychain", "outcome": "not_found"})
        tally.count("auth.provider", {"challenge": "c1", "provider": "vault", "outcome": "found"})
        tally.count("auth.done", {"challenge": "c1", "outcome": "answered", "waited_ms": 118.26})
        tally.count("auth.challenged", {"chosen": "MD5", "challenge": "c2", "realm": "r"})
        tally.count("auth.done", {"challenge": "c2", "outcome": "abandoned", "waited_ms": 1.0})
        assert not tally.pending
        assert tally.totals() == {"waited_ms": 119.3, "attempts": 1, "provider": "vault"}

    def test_each_account_has_its_own_provider_and_time(self) -> None:
        tally = Tally()
        for number, (account, provider) in enumerate([("work", "vault"), ("home", "file")]):
            challenge = f"c{number}"
            tally.count("auth.challenged", {"account": account, "chosen": "MD5", "challenge": challenge, "realm": "r"})
            tally.count("auth.provider", {"challenge": challenge, "provider": provider, "outcome": "found"})
            tally.count("auth.done", {"challenge": challenge, "outcome": "answered", "waited_ms": 10.0 + number})
        assert (tally.times("work"), tally.times("home")) == (" (vault: 10 ms)", " (file: 11 ms)")
        assert tally.times("stranger") == ""


class TestTraceFile:
    def write(self, path: Path) -> None:
        trace = TraceFile(path, Environment(io.StringIO(), io.StringIO(), {}))
        trace.write("trace", {"sip": "x"})
        trace.close()
        trace.write("trace", {"sip": "after the end"})

    def test_T32_is_ours_alone_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            self.write(tmp_path / "t.jsonl")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "t.jsonl").stat().st_mode) == 0o600
        [line] = (tmp_path / "t.jsonl").read_text().splitlines()
        assert json.loads(line)["sip"] == "x"

    def test_T32_an_old_file_loses_its_readers_before_it_gets_our_first_octet(self, tmp_path: Path) -> None:
        path = tmp_path / "t.jsonl"
        path.write_text("old")
        path.chmod(0o666)
        self.write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "old" not in path.read_text()

    @pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "folder"])
    def test_T32_never_through_a_link_nor_into_anything_strange(self, tmp_path: Path, kind: str) -> None:
        path, other = strange_place(tmp_path, "t.jsonl", kind)
        with pytest.raises(ConfigError):
            self.write(path)
        assert other.read_text() == "keep me"
        assert not (tmp_path / "nowhere").exists()

    def test_a_full_disk_ends_it_and_is_told_once(self, tmp_path: Path) -> None:
        trace = TraceFile(tmp_path / "t.jsonl", Environment(io.StringIO(), io.StringIO(), {}))
        assert trace.write("trace", {"sip": "x"}) is None
        trace.close()
        trace._stream = open("/dev/full", "wb")  # noqa: SIM115  # it closes it
        assert trace.write("trace", {"sip": "x"}) == "No space left on device"
        assert trace.write("trace", {"sip": "x"}) is None


def test_half_an_example_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, *_: object, **__: object) -> io.TextIOWrapper:
        os.close(descriptor)
        return open("/dev/full", "w", encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_new(tmp_path / "config.toml", "x" * 100_000)
    assert caught.value.filename == str(tmp_path / "config.toml")
    write_new(tmp_path / "config.toml", "x")
    assert (tmp_path / "config.toml").read_text() == "x"


class TestAnswerPlan:
    def test_a_list_serves_one_call_each_and_its_last_the_rest(self) -> None:
        plan = AnswerPlan("auto,503, busy ,decline")
        assert [plan.next_for(SipUri.parse("sip:x@y")) for _ in range(5)] == ["auto", 503, 486, 603, 603]

    @pytest.mark.parametrize("text", ["", "maybe", "200", "99", "700", "auto,", "4O4"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(ConfigError):
            AnswerPlan(text)

    @pytest.mark.parametrize(
        ("allow", "uri", "step"),
        [
            (("*@example.com",), "sip:bob@example.com", "auto"),
            (("sip:bob@*",), "sip:bob@example.com", "auto"),
            (("*@example.com",), "sip:bob@example.net", 403),
            (("*@example.com",), "sip:bob@example.com.evil.example", 403),
            (("*@example.com",), "sip:bob@EXAMPLE.com;user=phone", "auto"),
            (("+4930*",), "tel:+493012345;ext=7", "auto"),
            ((), "sip:anybody@anywhere", "auto"),
        ],
    )
    def test_allow_keeps_auto_for_some(self, allow: tuple[str, ...], uri: str, step: str | int) -> None:
        assert AnswerPlan("auto", allow).next_for(parse_uri(uri)) == step

    @pytest.mark.parametrize(
        "uri",
        [
            "sip:mallory@evil.example;x=.example.com",
            "sip:mallory@evil.example?x=.example.com",
            "sips:mallory@evil.example;maddr=www.example.com",
            "tel:+1900;phone-context=www.example.com",
        ],
    )
    def test_T22_what_hangs_on_an_address_lets_nobody_in(self, uri: str) -> None:
        """The caller's server vouches for user and host alone.  Fails without ``caller.aor`` in ``_matches``."""
        assert AnswerPlan("auto", ("*@*.example.com", "*.example.com")).next_for(parse_uri(uri)) == 403


class TestSilentTerminal:
    def test_shows_but_never_asks(self) -> None:
        said: list[str] = []
        terminal = SilentTerminal(say=said.append, why="--no-input forbids asking")
        with pytest.raises(credentials.NotFound, match="--no-input"):
            terminal.ask("Password: ", cancel=CancelSignal())
        terminal.show("a\x1b[2Jb")
        terminal.user_action(UserAction(provider="sso", url="https://login.example/device", user_code="ABCD"))
        assert said == [
            "a\\x1b[2Jb",
            "to let sso in, open login.example: https://login.example/device and enter ABCD",
        ]
        assert not terminal.interrupt()

    def test_T30_the_host_comes_first(self) -> None:
        assert "open evil.example:" in action_words(UserAction(provider="p", url="https://evil.example/login.example"))
