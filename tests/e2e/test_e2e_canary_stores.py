"""Each store in each trouble, with a canary in every place where a secret lies: it is nowhere else afterwards (T14).

The password, the token, the secret id, the client's secret, and the tokens that the stores make themselves.  The stores
are the real gnome-keyring, OpenBao and oidc-provider; a server of ours stands in for what they cannot be made to do,
and quotes in its errors whatever it was told.  How it is run and what is looked through: ``test_e2e_canary_local.py``.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import canary
from tests.support.canaryrows import Here, Row, check
from tests.support.real import require
from tests.support.servers.faults import Answer, FaultServer, Seen, forward_to, redirect_to
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring, State
from tests.support.servers.oidc import OidcProvider
from tests.support.servers.openbao import OpenBao
from tests.support.servers.process import Server, free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("canary_stores")]

STORES = ("keychain", "vault", "oauth", "token")


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    users = {name: canary(name, odd=name != "token") for name in STORES} | {f"not-{name}": "another" for name in STORES}
    server = Kamailio(tmp_path_factory.mktemp("kamailio"), users=users)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bearer(tmp_path_factory: pytest.TempPathFactory, certs: Path, oidc_server: OidcProvider) -> Iterator[Kamailio]:
    """It asks the OpenID provider about each token."""
    folder = tmp_path_factory.mktemp("bearer")
    server = Kamailio(folder, "BEARER", certs=certs, idp=oidc_server.issuer.removeprefix("https://"))
    yield server
    server.stop()


class Stores(Here):
    """The machine, and the stores as they are asked for."""

    def __init__(self, folder: Path, registrar: Kamailio, request: pytest.FixtureRequest) -> None:
        super().__init__(folder, registrar)
        self._request = request

    @property
    def bao(self) -> OpenBao:
        require("openbao")
        return self._request.getfixturevalue("openbao")  # type: ignore[no-any-return]

    @property
    def oidc(self) -> OidcProvider:
        return self._request.getfixturevalue("oidc")  # type: ignore[no-any-return]

    @property
    def certs(self) -> Path:
        return self._request.getfixturevalue("certs")  # type: ignore[no-any-return]

    @property
    def bearer(self) -> Kamailio:
        return self._request.getfixturevalue("bearer")  # type: ignore[no-any-return]

    @property
    def elsewhere(self) -> Path:
        """A folder that is not the person's."""
        return self._request.getfixturevalue("tmp_path_factory").mktemp("store")  # type: ignore[no-any-return]

    def stop(self, server: Server) -> None:
        """Until the end of the test: it has the connection, and says nothing."""
        server.process.send_signal(signal.SIGSTOP)
        self.stack.callback(server.process.send_signal, signal.SIGCONT)

    def server(self, answer: Callable[[Seen], Answer], *, tls: bool = False) -> FaultServer:
        return self.stack.enter_context(FaultServer(answer, certs=self.certs if tls else None))


@pytest.fixture
def stores(tmp_path: Path, registrar: Kamailio, request: pytest.FixtureRequest) -> Iterator[Stores]:
    made = Stores(tmp_path, registrar, request)
    with made.stack:
        yield made


# -- the keychain ---------------------------------------------------------------------------------------------------


def keychain(
    state: State, user: str = "keychain", *, hangs: bool = False, garbage: bool = False
) -> Callable[[Stores], None]:
    def plant(here: Stores) -> None:
        require("keyring")
        password = here.password("keychain", user)
        entry = ("sipcli", f"{user}@sip.test", f"{password}\r\nX: {password}" if garbage else password)
        session = Keyring(here.elsewhere, state, entry=entry)
        here.stack.callback(session.stop)
        if state != "nobus":
            here.cli.env["DBUS_SESSION_BUS_ADDRESS"] = session.env["DBUS_SESSION_BUS_ADDRESS"]
        if hangs:
            here.stop(session._running[-1])
        here.use("keychain", "", user=user)

    return plant


KEYCHAIN = {
    "found, and accepted": Row(0, "", keychain("unlocked")),
    "found, and refused": Row(3, "is that the right secret", keychain("unlocked", "not-keychain"), alone=True),
    "locked": Row(8, "unlock", keychain("locked")),
    "empty": Row(8, "create one with `gnome-keyring-daemon --unlock`", keychain("empty")),
    "absent": Row(8, "without a Secret Service", keychain("absent")),
    "without a session": Row(8, "no D-Bus session", keychain("nobus")),
    "hanging": Row(8, "is its unlock dialog still open?", keychain("unlocked", hangs=True), patience=2),
    "garbage": Row(8, "contains a line break", keychain("unlocked", garbage=True)),
}


# -- Vault ----------------------------------------------------------------------------------------------------------


