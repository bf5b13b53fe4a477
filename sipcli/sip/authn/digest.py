"""From a challenge and a secret to the value of Authorization (RFC 7616 sections 3.4 and 3.5, RFC 8760, RFC 8898).

Pure functions: the caller brings nonce count and cnonce.  The letters are the
RFC's: ``A1`` is who we are, ``A2`` what we ask for, ``H`` the hash, and the
response is ``H(H(A1):nonce:nc:cnonce:qop:H(A2))``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from sipcli.credentials import (
    BearerCredentials,
    Credentials,
    DigestInput,
    Ha1Credentials,
    PasswordCredentials,
    SignedCredentials,
    SigningCredentials,
)
from sipcli.errors import LocalProtocolError
from sipcli.sip.authn.challenge import AKA, SUPPORTED, Challenge, Skipped, parse_challenges
from sipcli.sip.syntax.grammar import escape, quote

__all__ = [
    "SUPPORTED",
    "Challenge",
    "Qop",
    "Skipped",
    "can_answer",
    "choose_qop",
    "compute_response",
    "digest_header",
    "hash_function",
    "is_sound",
    "make_ha1",
    "make_header",
    "make_input",
    "make_session_ha1",
    "make_signed_header",
    "parse_challenges",
    "signs",
    "verify_rspauth",
]

Qop: TypeAlias = Literal["", "auth", "auth-int"]
"""Quality of protection; empty is the form of RFC 2069, without cnonce and nc."""

_HEX = (re.compile(rb"[0-9A-Fa-f]{64}"), re.compile(rb"[0-9A-Fa-f]{32}"))  # an HA1 of SHA-2, and of MD5
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]++=*+")  # RFC 6750 section 2.1


def _md5(data: bytes) -> str:
    # FIPS hosts refuse MD5 unless told that nothing depends on its strength; here that is the server's choice.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


def _best_sha512_256() -> Callable[[bytes], str]:
    """OpenSSL's, or our own where hashlib has none: the name is not in ``algorithms_guaranteed``."""
    if "sha512_256" in hashlib.algorithms_available:
        return _sha512_256
    from sipcli.sip.authn.sha512_256 import sha512_256

    return sha512_256


_HASHES: Mapping[str, Callable[[bytes], str]] = {
    "MD5": _md5,
    "MD5-sess": _md5,
    "SHA-256": _sha256,
    "SHA-256-sess": _sha256,
    "SHA-512-256": _best_sha512_256(),
    "SHA-512-256-sess": _best_sha512_256(),
    "AKAv1-MD5": _md5,
    "AKAv2-MD5": _md5,
}


def hash_function(algorithm: str) -> Callable[[bytes], str]:
    """The RFC's ``H``: octets to lower-case hex.  *algorithm* is one of :data:`SUPPORTED` or :data:`AKA`."""
    return _HASHES[algorithm]


def _octets(text: str) -> bytes:
    """Text as it goes over the wire; octets that were no UTF-8 come out as they came in."""
    return text.encode("utf-8", "surrogateescape")


# -- A1: who we are --------------------------------------------------------------------------------


def make_ha1(challenge: Challenge, credentials: PasswordCredentials | Ha1Credentials) -> str:
    """``H(username:realm:password)`` in hex: as good as the password, inside its realm (RFC 7616 section 3.4.2).

    Raises LocalProtocolError when the secret was wiped: nothing must be hashed in its place.
    """
    secret = credentials.secret.reveal()
    if not secret:
        raise LocalProtocolError("this secret is empty, or was wiped")
    if isinstance(credentials, Ha1Credentials):
        return secret.decode("ascii").lower()
    who = f"{_user_text(challenge, credentials.username)}:{challenge.realm}:"
    return hash_function(challenge.algorithm)(_octets(who) + _password_octets(challenge, secret))


def make_session_ha1(algorithm: str, ha1: str, nonce: str, cnonce: str) -> str:
    """``H(A1)`` of a ``-sess`` algorithm: bound to the first nonce and cnonce of the session (section 3.4.2)."""
    return hash_function(algorithm)(_octets(f"{ha1}:{nonce}:{cnonce}"))


def _user_text(challenge: Challenge, username: str) -> str:
    """RFC 7616 section 4: with charset=UTF-8 both sides normalise, so that ``é`` is ``é`` however it was typed."""
    if challenge.charset is None or username.isascii():
        return username
    return unicodedata.normalize("NFC", username)


