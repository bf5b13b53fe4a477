"""Every provider in every trouble: the right class of error, one sentence, no secret, and back in time.

A row for each trouble, a column for each provider; ``found`` is a trouble that is none, ``-`` one that cannot be:

============ ============ ============ ============ ============ ============ ============
trouble      vault        oauth        keychain     file         env          prompt
============ ============ ============ ============ ============ ============ ============
locked       Unavailable  -            Denied       -            -            -
absent       NotFound     NotFound     Unavailable  NotFound     NotFound     NotFound
denied       Denied       Denied       Denied       Denied       -            Cancelled
slow         found        found        found        found        -            found
hanging      Unavailable  Unavailable  Unavailable  Unavailable  -            Unavailable
babbling     Unavailable  Unavailable  Denied       Denied       -            -
garbage      Unavailable  Unavailable  Denied       Denied       Denied       Denied
huge         Unavailable  Unavailable  found        Denied       found        found
redirecting  Unavailable  Unavailable  -            Denied       -            -
expired      Unavailable  Unavailable  -            -            -            -
skewed       found        found        -            -            -            -
============ ============ ============ ============ ============ ============ ============

============ ============ ============ ============ ============
trouble      exec         askpass      systemd      sim
============ ============ ============ ============ ============
locked       Denied       -            -            -
absent       NotFound     NotFound     NotFound     NotFound
denied       Denied       Cancelled    Denied       Denied
slow         found        found        -            -
hanging      Unavailable  Unavailable  -            -
babbling     Unavailable  Unavailable  -            -
garbage      Unavailable  Denied       Denied       Denied
huge         Unavailable  Unavailable  Denied       Denied
redirecting  -            -            Denied       Denied
expired      NotFound     -            -            -
skewed       -            -            -            -
============ ============ ============ ============ ============

The tables are read by the test: what stands here is what is demanded.  The exit statuses that come of it, with real
servers, are in ``tests/e2e/test_e2e_fault_matrix.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli import credentials
from sipcli.credentials import Cancelled, CredentialProvider, CredentialRequest, ProviderError
from sipcli.testing import FakeTerminal, ask, make_context, make_request
from sipcli_providers.askpass import AskpassProvider
from sipcli_providers.env import EnvProvider
from sipcli_providers.exec import ExecProvider
from sipcli_providers.file import FileProvider
from sipcli_providers.oauth import OAuthProvider
from sipcli_providers.prompt import PromptProvider
from sipcli_providers.sim import SimProvider
from sipcli_providers.systemd import SystemdProvider
from sipcli_providers.vault import VaultProvider
from tests.support.helpers import FAULTS, write_helper
from tests.support.real import require
from tests.support.servers.faults import Answer, FaultServer, Seen, redirect_to

CANARY = "hunter2-canary"
PATIENCE = 2.0
"""Seconds that each look-up may take; what is slow takes a seventh of it."""
PROGRAMS = ("exec", "askpass")
"""Ask another program, which a busy machine does not start, or end, at once: twice as long."""


def _table() -> dict[tuple[str, str], str]:
    """``{("vault", "locked"): "Unavailable"}``, from the tables above."""
    cells: dict[tuple[str, str], str] = {}
    head: list[str] = []
    for words in (line.split() for line in (__doc__ or "").splitlines()):
        if words[:1] == ["trouble"]:
            head = words[1:]
        elif head and len(words) == len(head) + 1 and "=" not in words[0]:
            cells |= {(provider, words[0]): cell for provider, cell in zip(head, words[1:], strict=True)}
    return cells


CELLS = _table()


class Bench:
    """What a cell is made with; everything is taken down again by :attr:`stack`."""

    def __init__(self, tmp_path: Path, certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp_path, self.certs, self.monkeypatch = tmp_path, certs, monkeypatch
        self.stack = contextlib.ExitStack()

    def file(self, name: str, content: str | bytes, mode: int = 0o600) -> str:
        path = self.tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return str(path)

    def server(self, answer: Callable[[Seen], Answer], *, tls: bool = False) -> FaultServer:
        return self.stack.enter_context(FaultServer(answer, certs=self.certs if tls else None))


@pytest.fixture
def bench(tmp_path: Path, certs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    require("openssl")
    made = Bench(tmp_path, certs, monkeypatch)
    with made.stack:
        yield made


Made = tuple[CredentialProvider, CredentialRequest]


def vault(bench: Bench, trouble: str) -> Made:
    """KV 2 with a token of userpass; what is in trouble is the read, and with ``expired`` the login."""
    theirs = time.time() + (86400 if trouble == "skewed" else 0)
    dated = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(theirs))}
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(theirs + 60)) if trouble == "skewed" else ""
    secret = {"data": {"data": {"password": CANARY}, "metadata": {"version": 1, "deletion_time": end}}}
    login = {"auth": {"client_token": CANARY, "lease_duration": 60, "renewable": True}}
    read = {
        "locked": Answer(503, b'{"errors": ["Vault is sealed"]}'),
        "absent": Answer(404, b'{"errors": []}'),
        "denied": Answer(403, b'{"errors": ["permission denied"]}'),
        "slow": Answer(200, json.dumps(secret).encode(), dated, drip=0.3 / len(json.dumps(secret))),
        "hanging": Answer(hang=True),
        "babbling": Answer(200, b"x" * 500, drip=0.02),
        "garbage": Answer(200, b"\xff\xfe<html>" + CANARY.encode()),
        "huge": Answer(200, b" " * 1_000_000),
        "redirecting": redirect_to("https://169.254.169.254/latest/meta-data"),
        "expired": Answer(403, b'{"errors": ["permission denied"]}'),
        "skewed": Answer(200, json.dumps(secret).encode(), dated),
    }[trouble]

    def answer(seen: Seen) -> Answer:
        if seen.path == "/v1/sys/health":
            return Answer(503, b'{"initialized": true, "sealed": true}') if trouble == "locked" else Answer(200)
        if seen.path.startswith("/v1/auth/token/lookup-self"):
            return Answer(403 if trouble == "expired" else 200)
        return Answer(200, json.dumps(login).encode()) if "/login/" in seen.path else read

    auth = {"method": "userpass", "username": "alice", "password_file": bench.file("pw", CANARY)}
    if trouble == "expired":  # of an agent's sink: nobody can log in anew
        auth = {"method": "token", "token_file": bench.file("sink", CANARY)}
    options = {"url": bench.server(answer).url, "path": "sip/{username}", "kv_version": 2, "auth": auth}
    return VaultProvider(make_context(options, name="vault", http_timeout=PATIENCE / 2)), make_request()


def oauth(bench: Bench, trouble: str) -> Made:
    """Client credentials, used as Bearer; what is in trouble is the token endpoint."""
    theirs = time.time() + (86400 if trouble == "skewed" else 0)
    dated = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(theirs))}
    token: dict[str, Any] = {"access_token": CANARY, "token_type": "Bearer", "expires_in": 60}
    token["expires_in"] = -5 if trouble == "expired" else 60
    good = json.dumps(token).encode()
    answers = {
        "denied": Answer(401, b'{"error": "invalid_client"}'),
        "slow": Answer(200, good, drip=0.3 / len(good)),
        "hanging": Answer(hang=True),
        "babbling": Answer(200, b"x" * 500, drip=0.02),
        "garbage": Answer(200, b"\xff\xfe<html>" + CANARY.encode()),
        "huge": Answer(200, b" " * 1_000_000),
        "redirecting": redirect_to("https://169.254.169.254/latest/meta-data", 302),
    }

    def answer(seen: Seen) -> Answer:
        if seen.path.startswith("/token"):
            return answers.get(trouble, Answer(200, good, dated))
        return Answer(200, json.dumps({"issuer": url, "token_endpoint": f"{url}/token"}).encode())

    url = bench.server(answer, tls=True).url
    options = {
        "issuer": url,
        "ca_file": str(bench.certs / "ca.pem"),
        "client_id": "c",
        "client_secret_file": str(bench.tmp_path / "gone") if trouble == "absent" else bench.file("cs", CANARY),
        "flow": "client_credentials",
    }
    provider = OAuthProvider(make_context(options, name="sso", http_timeout=PATIENCE / 2))
    return provider, make_request(scheme="bearer", authz_server=url)


class _Backend:
    """A desktop's keychain, made to order."""

    def __init__(self, say: Callable[[], Any]) -> None:
        self._say = say

    def get_password(self, service: str, user: str) -> Any:
        return self._say()


