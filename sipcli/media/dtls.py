"""One DTLS association that agrees on keys for SRTP: octets in, octets out (RFC 5764), by OpenSSL.

The extra ``sipcli[dtls]``; imported when a call offers or takes it, never before.
"""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sipcli.media import srtp
from sipcli.media.fingerprint import Fingerprint
from sipcli.media.sdes import SUITES, SrtpKeys

__all__ = ["DtlsAssociation", "DtlsIdentity", "datagrams_of", "missing"]

MTU = 1200
"""Octets of our datagrams: passes every path that IPv6 allows, tunnels included."""

_DTLS_1_2 = 0xFEFD
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!SHA384:!aNULL"
_LABEL = b"EXTRACTOR-dtls_srtp"
_PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
}
"""RFC 7714 section 14.2 and RFC 5764 section 4.1.2, dearest first.  The 32 bit tag of SHA1_32 is not offered."""
_RECORD_HEADER = 13
_COOKIE = 16
"""Octets.  The HelloVerifyRequest is shorter than the shortest ClientHello then."""
_VALID = dt.timedelta(days=30)


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    if importlib.util.find_spec("OpenSSL") is None or importlib.util.find_spec("cryptography") is None:
        return "the package pyOpenSSL (pip install 'sipcli[dtls]')"
    return srtp.missing()


@dataclass(frozen=True, slots=True)
class DtlsIdentity:
    """A certificate and its key.  It proves nothing by itself: the session description vouches for its fingerprint."""

    certificate: Any = field(repr=False)
    key: Any = field(repr=False)
    fingerprint: Fingerprint

    @classmethod
    def generate(cls) -> DtlsIdentity:
        """A new one (ECDSA on P-256, self-signed), which names nobody (RFC 5763 section 6.1)."""
        x509 = importlib.import_module("cryptography.x509")
        ec = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ec")
        hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
        encoding = importlib.import_module("cryptography.hazmat.primitives.serialization").Encoding.DER
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sip")])
        today = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(today - _VALID).not_valid_after(today + _VALID)
        certificate = builder.sign(key, hashes.SHA256())
        return cls(certificate, key, Fingerprint.of(certificate.public_bytes(encoding)))