def at(url: str, auth: str, path: str = "sip/{username}") -> str:
    return f'url = "{url}"\npath = "{path}"\nauth = {{ {auth} }}'


def entry(here: Stores, user: str, password: str) -> None:
    here.bao.call("POST", f"secret/data/sip/{user}", {"data": {"password": password}})


def listened(here: Stores) -> str:
    """The address of a server that hands everything on to OpenBao, and looks out for the tokens that it makes."""
    tokens: list[str] = []
    forward = forward_to(here.bao.url)

    def answer(seen: Seen) -> Answer:
        given = forward(seen)
        if "/login" in seen.path and given.status == 200:
            tokens.append(json.loads(given.body)["auth"]["client_token"])
        return given

    def harvest() -> None:
        assert tokens
        for number, token in enumerate(tokens):
            here.look_for(f"Vault's token {number}", token.encode())

    here.harvest = harvest
    return here.server(answer).url


def by_token(here: Stores, url: str | None = None, *, user: str = "vault", path: str = "sip/{username}") -> None:
    """With a token that is a canary."""
    token = here.hatch("vault-token", odd=False)
    here.bao.call("POST", "auth/token/create", {"id": token, "policies": ["sipcli"], "ttl": "300s"})
    here.stack.callback(here.bao.revoke, token)
    here.use(
        "vault",
        at(url or here.bao.url, f'method = "token", token_file = "{here.plant("token", token)}"', path),
        user=user,
    )


def vault(user: str = "vault", garbage: bool = False, **more: Any) -> Callable[[Stores], None]:
    def plant(here: Stores) -> None:
        password = here.password("vault", user)
        entry(here, user, f"{password}\n{password}" if garbage else password)
        by_token(here, user=user, **more)

    return plant


def by_approle(here: Stores, *, known: bool = True) -> None:
    entry(here, "vault", here.password("vault", "vault"))
    secret_id = here.hatch("secret-id")
    if known:
        role = "auth/approle/role/sipcli"
        here.bao.call("POST", f"{role}/custom-secret-id", {"secret_id": secret_id})
        here.stack.callback(here.bao.call, "POST", f"{role}/secret-id/destroy", {"secret_id": secret_id})
    login = f'method = "approle", role_id = "{here.bao.role_id()}", secret_id_file = "{here.plant("id", secret_id)}"'
    here.use("vault", at(listened(here) if known else here.bao.url, login))


def by_wrapped_secret_id(here: Stores) -> None:
    """The file holds the key to a parcel with the secret id in it; who listens on the way sees both."""
    entry(here, "vault", here.password("vault", "vault"))
    parcel = here.bao.wrapped_secret_id()
    here.look_for("wrapping token", parcel.encode())
    file = here.plant("wrapped", parcel)
    opened: list[str] = []
    forward = forward_to(here.bao.url)

    def answer(seen: Seen) -> Answer:
        given = forward(seen)
        if given.status == 200 and seen.path.endswith("/unwrap"):
            opened.append(json.loads(given.body)["data"]["secret_id"])
        elif given.status == 200 and "/login" in seen.path:
            opened.append(json.loads(given.body)["auth"]["client_token"])
        return given

    def harvest() -> None:
        assert len(opened) == 2, "the secret id, and the token that it bought"
        for name, secret in zip(("secret id", "token"), opened, strict=True):
            here.look_for(f"Vault's {name}", secret.encode())

    here.harvest = harvest
    login = f'role_id = "{here.bao.role_id()}", secret_id_file = "{file}", secret_id_wrapped = true'
    here.use("vault", at(here.server(answer).url, f'method = "approle", {login}'))


def by_opened_parcel(here: Stores) -> None:
    """Somebody was there before us."""
    by_wrapped_secret_id(here)
    parcel = here.canaries["wrapping token"].decode()
    stolen = here.bao.call("POST", "sys/wrapping/unwrap", token=parcel)["data"]["secret_id"]
    here.look_for("stolen secret id", stolen.encode())
    here.harvest = lambda: None


def by_password(here: Stores) -> None:
    entry(here, "vault", here.password("vault", "vault"))
    password = here.hatch("userpass")
    user = {"password": password, "token_policies": "sipcli", "token_ttl": "60s"}
    here.bao.call("POST", "auth/userpass/users/nest", user)
    file = here.plant("pw", password)
    here.use("vault", at(listened(here), f'method = "userpass", username = "nest", password_file = "{file}"'))


def sealed(here: Stores) -> None:
    vault()(here)
    here.bao.seal()
    here.stack.callback(here.bao.unseal)


def revoked(here: Stores) -> None:
    vault()(here)
    here.bao.revoke(canary("vault-token", odd=False))


def stopped(here: Stores) -> None:
    vault()(here)
    here.stop(here.bao.server)