def keychain(bench: Bench, trouble: str) -> Made:
    from keyring.errors import KeyringError, KeyringLocked, NoKeyringError

    from sipcli_providers.keychain import KeychainProvider

    closed = threading.Event()
    bench.stack.callback(closed.set)

    def fail(error: Exception) -> Any:
        raise error

    say: dict[str, Callable[[], Any]] = {
        "locked": lambda: fail(KeyringLocked(CANARY)),
        "absent": lambda: fail(NoKeyringError(CANARY)),
        "denied": lambda: fail(KeyringLocked("dismissed")),
        "slow": lambda: closed.wait(0.3) or CANARY,
        "hanging": lambda: closed.wait(30),
        "babbling": lambda: fail(KeyringError(CANARY * 1000)),
        "garbage": lambda: f"{CANARY}\r\nX: y",
        "huge": lambda: CANARY * 5000,
    }
    provider = KeychainProvider(make_context(name="keychain"))
    provider._keychain._backends = lambda: [_Backend(say[trouble])]  # type: ignore[method-assign,list-item]
    return provider, make_request()


def file(bench: Bench, trouble: str) -> Made:
    if trouble in ("slow", "hanging", "babbling"):
        return _stdin(bench, trouble)
    path = {
        "absent": lambda: str(bench.tmp_path / "gone"),
        "denied": lambda: bench.file("open", CANARY, 0o644),
        "garbage": lambda: bench.file("lines", f"{CANARY}\nmore\n"),
        "huge": lambda: bench.file("huge", b"x" * 70_000),
        "redirecting": lambda: str(_loop(bench.tmp_path / "loop")),
    }[trouble]()
    return FileProvider(make_context({"path": path}, name="secret")), make_request()