class DtlsAssociation:
    """One end of a handshake; the peer's certificate must have one of *fingerprints*.

    :meth:`receive` each datagram, :meth:`wake` when :meth:`timeout` has passed, send what :meth:`take` gives. Then
    :attr:`keys` or :attr:`failure` is set, once.  OpenSSL measures its time-outs itself, by the real clock.
    """

    def __init__(
        self,
        identity: DtlsIdentity,
        *,
        client: bool,
        fingerprints: Collection[Fingerprint],
        stranger: bool = False,
    ) -> None:
        """*stranger*: who calls first shows that he hears what is sent to him (RFC 6347 section 4.2.1)."""
        self._ssl = importlib.import_module("OpenSSL.SSL")
        self._client = client
        self._fingerprints = frozenset(fingerprints)
        self._matched = False
        self.mismatched = False
        """The peer has another certificate than the session description says: somebody is in between."""
        self.keys: SrtpKeys | None = None
        self.failure = ""
        """Why there will be no keys, for a sentence."""
        self._over = False
        self._outbox: list[bytes] = []
        self._connection = self._ssl.Connection(self._context(identity, stranger=stranger), None)
        self._connection.set_ciphertext_mtu(MTU)
        if client:
            self._connection.set_connect_state()
            self._step()
        else:
            self._connection.set_accept_state()

    def _context(self, identity: DtlsIdentity, *, stranger: bool) -> Any:
        ssl = self._ssl
        context = ssl.Context(ssl.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        context.set_options(ssl.OP_NO_QUERY_MTU | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET)
        if stranger:
            cookie = secrets.token_bytes(_COOKIE)  # of this address alone, for each has an association of its own
            context.set_options(ssl.OP_COOKIE_EXCHANGE)
            context.set_cookie_generate_callback(lambda _: cookie)
            context.set_cookie_verify_callback(lambda _, shown: secrets.compare_digest(shown, cookie))
        context.set_session_cache_mode(ssl.SESS_CACHE_OFF)
        context.set_cipher_list(_CIPHERS)
        context.set_tlsext_use_srtp(b":".join(_PROFILES))
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        # RFC 5763 section 5: both sides show a certificate, and the client, too, is refused without one.
        context.set_verify(ssl.VERIFY_PEER | ssl.VERIFY_FAIL_IF_NO_PEER_CERT, self._judge)
        return context

    def _judge(self, _connection: Any, certificate: Any, _error: int, depth: int, _fine: int) -> bool:
        """Only the fingerprint counts (RFC 8122 section 6.2): neither names, nor dates, nor who signed it."""
        if depth:
            return True
        # As it came: a parser stricter than OpenSSL would raise for a certificate that only a hash is wanted of.
        crypto = importlib.import_module("OpenSSL.crypto")
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        self._matched = any(fingerprint.fits(der) for fingerprint in self._fingerprints)
        self.mismatched = not self._matched
        return self._matched

    # -- in and out ---------------------------------------------------------

    def receive(self, datagram: bytes) -> None:
        """One datagram of the peer; what is no good is dropped, as DTLS has it (RFC 6347 section 4.1.2.7)."""
        if self._over or not datagram:
            return
        self._connection.bio_write(datagram)
        self._step()

    def timeout(self) -> float | None:
        """Seconds until :meth:`wake` is due; None while nothing waits for an answer."""
        if self._over or self.keys is not None:
            return None
        seconds: float | None = self._connection.DTLSv1_get_timeout()
        return seconds

    def wake(self) -> None:
        """Send the last flight again, if its time has come."""
        if self._over:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except self._ssl.Error:
            self._fail("the peer stopped answering in the DTLS handshake")
        self._flush()

    def take(self) -> list[bytes]:
        """Datagrams to send."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def close(self) -> None:
        """Say good-bye, which :meth:`take` then gives; nothing is done afterwards."""
        if not self._over and self.keys is not None:
            try:
                self._connection.shutdown()
            except self._ssl.Error:
                pass
            self._flush()
        self._over = True

    def _step(self) -> None:
        try:
            if self.keys is None:
                self._connection.do_handshake()
                self._finish()
            while not self._over:
                # Nothing is said over DTLS once there are keys, but repeated flights and alerts come here.
                self._connection.recv(2048)
        except self._ssl.WantReadError:
            pass
        except self._ssl.ZeroReturnError:
            self._over = True
        except self._ssl.Error as error:
            self._broke(error)
        self._flush()

    def _finish(self) -> None:
        suite = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if suite is None:
            self._fail("the peer's DTLS agrees on no profile for SRTP")
        elif not self._matched:
            self.mismatched = True
            self._fail("the peer showed no certificate that the session description knows")
        else:
            self.keys = self._export(suite)

    def _export(self, suite: str) -> SrtpKeys:
        """RFC 5764 section 4.2: the client's key, the server's, the client's salt, the server's."""
        _, key, salt = SUITES[suite]
        octets = self._connection.export_keying_material(_LABEL, 2 * (key + salt))
        client = octets[:key] + octets[2 * key : 2 * key + salt]
        server = octets[key : 2 * key] + octets[2 * key + salt :]
        return SrtpKeys(suite, client, server) if self._client else SrtpKeys(suite, server, client)

    def _broke(self, error: Exception) -> None:
        if self.keys is not None:
            # The keys are agreed on; no alert takes them back.
            self._over = True
        elif self.mismatched:
            self._fail("the peer's certificate has not the fingerprint that the session description gave")
        else:
            self._fail(f"the DTLS handshake broke: {_reason(error)}")

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        self._over = True

    def _flush(self) -> None:
        octets = b""
        try:
            while True:
                octets += self._connection.bio_read(65536)
        except self._ssl.Error:
            self._outbox += datagrams_of(octets)


def _reason(error: Exception) -> str:
    """The last line of OpenSSL's error queue."""
    try:
        return str(error.args[0][-1][2]) or "no reason given"
    except (IndexError, TypeError):
        return "no reason given"


def datagrams_of(octets: bytes, mtu: int = MTU) -> list[bytes]:
    """Records as datagrams: whole ones, in order, as many as fit (RFC 6347 section 4.1.1).

    OpenSSL's buffers forget where a datagram ended; every record says its length.
    """
    datagrams: list[bytes] = []
    current = b""
    while octets:
        length = _RECORD_HEADER + int.from_bytes(octets[11:13])
        record, octets = octets[:length], octets[length:]
        if current and len(current) + len(record) > mtu:
            datagrams.append(current)
            current = b""
        current += record
    return [*datagrams, current] if current else datagrams
