"""The response of a digest for those who hold the password and are asked to sign (RFC 7616 section 3.4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sipcli.credentials import DigestInput, Signature


def sign(digest: DigestInput, password: bytes, *, auts: str | None = None) -> Signature:
    """The signature over *digest*, with the server's expected proof where it does not cover a body."""
    h = _hash(digest.algorithm)
    ha1 = h(f"{digest.username}:{digest.realm}:".encode("utf-8", "surrogateescape") + password)
    middle = f"{digest.nc}:{digest.cnonce}:{digest.qop}:" if digest.qop else ""

    def response(method: str) -> str:
        a2 = f"{method}:{digest.uri}" + (f":{digest.body_hash}" if digest.qop == "auth-int" else "")
        hashed = h(a2.encode("utf-8", "surrogateescape"))
        return h(f"{ha1}:{digest.nonce}:{middle}{hashed}".encode("utf-8", "surrogateescape"))

    rspauth = None if digest.qop == "auth-int" or auts is not None else response("")
    return Signature(response(digest.method), rspauth, auts)


def _hash(algorithm: str) -> Callable[[bytes], str]:
    if not algorithm.endswith("MD5"):
        raise ValueError(f"no signature by {algorithm}")
    # FIPS hosts refuse MD5 unless told that nothing depends on its strength; here that is the server's choice.
    return lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest()