def unlike_vault(trouble: str) -> Callable[[Stores], None]:
    """A server that behaves as OpenBao does not, and repeats the token and the password where it can."""

    def plant(here: Stores) -> None:
        token, password = here.hatch("vault-token", odd=False), here.password("vault", "vault")
        both = f"{token} {password}"
        skew = time.time() + 86400
        dated = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(skew))}
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(skew + 60))
        good = {"data": {"data": {"password": password}, "metadata": {"version": 1, "deletion_time": end}}}
        read = {
            "babbling": Answer(200, both.encode() * 500, drip=0.02),
            "garbage": Answer(200, b"\xff\xfe<html>" + both.encode()),
            "huge": Answer(200, both.encode() * 20_000),
            "redirecting": redirect_to(f"http://127.0.0.1:{free_port()}/{token}"),
            "quoting": Answer(403, json.dumps({"errors": [both]}).encode()),
            "failing": Answer(500, json.dumps({"errors": [both]}).encode(), {"X-Vault-Token": token}),
            "skewed": Answer(200, json.dumps(good).encode(), dated),
        }[trouble]

        def answer(seen: Seen) -> Answer:
            return read if "/data/" in seen.path else Answer(200, b'{"data": {"ttl": 300, "renewable": false}}')

        login = f'method = "token", token_file = "{here.plant("token", token)}"'
        here.use("vault", at(here.server(answer).url, login) + "\nkv_version = 2")

    return plant


VAULT = {
    "found, and accepted": Row(0, "", vault()),
    "found by AppRole, and accepted": Row(0, "", by_approle),
    "found by a wrapped secret id, and accepted": Row(0, "", by_wrapped_secret_id, alone=True),
    "a wrapped secret id that somebody has opened": Row(8, "unwrapped already", by_opened_parcel),
    "found by userpass, and accepted": Row(0, "", by_password),
    "found, and refused": Row(3, "is that the right secret", vault("not-vault")),
    "locked": Row(8, "somebody has to unseal it", sealed, patience=4),
    "absent": Row(4, "Vault has no secret at secret/sip/nobody-vault", vault(path="sip/nobody-{username}")),
    "denied": Row(8, "a policy with read on", vault(path="other/{username}")),
    "denied at the login": Row(8, "refuses the approle login (400)", lambda here: by_approle(here, known=False)),
    "expired": Row(8, "has expired or was revoked", revoked, patience=4),
    "unreachable": Row(8, "cannot be reached", vault(url=f"http://127.0.0.1:{free_port()}"), patience=4),
    "hanging": Row(8, "in time", stopped, patience=2),
    "babbling": Row(8, "in time", unlike_vault("babbling"), patience=2),
    "garbage": Row(8, "does not speak like Vault", unlike_vault("garbage"), patience=4),
    "a line break": Row(8, "contains a line break", vault(garbage=True)),
    "huge": Row(8, "more than 64 KiB", unlike_vault("huge"), patience=4),
    "redirecting": Row(8, "put the final address into the configuration", unlike_vault("redirecting"), patience=4),
    "quoting": Row(8, "a policy with read on", unlike_vault("quoting"), patience=4),
    "failing": Row(8, "answered 500", unlike_vault("failing"), patience=4),
    "skewed": Row(0, "", unlike_vault("skewed")),
}


# -- OAuth ----------------------------------------------------------------------------------------------------------


def client(here: Stores, *, secret: str | None = None, name: str = "canary") -> str:
    """The service client with its secret in a file; what the server issues is looked for, too."""
    require("oidc")
    secret = secret or here.hatch("client-secret")
    before = len(here.oidc.control()["issued"])

    def harvest() -> None:
        for number, token in enumerate(here.oidc.control(failure=0)["issued"][before:]):
            here.look_for(f"token {number}", token.encode())

    here.harvest = harvest
    file = here.plant("client-secret", secret)
    return (
        f'issuer = "{here.oidc.issuer}"\nclient_id = "{name}"\nclient_secret_file = "{file}"\n'
        f'flow = "client_credentials"\nscope = ["sip.register"]\nca_file = "{here.certs / "ca.pem"}"\n'
    )


def fetched(here: Stores) -> str:
    return f'use = "fetch"\npassword_url = "{here.oidc.issuer}/sip-password?user={{username}}"\n'


def fetch(user: str = "oauth", *, known: bool = True) -> Callable[[Stores], None]:
    def plant(here: Stores) -> None:
        here.oidc.control(failure=0, passwords={user: here.password("oauth", user)} if known else {})
        here.use("oauth", client(here) + fetched(here), user=user)

    return plant


def not_the_client(here: Stores) -> None:
    here.use("oauth", client(here, secret=here.hatch("wrong-client-secret")) + fetched(here))
    here.harvest = lambda: None


def busy(here: Stores) -> None:
    fetch()(here)
    here.oidc.control(failure=503)


