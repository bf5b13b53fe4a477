"""TLS contexts that trust few, and what a finished handshake proved (RFC 3261 section 26.3, RFC 5922; threat T19)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sipcli.errors import TlsError
from sipcli.ua.identity import certificate_identities, proves

__all__ = ["TlsFacts", "TlsSettings", "client_context", "error_words", "handshake_error", "server_context", "verify"]


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """Whom to trust and who we are.

    *ca_file* replaces the system's authorities; *cert_file* and *key_file* (PEM)
    are ours: needed to listen, sent to servers that ask.  *allow_wildcard*
    accepts ``*.example.com``, which RFC 5922 section 7.2 forbids.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    allow_wildcard: bool = False


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What one connection's handshake agreed on and proved; for people."""

    version: str
    cipher: str
    subject: str
    identities: tuple[str, ...]
    not_after: str


@lru_cache(maxsize=64)
def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """Verify the chain, TLS 1.2 at least; the name is :func:`verify`'s, for `ssl` compares as HTTP does.

    Not ``create_default_context``: that one writes our keys where ``SSLKEYLOGFILE``
    says (threat T31).  Raises TlsError when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _harden(context)
    try:
        if settings.ca_file is not None:
            context.load_verify_locations(cafile=str(settings.ca_file))
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"tls: the authorities in {settings.ca_file} cannot be read: {error_words(error)}") from error
    _load_own(context, settings)
    return context


@lru_cache(maxsize=64)
def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that come to us.  Raises TlsError without a certificate of our own."""
    if settings.cert_file is None:
        raise TlsError("tls: to listen for TLS, a certificate is needed", hint="set cert_file and key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load_own(context, settings)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load_own(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.cert_file is None:
        return
    try:
        # A password callback that has none: OpenSSL would ask at the terminal, on our loop.
        context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"tls: the certificate {settings.cert_file} cannot be used: {error_words(error)}") from error


def verify(connection: ssl.SSLObject, domain: str, settings: TlsSettings) -> TlsFacts:
    """After the handshake: is the peer *domain*?  Raises TlsError if not (RFC 5922 section 7.3)."""
    certificate = connection.getpeercert() or {}
    if not proves(certificate, domain, allow_wildcard=settings.allow_wildcard):
        found = certificate_identities(certificate)
        raise TlsError(f"tls: the certificate there is for {found}, not for {domain}")
    return _facts(connection, certificate)


def _facts(connection: ssl.SSLObject, certificate: Mapping[str, Any]) -> TlsFacts:
    cipher = connection.cipher()
    found = certificate_identities(certificate)
    subject = ", ".join(f"{kind}={value}" for rdn in certificate.get("subject", ()) for kind, value in rdn)
    return TlsFacts(
        version=connection.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=subject,
        identities=found.domains + found.addresses,
        not_after=str(certificate.get("notAfter", "")),
    )


def handshake_error(error: Exception, domain: str) -> TlsError:
    """One sentence about a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(f"tls: the certificate of {domain} is not trusted: {error.verify_message}")
    return TlsError(f"tls: no handshake with {domain}: {error_words(error)}")


def error_words(error: Exception) -> str:
    """What the system says about *error*, in lower case, without numbers and class names."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError):
        return "the other side hung up"
    return str(error) or type(error).__name__
