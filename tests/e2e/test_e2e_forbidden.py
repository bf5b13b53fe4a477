"""403 from a real Kamailio, after it took our answer: a barred number costs nobody his password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import account
from tests.support.cli import Cli
from tests.support.helpers import store_helper
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

BARRED = "sip:code-403@sip.test"
CALL, TEXT = ("call", BARRED, "--json", "--no-input"), ("message", BARRED, "hello", "--json", "--no-input")


def with_helper(cli: Cli, kamailio: Kamailio, secret: str = "secret123") -> Path:
    """Configured with a helper that erases what it is told is wrong."""
    helper = store_helper(cli.home, **{"sip:alice@sip.test": secret})
    provider = f'[providers.mine]\ntype = "exec"\ncommand = "{helper}"\n'
    cli.configure(account(kamailio.address(), credentials='"mine"') + provider)
    return helper


def keeps(helper: Path) -> bool:
    """Was it asked only, never told that what it gave is wrong?  It is asked what it can do when that is to be told."""
    verbs = {json.loads(line)[0] for line in helper.with_suffix(".log").read_text().splitlines()}
    return verbs == {"get"} and bool(json.loads(helper.with_suffix(".json").read_text()))


def test_A25_a_barred_number_after_registering_is_the_calls_fault(cli: Cli, kamailio: Kamailio) -> None:
    helper = with_helper(cli, kamailio)
    for _ in range(2):
        done = cli.run(*CALL)
        assert (done.code, done.result["code"], done.result["refused"]) == (3, 403, "request"), done.stderr
        assert done.result["message"].startswith("call forbidden: 403")
        assert "the secret is not to blame" in done.result["message"]
        assert keeps(helper)
    assert [line for line in kamailio.verdicts() if "INVITE" in line and line.endswith("verdict=1")]


@pytest.mark.parametrize(("words", "what"), [((*CALL, "--no-register"), "call"), (TEXT, "message")])
def test_A25_with_nothing_known_of_the_secret_both_are_named_and_nothing_is_erased(
    cli: Cli, kamailio: Kamailio, words: tuple[str, ...], what: str
) -> None:
    """Fails if ``AuthSession.refused`` looks at no method."""
    helper = with_helper(cli, kamailio)
    for _ in range(2):
        done = cli.run(*words)
        assert (done.code, done.result["code"], done.result["refused"]) == (3, 403, "either"), done.stderr
        assert done.result["message"].startswith(f"{what} refused: 403")
        assert done.result["hint"].startswith(f"either the server allows no such {what}, or the secret is wrong")
        assert keeps(helper)
    assert cli.run("register", "work", "--once", "--json", "--no-input").code == 0, "what the hint says is what helps"


def test_A25_a_wrong_secret_is_still_told_as_one(cli: Cli, kamailio: Kamailio) -> None:
    with_helper(cli, kamailio, "wrong")
    done = cli.run(*CALL, "--no-register")
    assert (done.code, done.result["code"], done.result["refused"]) == (3, 407, "credentials"), done.stderr
