"""A signer whose key the code under test never sees; the response is computed by hand, straight from RFC 7616."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sipcli.credentials import (
    CredentialRequest,
    DigestInput,
    Signature,
    SignedCredentials,
    SigningCredentials,
)
from tests.support.brokerkit import HANG, FakeProvider

_NAMES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256", "AKAv1-MD5": "md5", "AKAv2-MD5": "md5"}


def response(digest: DigestInput, secret: str, *, method: str | None = None) -> str:
    """What a server that knows *secret* expects; with an empty *method* its own rspauth."""

    def h(text: str) -> str:
        return hashlib.new(_NAMES[digest.algorithm.removesuffix("-sess")], text.encode()).hexdigest()

    a1 = h(f"{digest.username}:{digest.realm}:{secret}")
    if digest.algorithm.endswith("-sess"):
        a1 = h(f"{a1}:{digest.nonce}:{digest.cnonce}")
    a2 = f"{digest.method if method is None else method}:{digest.uri}"
    if digest.qop == "auth-int":
        a2 += f":{digest.body_hash}"
    middle = f"{digest.nc}:{digest.cnonce}:{digest.qop}:" if digest.qop else ""
    return h(f"{a1}:{digest.nonce}:{middle}{h(a2)}")


def key(username: str = "alice", **more: Any) -> SigningCredentials:
    return SigningCredentials(username, **more)


def signed(name: SigningCredentials, digest: DigestInput, secret: str = "right", **more: Any) -> SignedCredentials:
    return SignedCredentials(name, digest, Signature(response(digest, secret), **more))


class Signer(FakeProvider):
    """Gives keys as a FakeProvider gives passwords, and signs with *secret*; *signatures* are answers in its place."""

    def __init__(self, *answers: Any, secret: str = "right", signatures: tuple[Any, ...] = (), **more: Any) -> None:
        super().__init__(*(answers or (key(ref="store:alice"),)), **more)
        self.secret = secret
        self.signatures = list(signatures)
        self.asked: list[tuple[CredentialRequest, SigningCredentials, DigestInput]] = []
        self.forgotten: list[Any] = []

    @property
    def inputs(self) -> list[DigestInput]:
        return [digest for _, _, digest in self.asked]

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        self.asked.append((request, credentials, digest))
        answer: Any = self.signatures.pop(0) if self.signatures else None
        if answer is None:
            return Signature(response(digest, self.secret))
        if isinstance(answer, Callable) and answer is not HANG:  # type: ignore[arg-type]
            answer = answer(digest)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def forget(self, request: CredentialRequest, credentials: Any) -> None:
        self.forgotten.append(credentials)
