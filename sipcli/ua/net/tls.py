"""TLS contexts that trust few, and what a finished handshake proved (RFC 3261 section 26.3, RFC 5922; threat T19)."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sipcli.errors import TlsError
from sipcli.ua.net.identity import certificate_identities, proves

__all__ = [
    "TlsFacts",
    "TlsSettings",
    "client_context",
    "error_words",
    "handshake_error",
    "parting_words",
    "server_context",
    "verify",
    "web_context",
]


class TlsSettings(NamedTuple):
    """Whom to trust and who we are.

    *ca_file* replaces the system's authorities; *cert_file* and *key_file* (PEM)
    are ours: needed to listen, sent to servers that ask.  *allow_wildcard*
    accepts ``*.example.com``, which RFC 5922 section 7.2 forbids.  To *key_log*, a
    file that is there and ours alone, the keys of each connection are added
    (draft-ietf-tls-keylogfile): who has it can read what was captured.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    allow_wildcard: bool = False
    key_log: Path | None = None


class TlsFacts(NamedTuple):
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
    says (threat T31); ours are written where ``key_log`` says, and nowhere else.
    Raises TlsError when a file cannot be used.
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
    _log_keys(context, settings.key_log)
    return context


def web_context(ca_file: Path | None) -> ssl.SSLContext:
    """For servers that prove their names as those of HTTP do (STUN and TURN: RFC 8489 section 6.2.3).

    No ``SSLKEYLOGFILE`` here either.  OSError, to which SSLError belongs, when *ca_file* cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


@lru_cache(maxsize=64)
def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that come to us.  Raises TlsError without a certificate of our own."""
    if settings.cert_file is None:
        raise TlsError("tls: to listen for TLS, a certificate is needed", hint="set cert_file and key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load_own(context, settings)
    _log_keys(context, settings.key_log)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load_own(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.cert_file is None:
        return
    _judge_key(settings.key_file or settings.cert_file)
    try:
        # A password callback that has none: OpenSSL would ask at the terminal, on our loop.
        context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"tls: the certificate {settings.cert_file} cannot be used: {error_words(error)}") from error


def _log_keys(context: ssl.SSLContext, path: Path | None) -> None:
    """Have *context* add its keys to *path*.

    OpenSSL opens it by its name, and follows links: it is looked at before, and again when it is open (T32).
    """
    if path is None:
        return
    try:
        before = _private(path)
        context.keylog_filename = str(path)
        if _private(path) != before:
            raise TlsError(f"tls: the key log {path} is not the file that it was", hint="name a place that is yours")
    except OSError as error:
        raise TlsError(f"tls: the key log {path} cannot be written: {error_words(error)}") from error


def _private(path: Path) -> tuple[int, int]:
    """What identifies the file at *path*.  Raises TlsError where it is not ours alone, OSError where it is not."""
    status = os.lstat(path)
    ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
    if not ours or stat.S_IMODE(status.st_mode) & 0o077:
        raise TlsError(f"tls: the key log {path} is a link, or not ours alone", hint="name another file")
    return status.st_dev, status.st_ino


def _judge_key(path: Path) -> None:
    """A private key is a secret like any other: not for others to read, and of no use while it is encrypted (T15)."""
    try:
        # The descriptor that is judged is the one that is read; a named pipe must not wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            status = os.fstat(stream.fileno())
            text = stream.read(1 << 16)
    except OSError as error:
        raise TlsError(f"tls: the key {path} cannot be read: {error_words(error)}") from error
    mode = stat.S_IMODE(status.st_mode)
    # Debian's way for daemons is root:ssl-cert 0640.
    forbidden = 0o037 if status.st_uid == 0 and os.geteuid() != 0 else 0o077
    if os.name == "posix" and mode & forbidden:
        raise TlsError(f"tls: the key {path} can be read by others (mode {mode:04o}): chmod 600 {path}")
    if b"ENCRYPTED" in text:
        raise TlsError(
            f"tls: the key {path} is protected by a passphrase, and sipcli does not ask for one: "
            f"write it without, for you alone (umask 077; openssl pkey -in {path} -out NEW.key)"
        )


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
    if _spoilt_by_key_log(error):
        return TlsError(_KEY_LOG_FULL)
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(f"tls: the certificate of {domain} is not trusted: {error.verify_message}")
    return TlsError(f"tls: no handshake with {domain}: {error_words(error)}")


def parting_words(error: Exception) -> str:
    """Why a connection ended, as one sentence of a kind (:mod:`sipcli.sip.events`).

    With TLS 1.3 a server looks at our certificate when we think that all is well, and says so in an alert.
    """
    if _spoilt_by_key_log(error):
        return _KEY_LOG_FULL
    if not isinstance(error, ssl.SSLError) or not error.reason or "ALERT" not in error.reason:
        return f"lost: {error_words(error)}"
    if "CERTIFICATE_REQUIRED" in error.reason:
        return "tls: the server wants a certificate of ours: set cert_file and key_file"
    if "CERTIFICATE" in error.reason or "UNKNOWN_CA" in error.reason:
        return f"tls: the server does not take our certificate: {error_words(error)}"
    return f"tls: the server ended it: {error_words(error)}"


_KEY_LOG_FULL = "tls: the key log cannot be written: its disk is full, most likely"


def _spoilt_by_key_log(error: Exception) -> bool:
    """OpenSSL leaves what became of the key log to whatever reads or writes next, as an error of its input and output.

    All else goes in and out by memory, where there is none.
    """
    return isinstance(error, ssl.SSLError) and error.library == "BIO"


def error_words(error: Exception) -> str:
    """What the system says about *error*, in lower case, without numbers and class names."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, ssl.SSLError):  # its number is OpenSSL's own, and none of the system's
        return str(error.strerror or error).partition(" (_ssl.c")[0].lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError):
        return "the other side hung up"
    return str(error) or type(error).__name__
