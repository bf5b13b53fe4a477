"""Bad input: one sentence with the next step, the right exit status, no traceback - and with -vv a traceback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support import plugin
from tests.support.cli import Cli, Result
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.process import free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("bad_input")]

REGISTER = ("register", "--once")


@dataclass(frozen=True)
class Bad:
    """One mistake: *spoil* a machine that works, run *verb*; the sentence holds every one of *says*."""

    spoil: Callable[[Cli], object]
    status: int
    says: tuple[str, ...]
    verb: tuple[str, ...] = REGISTER


def edit(old: str, new: str) -> Callable[[Cli], object]:
    def spoil(cli: Cli) -> None:
        path = cli.home / ".config" / "sipcli" / "config.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def nothing(cli: Cli) -> None:
    """The mistake is on the command line."""


def chmod(mode: int) -> Callable[[Cli], object]:
    return lambda cli: (cli.home / ".config" / "sipcli" / "config.toml").chmod(mode)


MISTAKES = {
    "wrong key": Bad(edit("transport =", "transprot ="), 2, ("config.toml", "accounts.work", "transprot", "transport")),
    "wrong table": Bad(edit("[providers.secret]", "[provider.secret]"), 2, ("config.toml", "provider", "providers")),
    # A third party's package may be missing today: the rest of the chain is asked all the same.
    "wrong type of provider": Bad(edit('type = "file"', 'type = "flie"'), 8, ("flie", "file")),
    "wrong provider": Bad(edit('["secret"]', '["sceret"]'), 2, ("sceret", "secret")),
    "wrong value": Bad(edit('transport = "udp"', 'transport = "upd"'), 2, ("accounts.work", "transport", "tcp")),
    "no TOML": Bad(edit("[accounts.work]", "[accounts.work"), 2, ("config.toml", "line")),
    "secret in it": Bad(
        edit("transport =", 'password = "hunter2-canary"\ntransport ='), 2, ("password", "sipcli auth save")
    ),
    "writable by others": Bad(chmod(0o666), 2, ("config.toml", "chmod")),
    "no such file": Bad(nothing, 2, ("nowhere.toml",), (*REGISTER, "--config", "nowhere.toml")),
    "a directory": Bad(nothing, 2, ("directory",), (*REGISTER, "--config", "/etc")),
    "no such ca": Bad(nothing, 2, ("nowhere.pem",), (*REGISTER, "--ca", "nowhere.pem")),
    "no such password file": Bad(nothing, 2, ("nowhere",), (*REGISTER, "--password-file", "nowhere")),
    "secret file readable by all": Bad(lambda cli: (cli.home / "secret").chmod(0o644), 8, ("secret", "chmod")),
    "secret file gone": Bad(lambda cli: (cli.home / "secret").unlink(), 4, ("secret",)),
    "no such wav": Bad(nothing, 2, ("nowhere.wav",), ("call", "bob", "--audio", "nowhere.wav")),
    "no audio at all": Bad(nothing, 2, ("trombone",), ("call", "bob", "--audio", "trombone")),
    "no digits": Bad(nothing, 2, ("12x",), ("call", "bob", "--dtmf", "12x")),
    "recording nowhere": Bad(nothing, 2, ("nowhere",), ("call", "bob", "--record", "nowhere/rx.wav")),
    "no address": Bad(nothing, 2, ("sip:",), ("call", "sip:")),
    "wrong account": Bad(nothing, 2, ("wrok", "work"), (*REGISTER, "--account", "wrok")),
    "json and stdio": Bad(nothing, 2, ("--audio stdio",), ("call", "bob", "--json", "--audio", "stdio")),
    "unknown host": Bad(
        edit('registrar = "sip:sip.test"\nproxy', 'registrar = "sip:nowhere.invalid"\n# '), 7, ("nowhere.invalid",)
    ),
}


@pytest.fixture
def good(cli: Cli, kamailio: Kamailio) -> Cli:
    path = cli.secret("secret", "secret123")
    cli.configure(account(kamailio.address()) + FILE_PROVIDER.format(path=path))
    return cli


def judge(done: Result, status: int, says: tuple[str, ...], *, hint: bool = True) -> None:
    assert done.code == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    at = max(n for n, line in enumerate(lines) if line.startswith("sipcli: "))
    assert len(lines) - at <= 3, done.stderr
    for words in says:
        assert words in done.stderr, done.stderr
    if hint:
        assert lines[at + 1].startswith("  "), f"no next step: {done.stderr}"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_sentence(good: Cli, name: str) -> None:
    bad = MISTAKES[name]
    bad.spoil(good)
    done = good.run(*[word for word in bad.verb if word != "--json"] if name != "json and stdio" else bad.verb)
    if name == "json and stdio":
        assert done.code == bad.status
        assert "--audio stdio" in done.result["message"]
        assert done.result["hint"]
        return
    judge(done, bad.status, bad.says)
    assert "hunter2" not in done.stderr
    said = good.run(*bad.verb, "--json")
    assert said.result["exit"] == said.code == bad.status
    assert said.result["message"]
    assert said.result["hint"], said.result
    assert "hunter2" not in said.stdout + said.stderr
    loud = good.run(*bad.verb, "-vv")
    # What click refuses never came as far as a verb.
    assert "Traceback" in loud.stderr or "--help" in loud.stderr, loud.stderr
    assert "hunter2" not in loud.stderr


def test_a_configuration_that_may_not_be_read(good: Cli) -> None:
    """Root may read all, so root without that privilege runs it."""
    require("root")
    (good.home / ".config" / "sipcli" / "config.toml").chmod(0)
    less = "-dac_override,-dac_read_search"
    argv = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}", *good.argv(*REGISTER)]
    done = subprocess.run(
        argv, env=good.env, cwd=good.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40,
        check=False,
    )  # fmt: skip
    judge(Result(done.returncode, done.stdout, done.stderr), 2, ("config.toml", "ermission"))


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_server_that_is_not_there(good: Cli, transport: str) -> None:
    good.configure(
        account(f"127.0.0.1:{free_port()}", transport=transport) + FILE_PROVIDER.format(path=good.home / "secret")
    )
    judge(good.run(*REGISTER, "--timeout", "10"), 7, ("127.0.0.1",))


@pytest.mark.parametrize("certificate", ["wrong", "expired", "foreign"])
def test_a_certificate_that_does_not_match(
    good: Cli, start_kamailio: StartKamailio, certs: Path, certificate: str
) -> None:
    require("root")
    server = start_kamailio(tls=True)
    good.configure(
        account(f"sip.test:{server.tls_port(certificate)}", transport="tls")
        + FILE_PROVIDER.format(path=good.home / "secret")
    )
    good.hosts = {"sip.test": "127.0.0.1"}
    words = {"wrong": "sip.test", "expired": "expired", "foreign": "--ca"}[certificate]
    judge(good.run(*REGISTER, "--ca", str(certs / "ca.pem")), 7, (words,))


def test_a_provider_that_raises(good: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    """It is named with its module; what it raised is shown with -vv only, for nobody knows what is in it."""
    good.env["PYTHONPATH"] = plugin.install(tmp_path / "site")
    good.configure(account(kamailio.address()) + '[providers.secret]\ntype = "raising"\n')
    done = good.run(*REGISTER)
    judge(done, 8, ("secret", "elsewhere_slow"))
    assert "hunter2" not in done.stderr
    assert "Traceback" in good.run(*REGISTER, "-vv").stderr
    listed = good.run("providers", "list", "--json").result
    assert {entry["type"]: entry for entry in listed["types"]}["raising"]["from"] == "elsewhere 1.0"
