"""The state file: bounded, private, shared by processes, and never believed when it is damaged or foreign."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sipcli.config import AccountConfig
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.restraint import Restraint
from sipcli.ua.statebook import StateBook, default_state_path
from tests.support.authkit import HOME_TLS

ALICE = AccountConfig.for_aor("sip:alice@example.com")


def seen(realm: str, algorithm: str = "SHA-256") -> Pins:
    pins = Pins()
    pins.learn([Challenge("digest", realm, "n", algorithm=algorithm, qop=("auth",))], HOME_TLS, "REGISTER")
    return pins


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sipcli" / "state.json"


class Heard:
    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, words: str) -> None:
        self.words.append(words)


def test_what_was_kept_is_there_for_the_next(path: Path) -> None:
    StateBook(path).keep_pins(ALICE, seen("r"))
    assert StateBook(path).pins(ALICE).snapshot() == seen("r").snapshot()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {entry.name for entry in path.parent.iterdir()} == {"state.json", "state.lock"}


def test_realms_that_take_turns_are_no_news(path: Path) -> None:
    """A registrar and a proxy with a realm each: the file is not written at every request."""
    book, pins = StateBook(path), seen("registrar")
    for realm in ("proxy", "registrar", "proxy"):
        pins.learn([Challenge("digest", realm, "n", algorithm="SHA-256", qop=("auth",))], HOME_TLS, "REGISTER")
        book.keep_pins(ALICE, pins)
        if realm == "registrar":
            assert not path.exists()
        path.unlink(missing_ok=True)
    assert not path.exists()


def test_another_server_is_another_account(path: Path) -> None:
    StateBook(path).keep_pins(ALICE, seen("r"))
    elsewhere = AccountConfig.for_aor("sip:alice@example.com", proxy=AccountConfig.for_aor("sip:x@edge.example").aor)
    assert StateBook(path).pins(elsewhere) == Pins()


class TestWhicheverServer:
    """``auth forget`` and ``auth save`` know the account, and not with which ``--proxy`` it was used."""

    ELSEWHERE = AccountConfig.for_aor("sip:alice@example.com", proxy=AccountConfig.for_aor("sip:x@edge.example").aor)
    OTHER = AccountConfig.for_aor("sip:alice@example.com.au")

    def test_forgotten(self, path: Path) -> None:
        book = StateBook(path)
        for account in (ALICE, self.ELSEWHERE, self.OTHER):
            book.keep_pins(account, seen("r"))
        assert book.forget(ALICE)
        assert [book.pins(account) == Pins() for account in (ALICE, self.ELSEWHERE, self.OTHER)] == [True, True, False]
        assert not book.forget(ALICE)

    def test_pardoned(self, path: Path) -> None:
        book = StateBook(path)
        for account in (self.ELSEWHERE, self.OTHER):
            book.keep_pins(account, seen("r"))
            book.keep_restraint(account, lambda before: before.refused(1000.0, lambda low, _: low))
        book.pardon(ALICE)
        assert [book.restraint(account).refusals for account in (self.ELSEWHERE, self.OTHER)] == [0, 1]
        assert book.pins(self.ELSEWHERE) != Pins()


def test_two_books_lose_nothing_to_each_other(path: Path) -> None:
    first, second = StateBook(path), StateBook(path)
    first.pins(ALICE), second.pins(ALICE)
    first.keep_pins(ALICE, seen("a"))
    second.keep_pins(ALICE, seen("b", "MD5"))
    first.keep_restraint(ALICE, lambda before: before.refused(1000.0, max))
    second.keep_restraint(ALICE, lambda before: before.refused(1000.0, max))
    third = StateBook(path)
    assert third.pins(ALICE).snapshot()["algorithms"] == {"a": "SHA-256", "b": "MD5"}
    assert third.restraint(ALICE).refusals == 2


def test_processes_at_once_do_not_corrupt_it(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from sipcli.ua.statebook import StateBook\n"
        "done = 0\n"  # who finds the lock taken for too long goes without, and says so
        "while done < 25: done += StateBook(Path(sys.argv[1]))._change('k', lambda e: e.update(n=e.get('n', 0) + 1))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert json.loads(path.read_text())["accounts"]["k"] == {"n": 75}


def test_nothing_is_written_that_is_known(path: Path) -> None:
    book = StateBook(path)
    book.keep_pins(ALICE, seen("r"))
    before = path.stat().st_ino
    book.keep_pins(ALICE, seen("r"))
    again = StateBook(path)
    again.keep_pins(ALICE, again.pins(ALICE))
    assert path.stat().st_ino == before


def test_forgetting(path: Path) -> None:
    book = StateBook(path)
    assert not book.forget(ALICE)
    book.keep_pins(ALICE, seen("r"))
    assert book.forget(ALICE)
    assert StateBook(path).pins(ALICE) == Pins()


def test_it_is_bounded(path: Path) -> None:
    book = StateBook(path)
    for number in range(80):
        book.keep_pins(AccountConfig.for_aor(f"sip:u{number}@example.com"), seen("r"))
    accounts = json.loads(path.read_text())["accounts"]
    assert len(accounts) == 64
    assert not any(key.startswith("u0@") for key in accounts)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", '{"v": 9, "accounts": {}}', '{"v": 1}', '{"v": 1, "accounts": []}', "\ud800", "[" * 100_000],
    ids=["cut", "list", "number", "later version", "no accounts", "wrong accounts", "no UTF-8", "deep"],
)
def test_a_damaged_file_is_begun_anew_with_a_warning(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    heard = Heard()
    book = StateBook(path, warn=heard)
    assert book.pins(ALICE) == Pins()
    assert book.restraint(ALICE) == Restraint()
    book.keep_pins(ALICE, seen("r"))
    assert len(heard.words) == 1
    assert str(path) in heard.words[0]
    assert StateBook(path).pins(ALICE) != Pins()


def test_T15_a_link_a_foreign_or_an_open_file_is_not_believed(path: Path, tmp_path: Path) -> None:
    StateBook(path).keep_pins(ALICE, seen("r"))
    text = path.read_text()
    for spoil in ("link", "open", "open folder"):
        heard = Heard()
        if spoil == "link":
            (tmp_path / "other").write_text(text)
            path.unlink()
            path.symlink_to(tmp_path / "other")
        elif spoil == "open":
            path.unlink()
            path.write_text(text)
            path.chmod(0o622)
        else:
            path.chmod(0o600)
            path.parent.chmod(0o777)
        assert StateBook(path, warn=heard).pins(ALICE) == Pins(), spoil
        assert len(heard.words) == 1, spoil


def test_T15_a_file_of_somebody_else_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    StateBook(path).keep_pins(ALICE, seen("r"))
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    heard = Heard()
    assert StateBook(path, warn=heard).pins(ALICE) == Pins()
    assert "somebody else" in heard.words[0]


def test_where_nothing_can_be_written_it_works_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard = Heard()
    for place in (None, tmp_path / "file" / "state.json", Path("/proc/nowhere/state.json")):
        book = StateBook(place, warn=heard)
        book.keep_pins(ALICE, seen("r"))
        book.keep_restraint(ALICE, lambda before: before)
        assert book.restraint(ALICE) == Restraint()


def test_where_it_is() -> None:
    assert default_state_path({"XDG_STATE_HOME": "/x"}) == Path("/x/sipcli/state.json")
    assert default_state_path({"XDG_STATE_HOME": "relative"}) is None