def _stdin(bench: Bench, trouble: str) -> Made:
    """A pipe whose writer is slow, never closes it, or never stops."""
    read_end, write_end = os.pipe()
    bench.monkeypatch.setattr(sys, "stdin", bench.stack.enter_context(os.fdopen(read_end)))
    done = threading.Event()

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as out, contextlib.suppress(BrokenPipeError):
            if trouble == "babbling":
                for _ in range(32):  # until nobody reads any more
                    out.write(b"x" * 4096)
                return
            done.wait(0.3 if trouble == "slow" else 30)
            out.write(CANARY.encode())

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    bench.stack.callback(writer.join, 5)
    bench.stack.callback(done.set)
    return FileProvider(make_context({"path": "-"}, name="secret")), make_request()


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def env(bench: Bench, trouble: str) -> Made:
    values = {"garbage": f"{CANARY}\nmore", "huge": CANARY * 5000}
    bench.monkeypatch.delenv("SIP_SECRET", raising=False)
    if trouble in values:
        bench.monkeypatch.setenv("SIP_SECRET", values[trouble])
    return EnvProvider(make_context({"variable": "SIP_SECRET"}, name="container")), make_request()


class _Person(FakeTerminal):
    """Types when he likes to; the terminal keeps the time, as the real one does."""

    def __init__(self, types: Callable[[], str]) -> None:
        super().__init__()
        self._types = types

    def ask(self, prompt: str, *, secret: bool = True, cancel: Any, timeout: float | None = None) -> Any:
        if (typed := self._types()) != "":
            return credentials.Secret(typed)
        if cancel.wait(timeout or 0):
            raise Cancelled("cancelled")
        raise credentials.Unavailable("nobody typed anything in time")


