"""A key in a process of its own: a small signer behind a Unix socket, and the provider that asks it.

    $ python examples/signer.py --keys ~/.config/sip-signer/keys --socket "$XDG_RUNTIME_DIR/sip-signer/socket"

The file of keys, 0600, has one line for each: ``username:realm:algorithm:HA1``, with HA1 = H(username:realm:password)
in hex (RFC 7616 section 3.4.2).  The signer may run as another user than sipcli, or read its file and drop what it
needed for that; whoever reaches the socket gets signatures and never HA1.  Here both are one user: the folder of the
socket is 0700, and on Linux the kernel is asked who calls.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import select
import signal
import socket
import socketserver
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    DigestInput,
    NotFound,
    ProviderContext,
    Signature,
    SigningCredentials,
    Unavailable,
)

HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}

# --- the signer -----------------------------------------------------------------------------------------------


class Keys:
    """(username, realm) -> algorithm -> HA1."""

    def __init__(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SystemExit(f"{path} may be read by others: chmod 600 it")
        self._keys: dict[tuple[str, str], dict[str, str]] = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            parts = line.split(":")
            if len(parts) != 4 or parts[2] not in HASHES:
                raise SystemExit(f"{path} line {number}: expected username:realm:algorithm:HA1")
            self._keys.setdefault((parts[0], parts[1]), {})[parts[2]] = parts[3]

    def find(self, username: str) -> dict[str, Any]:
        """Which key *username* has; none of it is secret."""
        for (name, realm), known in self._keys.items():
            if name == username:
                return {"realm": realm, "algorithms": sorted(known)}
        return {"unknown": True}

    def sign(self, asked: dict[str, str]) -> dict[str, Any]:
        """The response to one challenge; only in the realm that HA1 was made for."""
        algorithm = asked["algorithm"]
        ha1 = self._keys.get((asked["username"], asked["realm"]), {}).get(algorithm.removesuffix("-sess"))
        if ha1 is None:
            return {"unknown": True}

        def h(text: str) -> str:
            return hashlib.new(HASHES[algorithm.removesuffix("-sess")], text.encode()).hexdigest()

        if algorithm.endswith("-sess"):
            ha1 = h(f"{ha1}:{asked['nonce']}:{asked['cnonce']}")
        middle = f"{asked['nc']}:{asked['cnonce']}:{asked['qop']}:" if asked["qop"] else ""

        def response(method: str) -> str:
            body = f":{asked['body_hash']}" if asked["qop"] == "auth-int" else ""
            return h(f"{ha1}:{asked['nonce']}:{middle}{h(method + ':' + asked['uri'] + body)}")

        return {
            "response": response(asked["method"]),
            # What the server will prove itself with; of auth-int it covers a body that nobody has seen yet.
            "rspauth": None if asked["qop"] == "auth-int" else response(""),
        }


class Handler(socketserver.StreamRequestHandler):
    """One question, one answer: a JSON object in a line."""

    timeout = 5

    def handle(self) -> None:
        keys: Keys = self.server.keys  # type: ignore[attr-defined]
        try:
            asked = json.loads(self.rfile.readline(8192))
            answer = keys.find(asked["find"]) if "find" in asked else keys.sign(asked["sign"])
        except (ValueError, KeyError, TypeError, OSError):
            answer = {"error": "this is no question"}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, keys: Keys) -> None:
        self.keys = keys
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
            raise SystemExit(f"{path.parent} may be entered by others: chmod 700 it")
        if path.is_socket():
            path.unlink()  # of a signer that was killed
        before = os.umask(0o177)
        try:
            super().__init__(str(path), Handler)
        finally:
            os.umask(before)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if not hasattr(socket, "SO_PEERCRED"):
            return True
        _, uid, _ = struct.unpack("3i", request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return bool(uid == os.getuid())


def main() -> None:
    parser = argparse.ArgumentParser(description="Sign SIP digests for whoever may open the socket.")
    parser.add_argument("--keys", type=Path, required=True, metavar="FILE")
    parser.add_argument("--socket", type=Path, required=True, metavar="PATH")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Server(args.socket, Keys(args.keys)) as server:
            print("ready", flush=True)
            server.serve_forever()
    finally:
        args.socket.unlink(missing_ok=True)


# --- the provider ---------------------------------------------------------------------------------------------


class SignerProvider:
    """``type = "signer"``: ``socket`` is where the signer listens."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        path = context.options.get("socket")
        if not isinstance(path, str):
            raise ValueError(f"[providers.{self.name}] needs socket: the path of the signer's socket")
        self._path = path

    def get(self, request: CredentialRequest) -> SigningCredentials:
        """The name of the key.  The realm is the signer's: what the server claims to be does not choose the key."""
        if request.scheme != "digest" or not request.username:
            raise NotFound("the signer signs digests")
        found = self._ask({"find": request.username}, request)
        if "unknown" in found:
            raise NotFound(f"the signer has no key of {request.username!r}")
        return SigningCredentials(
            request.username,
            realm=found["realm"],
            algorithms=tuple(found["algorithms"]),
            ref=f"signer:{request.username}",
        )

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Signature:
        signed = self._ask({"sign": dataclasses.asdict(digest)}, request)
        if "unknown" in signed:
            raise Denied(f"the signer has no {digest.algorithm} key for this realm: add one to its file")
        return Signature(signed["response"], signed["rspauth"])

    def _ask(self, question: dict[str, Any], request: CredentialRequest) -> dict[str, Any]:
        """Leaves at once when told to, and at the deadline."""
        request.cancel.raise_if_set()
        answer = b""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(0.3)  # a Unix socket connects at once or not at all
            try:
                connection.connect(self._path)
                connection.sendall(json.dumps(question).encode() + b"\n")
                while not answer.endswith(b"\n"):
                    left = max(0.0, request.deadline - time.monotonic())
                    ready, _, _ = select.select([connection, request.cancel], [], [], left)
                    request.cancel.raise_if_set()
                    if not ready:
                        raise Unavailable("the signer did not answer in time")
                    if not (part := connection.recv(4096)):
                        raise Unavailable("the signer hung up")
                    answer += part
            except OSError as error:
                raise Unavailable(f"the signer is not there: start it ({error.strerror})") from error
        said = json.loads(answer)
        if "error" in said:
            raise Unavailable(f"the signer says: {said['error']}")
        return dict(said)


if __name__ == "__main__":
    main()