def silent(here: Stores) -> None:
    fetch()(here)
    here.stop(here.oidc.server)
    here.harvest = lambda: None  # it was silent: nothing was issued


def no_secret(here: Stores) -> None:
    fetch()(here)
    (here.cli.home / "client-secret").unlink()


def token(name: str = "canary") -> Callable[[Stores], None]:
    def plant(here: Stores) -> None:
        here.registrar, here.transport = here.bearer, "tls"
        here.words = ("--ca", str(here.certs / "ca.pem"))
        here.use("oauth", client(here, name=name) + 'use = "bearer"\n', user="alice")

    return plant


def unlike_oauth(trouble: str, user: str = "token") -> Callable[[Stores], None]:
    """A token endpoint that does what the real one cannot be made to do, and repeats the client's secret."""

    def plant(here: Stores) -> None:
        secret = here.hatch("client-secret")
        access = here.hatch("token", user, odd=False)
        refresh = here.hatch("refresh-token", odd=False)
        both = f"{access} {refresh} {secret}"
        given = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 60}
        skew = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 86400))}
        good = json.dumps(given).encode()
        described = {"error": "invalid_grant", "error_description": both, "error_uri": f"https://x.test/{access}"}
        answers = {
            "right": Answer(200, good),
            "skewed": Answer(200, good, skew),
            "expired": Answer(200, json.dumps({**given, "expires_in": -5}).encode()),
            "babbling": Answer(200, both.encode() * 500, drip=0.02),
            "garbage": Answer(200, b"\xff\xfe<html>" + both.encode()),
            "huge": Answer(200, json.dumps({**given, "x": both * 20_000}).encode()),
            "redirecting": redirect_to(f"https://127.0.0.1:{free_port()}/?{access}", 302),
            "quoting": Answer(400, json.dumps(described).encode()),
            "quoting as its code": Answer(400, json.dumps({"error": both}).encode()),
            "failing": Answer(500, json.dumps({"error": both}).encode()),
        }

        def answer(seen: Seen) -> Answer:
            if seen.path.startswith("/token"):
                return answers[trouble]
            return Answer(200, json.dumps({"issuer": url, "token_endpoint": f"{url}/token"}).encode())

        url = here.server(answer, tls=True).url
        file = here.plant("client-secret", secret)
        here.use(
            "oauth",
            f'issuer = "{url}"\nclient_id = "c"\nclient_secret_file = "{file}"\nflow = "client_credentials"\n'
            f'ca_file = "{here.certs / "ca.pem"}"\nuse = "password"\n',
            user=user,
        )

    return plant


OAUTH = {
    "a password fetched, and accepted": Row(0, "", fetch()),
    "a password fetched, and refused": Row(3, "is that the right secret", fetch("not-oauth")),
    "a token, and accepted": Row(0, "", token()),
    "a token, and refused": Row(3, "refused: 403", token("stranger")),
    "a token as password, and accepted": Row(0, "", unlike_oauth("right")),
    "a token as password, and refused": Row(3, "is that the right secret", unlike_oauth("right", "not-token")),
    "skewed": Row(0, "", unlike_oauth("skewed")),
    "absent": Row(4, "there is no file", no_secret),
    "absent at the password's address": Row(4, "has no password for oauth", fetch(known=False)),
    "denied": Row(8, "refuses this client (invalid_client)", not_the_client),
    "busy": Row(8, "503", busy, patience=4),
    "hanging": Row(8, "in time", silent, patience=2),
    "expired": Row(8, "a token that has expired already", unlike_oauth("expired"), patience=4),
    "babbling": Row(8, "in time", unlike_oauth("babbling"), patience=2),
    "garbage": Row(8, "cannot answer now", unlike_oauth("garbage"), patience=4),
    "huge": Row(8, "more than 64 KiB", unlike_oauth("huge"), patience=4),
    "redirecting": Row(8, "put the final address into the configuration", unlike_oauth("redirecting"), patience=4),
    "quoting": Row(8, "refuses the grant (invalid_grant)", unlike_oauth("quoting"), patience=4),
    "quoting as its code": Row(8, "refuses (an error of its own)", unlike_oauth("quoting as its code"), patience=4),
    "failing": Row(8, "answered 500", unlike_oauth("failing"), patience=4),
}

TABLE: dict[str, dict[str, Row[Stores]]] = {"keychain": KEYCHAIN, "vault": VAULT, "oauth": OAUTH}
ROWS = [(store, trouble) for store, rows in TABLE.items() for trouble in rows]


@pytest.mark.parametrize(("store", "trouble"), ROWS, ids=[f"{s}: {t}" for s, t in ROWS])
def test_T14_no_canary_of_a_store_is_left_anywhere(stores: Stores, store: str, trouble: str) -> None:
    check(stores, TABLE[store][trouble])