def prompt(bench: Bench, trouble: str) -> Made:
    def slowly() -> str:
        threading.Event().wait(0.3)
        return CANARY

    def refuses() -> str:
        raise Cancelled("no")

    people: dict[str, FakeTerminal] = {
        "absent": FakeTerminal(),
        "denied": _Person(refuses),
        "slow": _Person(slowly),
        "hanging": _Person(lambda: ""),
        "garbage": _Person(lambda: f"{CANARY}\0"),
        "huge": _Person(lambda: CANARY * 5000),
    }
    return PromptProvider(make_context(name="prompt", terminal=people[trouble])), make_request()


def exec_(bench: Bench, trouble: str) -> Made:
    bodies = {"slow": f"sleep 0.3; echo password={CANARY}", "denied": "exit 0"}
    helper = write_helper(bench.tmp_path / "helper", bodies.get(trouble) or FAULTS[trouble])
    helper.chmod(0o777 if trouble == "denied" else 0o755)
    return ExecProvider(make_context({"command": str(helper)}, name="mine")), make_request()


def askpass(bench: Bench, trouble: str) -> Made:
    bodies = {
        "denied": "exit 1",
        "slow": f"sleep 0.3; echo {CANARY}",
        "garbage": f"printf '{CANARY}\\000x\\n'",
        "huge": "head -c 200000 /dev/zero | tr '\\0' x",
    }
    for name in ("SIPCLI_ASKPASS", "SSH_ASKPASS", "SIPCLI_ASKPASS_REQUIRE"):
        bench.monkeypatch.delenv(name, raising=False)
    options = {"require": "force"}
    if trouble != "absent":
        window = write_helper(bench.tmp_path / "window", bodies.get(trouble) or FAULTS[trouble])
        options["command"] = str(window)
    return AskpassProvider(make_context(options, name="window")), make_request()


def _kept_badly(bench: Bench, name: str, trouble: str, good: str) -> str:
    """The path of a file with a secret, in trouble."""
    match trouble:
        case "absent":
            return str(bench.tmp_path / "gone")
        case "denied":
            return bench.file(name, good, 0o602)
        case "redirecting":
            return str(_loop(bench.tmp_path / name))
        case _:
            return bench.file(name, f"{CANARY}\nmore\n" if trouble == "garbage" else good * 9000)


def systemd(bench: Bench, trouble: str) -> Made:
    path = Path(_kept_badly(bench, "sip", trouble, CANARY))
    bench.monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
    return SystemdProvider(make_context({"credential": path.name}, name="service")), make_request()


def sim(bench: Bench, trouble: str) -> Made:
    key = "465b5ce8b199b49faa5f0a2ee238a6bc"  # of 3GPP TS 35.207's first set
    options = {
        "k_file": _kept_badly(bench, "k", trouble, key),
        "opc_file": bench.file("opc", key),
        "sqn_file": str(bench.tmp_path / "sqn"),
    }
    return SimProvider(make_context(options, name="card")), make_request(algorithms=("AKAv1-MD5",))


MAKERS: dict[str, Callable[[Bench, str], Made]] = {
    "vault": vault, "oauth": oauth, "keychain": keychain, "file": file, "env": env, "prompt": prompt,
    "exec": exec_, "askpass": askpass, "systemd": systemd, "sim": sim,
}  # fmt: skip
POSSIBLE = [(provider, trouble) for (provider, trouble), cell in CELLS.items() if cell != "-"]


def test_the_table_is_whole() -> None:
    """Ten providers, eleven troubles; every cell says something that can be."""
    assert len(CELLS) == 110
    assert {provider for provider, _ in CELLS} == set(MAKERS)
    assert set(CELLS.values()) <= {"found", "-", "NotFound", "Denied", "Unavailable", "Cancelled"}


