"""Somebody's own provider, installed beside sipcli: `auth test` and `providers test` judge it as a challenge would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Cli

CANARY = "canary-4711"

WALLET = '''
"""A third party's package: one provider, and every way to get it wrong."""
import asyncio
import sys
import time

from sipcli.credentials import Denied, PasswordCredentials, Secret, SigningCredentials, Unavailable, UserAction

CANARY = "-".join(("canary", "4711"))  # a traceback shows this line, and may


class Wallet:
    interactive = False

    def __init__(self, context):
        self.name = context.name
        self.terminal = context.terminal
        self.how = context.options["how"]
        if self.how == "broken":
            raise RuntimeError(CANARY)
        if self.how == "leaves":
            sys.exit(CANARY)

    async def later(self):
        if self.how == "async-hangs":
            await asyncio.sleep(600)
        return PasswordCredentials("alice", Secret(CANARY), ref="wallet:alice")

    def get(self, request):
        match self.how:
            case "hangs":
                time.sleep(600)
            case "raises":
                raise KeyError(CANARY)
            case "exits":
                raise SystemExit(CANARY)
            case "tells":
                try:
                    raise OSError(CANARY)
                except OSError as error:
                    raise Unavailable("the wallet is being moved") from error
            case "text":
                return CANARY
            case "empty":
                return PasswordCredentials("alice", Secret(""))
            case "over":
                return PasswordCredentials("alice", Secret(CANARY), expires_in=-1)
            case "unsigned":
                return SigningCredentials("alice")
            case "sends":
                action = UserAction(provider=self.name, url="https://login.example", user_code="AB", expires_in=600)
                self.terminal.user_action(action)
            case "wordless":
                raise Denied
        return self.later()
'''


@pytest.fixture
def wallet(tmp_path: Path) -> Cli:
    """A machine where somebody's provider is installed; its account's only provider is called `mine`."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "wallet.py").write_text(WALLET)
    (site / "wallet-1.0.dist-info").mkdir()
    (site / "wallet-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wallet\nVersion: 1.0\n")
    (site / "wallet-1.0.dist-info" / "entry_points.txt").write_text("[sipcli.providers]\nwallet = wallet:Wallet\n")
    return Cli(tmp_path / "home", env={"PYTHONPATH": str(site)})


def acts(cli: Cli, how: str) -> None:
    cli.configure(
        f'[accounts.work]\naor = "sip:alice@example.com"\ncredentials = ["mine"]\n'
        f'[providers.mine]\ntype = "wallet"\nhow = "{how}"\n'
    )


def test_an_asynchronous_one_is_asked(wallet: Cli) -> None:
    acts(wallet, "well")
    done = wallet.run("auth", "test", "work", "--json")
    assert done.code == 0, done.stderr
    [told] = done.named("auth.provider")
    assert (told["outcome"], told["secret_ref"]) == ("found", "wallet:alice")


@pytest.mark.parametrize(
    ("how", "outcome", "code", "words"),
    [
        ("raises", "unavailable", 8, "provider mine is broken: it raised KeyError (wallet)"),
        ("exits", "unavailable", 8, "provider mine is broken: it raised SystemExit (wallet)"),
        ("tells", "unavailable", 8, "the wallet is being moved"),
        ("text", "unavailable", 8, "provider mine is broken: it answered with str (wallet)"),
        ("unsigned", "unavailable", 8, "provider mine is broken: it named a key, and has no sign() (wallet)"),
        ("empty", "not_found", 4, "what it gave is empty"),
        ("over", "not_found", 4, "what it gave has expired"),
        ("wordless", "denied", 8, "it refuses, and does not say why"),
        ("broken", "unavailable", 8, '[providers.mine] type "wallet" of wallet 1.0 failed to start: RuntimeError'),
        ("leaves", "unavailable", 8, '[providers.mine] type "wallet" of wallet 1.0 failed to start: SystemExit'),
    ],
)
def test_T14_its_faults_are_told_as_a_challenge_tells_them_and_its_text_is_not(
    wallet: Cli, how: str, outcome: str, code: int, words: str
) -> None:
    """Fails without ``as_provider_error`` in ``_Question``: a KeyError's text was shown as the cause of the failure."""
    acts(wallet, how)
    done = wallet.run("auth", "test", "work", "--json", "-vv")
    [told] = done.named("auth.provider")
    assert (done.code, told["outcome"], told["message"]) == (code, outcome, words)
    assert CANARY not in done.stdout + done.stderr
    assert CANARY not in wallet.run("auth", "test", "work").stderr


def test_what_a_person_must_do_elsewhere_is_an_event_here_too(wallet: Cli) -> None:
    """And the code's life is the time for it, not a store's 30 s."""
    acts(wallet, "sends")
    done = wallet.run("auth", "test", "work", "--json")
    [action] = done.named("auth.user_action")
    said = {name: action[name] for name in ("account", "provider", "url", "user_code")}
    assert said == {"account": "work", "provider": "mine", "url": "https://login.example", "user_code": "AB"}
    assert 590 < action["expires_in_s"] <= 600
    assert done.code == 0


@pytest.mark.parametrize("how", ["hangs", "async-hangs"])
def test_one_that_hangs_is_given_up_as_in_a_challenge(wallet: Cli, how: str) -> None:
    acts(wallet, how)
    for verb in (("auth", "test", "work"), ("providers", "test", "mine", "--account", "work")):
        done = wallet.run(*verb, "--json", "--max-wait", "0.5")
        assert done.code == 8
        assert "it did not answer in time" in done.result["message"]


@pytest.mark.parametrize("how", ["broken", "leaves"])
def test_T14_one_that_cannot_be_made_is_told_without_its_text(wallet: Cli, how: str) -> None:
    """Fails without the catch-all of ``load_provider``, and where that keeps the cause."""
    acts(wallet, how)
    for verb in (("providers", "test", "mine"), ("config", "check"), ("providers", "list")):
        done = wallet.run(*verb, "-vv")
        assert "failed to start" in done.stdout + done.stderr, verb
        assert CANARY not in done.stdout + done.stderr, verb