def _password_octets(challenge: Challenge, secret: bytes) -> bytes:
    if challenge.charset is None or secret.isascii():
        return secret
    try:
        return unicodedata.normalize("NFC", secret.decode()).encode()
    except UnicodeDecodeError:
        return secret  # a password that is no text: as it is


# -- the response ----------------------------------------------------------------------------------


def choose_qop(challenge: Challenge, *, integrity: bool = False) -> Qop:
    """``auth`` if offered, else ``auth-int``; the other way round with *integrity*; else the form of RFC 2069.

    Integrity of the body breaks behind every device that rewrites SDP, so it is
    taken only where the server, or our policy, insists.
    """
    order: tuple[Qop, Qop] = ("auth-int", "auth") if integrity else ("auth", "auth-int")
    for qop in order:
        if qop in challenge.qop:
            return qop
    return ""


def compute_response(
    algorithm: str, ha1: str, nonce: str, *, method: str, uri: str, qop: Qop, nc: int, cnonce: str, body: bytes = b""
) -> str:
    """RFC 7616 sections 3.4.1 and 3.4.3.  With an empty *method* it is the server's ``rspauth`` (section 3.5)."""
    h = hash_function(algorithm)
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += ":" + h(body)  # an absent body counts as the empty string: RFC 8760 section 2.6(7)
    middle = f":{nc:08x}:{cnonce}:{qop}:" if qop else ":"
    return h(_octets(f"{ha1}:{nonce}{middle}{h(_octets(a2))}"))


def verify_rspauth(expected: str, claimed: str) -> bool:
    """Compare in constant time: *claimed* is a stranger's guess until it proves otherwise."""
    return hmac.compare_digest(_octets(expected), _octets(claimed.lower()))


# -- the header ------------------------------------------------------------------------------------


def make_header(
    challenge: Challenge,
    username: str,
    ha1: str,
    method: str,
    uri: str,
    *,
    qop: Qop,
    nc: int,
    cnonce: str,
    body: bytes,
    nonce: str | None = None,
) -> str:
    """The credentials of one request.  *ha1* is H(A1); *nonce* differs from the challenge's after a nextnonce.

    Which values are quoted is history, and exact (RFC 7616 section 3.4): all but
    algorithm, qop, nc and userhash.
    """
    nonce = challenge.nonce if nonce is None else nonce
    response = compute_response(
        challenge.algorithm, ha1, nonce, method=method, uri=uri, qop=qop, nc=nc, cnonce=cnonce, body=body
    )
    return _spell(challenge, username, uri, response, nonce=nonce, qop=qop, nc=f"{nc:08x}", cnonce=cnonce)


def make_signed_header(challenge: Challenge, signed: SignedCredentials) -> str:
    """The same for a response that somebody else computed; AKA may ask to resynchronise (RFC 3310 section 3.4)."""
    inputs, signature = signed.inputs, signed.signature
    header = _spell(
        challenge,
        inputs.username,
        inputs.uri,
        signature.response,
        nonce=inputs.nonce,
        qop=inputs.qop,
        nc=inputs.nc,
        cnonce=inputs.cnonce,
    )
    return header if signature.auts is None else f'{header}, auts="{signature.auts}"'


def make_input(
    challenge: Challenge, username: str, method: str, uri: str, *, qop: Qop, nc: int, cnonce: str, body: bytes
) -> DigestInput:
    """What a signing key must be given to answer *challenge*: everything but the secret."""
    return DigestInput(
        username=_user_text(challenge, username),
        realm=challenge.realm,
        nonce=challenge.nonce,
        algorithm=challenge.algorithm,
        method=method,
        uri=uri,
        qop=qop,
        nc=f"{nc:08x}" if qop else "",
        cnonce=cnonce if qop else "",
        body_hash=hash_function(challenge.algorithm)(body) if qop == "auth-int" else "",
        charset=challenge.charset,
    )


def _spell(
    challenge: Challenge, username: str, uri: str, response: str, *, nonce: str, qop: Qop, nc: str, cnonce: str
) -> str:
    header = (
        f"Digest {_username(challenge, username)}, realm={quote(challenge.realm)}, nonce={quote(nonce)}, "
        f'uri={quote(uri)}, response="{response}"'
    )
    if challenge.algorithm != "MD5" or any(name == "algorithm" for name, _ in challenge.params):
        header += f", algorithm={challenge.algorithm}"
    if qop:
        # Without a qop in the challenge neither cnonce nor nc may be sent: RFC 3261 section 22.4(8).
        header += f", cnonce={quote(cnonce)}, qop={qop}, nc={nc}"
    if challenge.opaque is not None:
        header += f", opaque={quote(challenge.opaque)}"
    return header + ", userhash=true" if challenge.userhash else header


