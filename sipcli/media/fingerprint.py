"""DTLS in the session description: ``a=fingerprint``, ``a=setup``, ``a=tls-id`` (RFC 8122, RFC 4145, RFC 8842)."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sipcli.media.sdp import Attribute, MediaDescription, SessionDescription

__all__ = ["DtlsRole", "DtlsTerms", "Fingerprint", "PeerDtls", "find_dtls"]

DtlsRole: TypeAlias = Literal["client", "server"]
_Setup: TypeAlias = Literal["active", "passive", "actpass"]

_DIGESTS = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
"""RFC 8122 section 5; SHA-1 and older say too little of whose certificate it is."""
_MOST = 8
_SETUPS: dict[str, _Setup] = {"active": "active", "passive": "passive", "actpass": "actpass"}
_TLS_ID = re.compile(r"[A-Za-z0-9+/_-]{20,255}")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate's DER encoding; *algorithm* as RFC 8122 names it."""

    algorithm: str
    digest: bytes

    @classmethod
    def of(cls, der: bytes) -> Fingerprint:
        """SHA-256, which everybody must know (RFC 8122 section 5)."""
        return cls("sha-256", hashlib.sha256(der).digest())

    @classmethod
    def parse(cls, value: str) -> Fingerprint | None:
        """The value of ``a=fingerprint``; None for what is malformed, or by a hash that we do not trust."""
        algorithm, _, text = value.strip().partition(" ")
        algorithm, name = algorithm.lower(), _DIGESTS.get(algorithm.lower())
        if name is None or not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){1,63}", text.strip()):
            return None
        digest = bytes.fromhex(text.replace(":", ""))
        return cls(algorithm, digest) if len(digest) == hashlib.new(name).digest_size else None

    def fits(self, der: bytes) -> bool:
        return hmac.compare_digest(hashlib.new(_DIGESTS[self.algorithm], der).digest(), self.digest)

    def attribute(self) -> Attribute:
        return Attribute("fingerprint", f"{self.algorithm} {self.digest.hex(':').upper()}")


@dataclass(frozen=True, slots=True)
class DtlsTerms:
    """What an offer and its answer say of the association.  Equal terms are the same one (RFC 8842 section 4).

    *ids* are ``a=tls-id``, ours and the peer's.  *place*: where a peer without one is, who would ask for a new
    association by going elsewhere.
    """

    role: DtlsRole
    fingerprints: frozenset[Fingerprint]
    ids: tuple[str, str | None]
    place: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PeerDtls:
    """What one description says; *setup* is None where it says nothing of it."""

    fingerprints: frozenset[Fingerprint]
    setup: _Setup | None
    tls_id: str | None


def find_dtls(description: SessionDescription, media: MediaDescription) -> PeerDtls | None:
    """What *media* offers or answers; None where no certificate could be checked, or DTLS is put off (``holdconn``)."""
    fingerprints = _fingerprints(media.attributes) or _fingerprints(description.attributes)
    setup = media.find("setup")
    if setup is None:
        setup = description.find("setup")
    if not fingerprints or (setup is not None and setup not in _SETUPS):
        return None
    tls_id = media.find("tls-id") or ""
    return PeerDtls(
        frozenset(fingerprints),
        None if setup is None else _SETUPS[setup],
        tls_id if _TLS_ID.fullmatch(tls_id) else None,
    )


def _fingerprints(attributes: tuple[Attribute, ...]) -> list[Fingerprint]:
    """The first few: one certificate has no use for more."""
    values = [attribute.value or "" for attribute in attributes if attribute.name == "fingerprint"][:_MOST]
    return [fingerprint for value in values if (fingerprint := Fingerprint.parse(value)) is not None]
