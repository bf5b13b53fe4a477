"""OpenBao, filled with what the tests read: in development mode, or with a disk under it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.real import bao_path
from tests.support.servers.process import Server, free_port

ROOT = "root"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_KEPT = """
storage "raft" {{
  path    = "{folder}"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
api_addr     = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
"""

_POLICY = """
path "secret/data/sip/*" { capabilities = ["read"] }
path "kv1/sip/*" { capabilities = ["read"] }
"""


class OpenBao:
    """KV v2 at ``secret``, KV v1 at ``kv1``; policy ``sipcli`` reads ``sip/*`` in both.

    ==================== ============================================
    secret/sip/alice     two versions, the newer is ``secret123``
    secret/sip/bob       fields ``login`` and ``pin`` (a number)
    secret/sip/gone      deleted
    secret/other/alice   no policy allows it
    kv1/sip/alice        ``secret123``
    approle sipcli       tokens live 3 s, 10 s at most
    userpass alice       password ``vaultpw``
    jwt sipcli           see :meth:`jwt`
    ==================== ============================================

    With *kept* what it knows is on disk, and :meth:`restart` comes back sealed.
    """

    def __init__(self, directory: Path, *, kept: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port(block=2)
        self.url = f"http://127.0.0.1:{self.port}"
        self.root = ROOT
        self._key = ""
        bao = bao_path()
        assert bao is not None, "bao is not installed"
        self._argv = [bao, "server"]
        if kept:
            (directory / "raft").mkdir()
            config = directory / "bao.hcl"
            config.write_text(_KEPT.format(folder=directory / "raft", port=self.port, cluster=self.port + 1))
            self._argv.append(f"-config={config}")
        else:
            self._argv += ["-dev", f"-dev-root-token-id={ROOT}", "-dev-no-store-token"]
            self._argv.append(f"-dev-listen-address=127.0.0.1:{self.port}")
        self.server = Server(self._argv, directory / "bao.log", cwd=directory)
        try:
            if kept:
                self._begin()
            self.server.wait_until(self._answers)
            self._fill()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        self.server.wait_until(lambda: self.health() == "new")
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self.root = made["keys"][0], made["root_token"]
        self.unseal()
        self.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})

    def restart(self) -> None:
        """Killed, and started again on what is on disk: sealed."""
        self.kill()
        self.server = Server(self._argv, self.directory / "bao.log", cwd=self.directory)
        self.server.wait_until(lambda: self.health() == "sealed")

    def kill(self) -> None:
        """At once, as by a power cut."""
        self.server.process.kill()
        self.server.process.wait()

    def health(self) -> str:
        """``active``, ``standby``, ``sealed``, ``new``, or ``gone``."""
        states = {200: "active", 429: "standby", 503: "sealed", 501: "new"}
        try:
            self.call("GET", "sys/health")
            return "active"
        except urllib.error.HTTPError as error:
            with error:
                return states.get(error.code, str(error.code))
        except OSError:
            return "gone"

    def call(self, method: str, path: str, data: object = None, *, token: str | None = None, **headers: str) -> Any:
        """One request to the API, by root unless *token* is given; raises HTTPError for what is refused."""
        sent = {
            "X-Vault-Token": token or self.root,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = json.dumps(data).encode() if data is not None else None
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, sent, method=method)
        with _direct.open(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def role_id(self) -> str:
        return str(self.call("GET", "auth/approle/role/sipcli/role-id")["data"]["role_id"])

    def secret_id(self) -> str:
        return str(self.call("POST", "auth/approle/role/sipcli/secret-id", {})["data"]["secret_id"])

    def wrapped_secret_id(self) -> str:
        answer = self.call("POST", "auth/approle/role/sipcli/secret-id", {}, X_Vault_Wrap_TTL="600")
        return str(answer["wrap_info"]["token"])

    def token(self, ttl: str = "60s", **more: object) -> str:
        """A token with policy ``sipcli``."""
        answer = self.call("POST", "auth/token/create", {"policies": ["sipcli"], "ttl": ttl, **more})
        return str(answer["auth"]["client_token"])

    def revoke(self, token: str) -> None:
        self.call("POST", "auth/token/revoke", {"token": token})

    def accessors(self) -> set[str]:
        """One per living token: what grows by one with each login."""
        return set(self.call("LIST", "auth/token/accessors")["data"]["keys"])

    def jwt(self, subject: str = "alice") -> str:
        """A token that the ``jwt`` method accepts for an hour."""
        now = int(time.time())
        claims = {"iss": "lab", "sub": subject, "aud": "sip:sip.test", "iat": now, "exp": now + 3600}
        signed = _part({"alg": "RS256", "typ": "JWT"}) + b"." + _part(claims)
        return (signed + b"." + _base64(self._openssl("dgst", "-sha256", "-sign", "jwt.key", stdin=signed))).decode()

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        key = self._key
        if not key:
            line = next(line for line in self.server.text().splitlines() if line.startswith("Unseal Key:"))
            key = line.split(":", 1)[1].strip()
        self.call("PUT", "sys/unseal", {"key": key})
        self.server.wait_until(self._answers)

    def stop(self) -> None:
        self.server.stop()

    def _answers(self) -> bool:
        return self.health() == "active"

    def _fill(self) -> None:
        self.call("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
        self.call("POST", "sys/mounts/transit", {"type": "transit"})
        for password in ("old-password", "secret123"):
            self.call("POST", "secret/data/sip/alice", {"data": {"username": "alice", "password": password}})
        self.call("POST", "secret/data/sip/bob", {"data": {"login": "bob.trunk", "pin": 4711, "lines": "a\nb"}})
        self.call("POST", "secret/data/sip/gone", {"data": {"password": "x"}})
        self.call("DELETE", "secret/data/sip/gone")
        self.call("POST", "secret/data/other/alice", {"data": {"password": "not for you"}})
        self.call("POST", "kv1/sip/alice", {"username": "alice", "password": "secret123"})
        self.call("PUT", "sys/policies/acl/sipcli", {"policy": _POLICY})
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        role = {"token_policies": "sipcli", "token_ttl": "3s", "token_max_ttl": "10s", "secret_id_ttl": "1h"}
        self.call("POST", "auth/approle/role/sipcli", role)
        self.call("POST", "sys/auth/userpass", {"type": "userpass"})
        user = {"password": "vaultpw", "token_policies": "sipcli", "token_ttl": "60s"}
        self.call("POST", "auth/userpass/users/alice", user)
        self._openssl("genrsa", "-out", "jwt.key", "2048")
        public = self._openssl("rsa", "-in", "jwt.key", "-pubout").decode()
        self.call("POST", "sys/auth/jwt", {"type": "jwt"})
        self.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public], "bound_issuer": "lab"})
        bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["sip:sip.test"]}
        self.call("POST", "auth/jwt/role/sipcli", {**bound, "token_policies": "sipcli", "token_ttl": "60s"})

    def _openssl(self, *arguments: str, stdin: bytes = b"") -> bytes:
        run = subprocess.run(
            ["openssl", *arguments], input=stdin, cwd=self.directory, capture_output=True, check=True, timeout=30
        )
        return run.stdout


def _part(value: object) -> bytes:
    return _base64(json.dumps(value).encode())


def _base64(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")