def _username(challenge: Challenge, username: str) -> str:
    """One of three ways to say who we are, never two (RFC 7616 section 3.4)."""
    text = _user_text(challenge, username)
    if challenge.userhash:
        return f'username="{hash_function(challenge.algorithm)(_octets(f"{text}:{challenge.realm}"))}"'
    if text.isascii() or challenge.charset is not None:
        return f"username={quote(text)}"
    # RFC 5987: charset'language'percent-encoded, for a server that did not say that it reads UTF-8.
    return f"username*=UTF-8''{escape(text, '!#$&+-.^_`|~')}"


def digest_header(
    challenge: Challenge,
    credentials: Credentials,
    method: str,
    uri: str,
    *,
    nc: int = 1,
    cnonce: str = "",
    body: bytes = b"",
    qop: Qop | None = None,
) -> str:
    """The value of (Proxy-)Authorization for one request, the whole computation at once.

    *uri* is the Request-URI octet for octet.  *qop* overrides the choice among
    those offered.  Raises LocalProtocolError when *credentials* cannot answer
    *challenge*.
    """
    if not can_answer(challenge, credentials):
        raise LocalProtocolError(f"these credentials cannot answer a {challenge.scheme} challenge for this realm")
    if isinstance(credentials, BearerCredentials):
        return "Bearer " + credentials.token.reveal().decode("ascii")
    if isinstance(credentials, SigningCredentials | SignedCredentials):
        raise LocalProtocolError("a signing key computes its answers itself")
    ha1 = make_ha1(challenge, credentials)
    if challenge.algorithm.endswith("-sess"):
        ha1 = make_session_ha1(challenge.algorithm, ha1, challenge.nonce, cnonce)
    chosen = choose_qop(challenge) if qop is None else qop
    return make_header(challenge, credentials.username, ha1, method, uri, qop=chosen, nc=nc, cnonce=cnonce, body=body)


def can_answer(challenge: Challenge, credentials: Credentials) -> bool:
    """Is this a secret for this realm, scheme and algorithm - not wiped, and not expired when it was given?

    Realms are compared exactly (RFC 7616 section 3.3); ``"*"`` is our own
    spelling for "any realm of the account".  An HA1 serves its own realm and
    algorithm: an MD5 one cannot answer SHA-256.  A signing key answers nothing
    itself, but what it signed does, and nothing else answers AKA.
    """
    if isinstance(credentials, SigningCredentials):
        return False
    if credentials.scheme != challenge.scheme or not credentials.secret:
        return False
    if credentials.expires_in is not None and not credentials.expires_in > 0:  # NaN, which JSON may hold, is neither
        return False
    if isinstance(credentials, BearerCredentials):
        fits = _B64TOKEN.fullmatch(credentials.token.reveal()) is not None
        return fits and credentials.realm in ("*", challenge.realm)
    if isinstance(credentials, SignedCredentials):
        return _was_signed_for(challenge, credentials)
    if challenge.algorithm in AKA:
        return False
    if isinstance(credentials, Ha1Credentials):
        algorithm = challenge.algorithm.removesuffix("-sess").lower()
        serves = credentials.realm == challenge.realm and credentials.algorithm.lower() == algorithm
        return serves and _HEX[algorithm == "md5"].fullmatch(credentials.ha1.reveal()) is not None
    return credentials.realm in ("*", challenge.realm)


def signs(challenge: Challenge, key: SigningCredentials) -> bool:
    """May *key* be given this challenge to sign?"""
    algorithms = {name.lower() for name in key.algorithms}
    fits = challenge.scheme == key.scheme and challenge.algorithm.removesuffix("-sess").lower() in algorithms
    return fits and key.realm in ("*", challenge.realm)


def is_sound(signed: SignedCredentials) -> bool:
    """Has the signature the form that its algorithm gives it?  Only AKA resynchronises."""
    algorithm, signature = signed.inputs.algorithm, signed.signature
    right_length = len(signature.response) == len(hash_function(algorithm)(b""))
    return right_length and (signature.auts is None or algorithm in AKA)


def _was_signed_for(challenge: Challenge, signed: SignedCredentials) -> bool:
    inputs = signed.inputs
    asked = (challenge.realm, challenge.nonce, challenge.algorithm)
    if (inputs.realm, inputs.nonce, inputs.algorithm) != asked:
        return False
    return signs(challenge, signed.key) and is_sound(signed)