@pytest.mark.parametrize(("provider", "trouble"), POSSIBLE, ids=[f"{p}-{t}" for p, t in POSSIBLE])
def test_T18_each_trouble_is_one_sentence_of_the_right_class(bench: Bench, provider: str, trouble: str) -> None:
    """And nobody waits for it longer than was allowed, or learns the secret from it.

    Fails without ``BODY_LIMIT`` (huge), the deadline in ``_read`` (babbling), ``Patience`` (hanging).
    """
    made, request = MAKERS[provider](bench, trouble)
    began, patience = time.monotonic(), PATIENCE * (2 if provider in PROGRAMS else 1)
    request = make_request(
        scheme=request.scheme, authz_server=request.authz_server, algorithms=request.algorithms,
        deadline=began + patience, cancel=request.cancel,
    )  # fmt: skip
    expected = CELLS[provider, trouble]
    if expected == "found":
        assert ask(made, request).secret.reveal().startswith(CANARY.encode())
        return
    with pytest.raises(ProviderError) as caught:
        ask(made, request)
    assert time.monotonic() - began < 2 * patience
    error = caught.value
    assert isinstance(error, getattr(credentials, expected)), error
    _check_sentence(error)


def _check_sentence(error: BaseException) -> None:
    text = str(error)
    assert 0 < len(text) < 300
    assert text.isprintable()
    assert "Traceback" not in text
    assert not text.endswith(".")
    assert CANARY not in f"{text} {error!r} {error.args!r}"


@pytest.mark.parametrize("provider", [p for p in MAKERS if CELLS[p, "hanging"] != "-" and p not in PROGRAMS])
def test_after_every_trouble_the_next_look_up_is_as_good_as_the_first(bench: Bench, provider: str) -> None:
    """Ten look-ups that hang one after the other: each ends in time, and the provider says so to the last."""
    made, request = MAKERS[provider](bench, "hanging")
    took = []
    for _ in range(10):
        again = make_request(scheme=request.scheme, authz_server=request.authz_server, deadline=time.monotonic() + 0.15)
        began = time.monotonic()
        with pytest.raises(credentials.Unavailable) as caught:
            ask(made, again)
        took.append(time.monotonic() - began)
        _check_sentence(caught.value)
    assert sorted(took)[4] < PATIENCE / 2, "the deadline comes before its own time-out; a busy machine may miss some"


@pytest.mark.parametrize("provider", ["vault", "oauth"])
@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_T14_the_words_of_a_store_are_not_repeated(bench: Bench, provider: str, status: int) -> None:
    """It may say what it was told.  Fails if ``code_of`` lets any word through."""
    body = json.dumps({"error": CANARY, "errors": [CANARY], "error_description": CANARY}).encode()

    def answer(seen: Seen) -> Answer:
        if seen.path.startswith(("/token", "/v1/secret")):
            return Answer(status, body)
        return Answer(200, json.dumps({"issuer": url, "token_endpoint": f"{url}/token"}).encode())

    url = bench.server(answer, tls=provider == "oauth").url
    secret = bench.file("secret", CANARY)
    tables: dict[str, dict[str, Any]] = {
        "vault": {"url": url, "path": "a", "kv_version": 2, "auth": {"method": "token", "token_file": secret}},
        "oauth": {
            "issuer": url, "ca_file": str(bench.certs / "ca.pem"), "client_id": "c", "client_secret_file": secret,
            "flow": "client_credentials",
        },
    }  # fmt: skip
    context = make_context(tables[provider], name="p", http_timeout=PATIENCE)
    made = VaultProvider(context) if provider == "vault" else OAuthProvider(context)
    request = make_request() if provider == "vault" else make_request(scheme="bearer", authz_server=url)
    with pytest.raises(ProviderError) as caught:
        ask(made, request)
    _check_sentence(caught.value)
