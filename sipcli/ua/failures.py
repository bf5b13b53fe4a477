"""From how a request ended to the exception a caller catches: one sentence, and the next step as its hint.

A *why* is a :class:`~sipcli.sip.auth.GiveUp` or a sentence whose first word is
its kind (sip/events.py).  What came from the network is shown escaped and short.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sipcli.credentials import Credentials, NotFound
from sipcli.errors import (
    AgentClosed,
    AuthAbandoned,
    AuthError,
    AuthExpired,
    AuthRefused,
    Busy,
    Declined,
    MediaFailed,
    NetworkError,
    NoAnswer,
    NoCredentials,
    NotReachable,
    ProviderFailed,
    Refused,
    RemoteProtocolError,
    RequestFailed,
    ResolveError,
    ServerFailed,
    SipcliError,
    TlsError,
)
from sipcli.sip.auth import GiveUp
from sipcli.sip.reasons import REASONS
from sipcli.ua.auth.chain import ChainFailure

__all__ = ["AuthStory", "answered", "failure_of", "plain"]

_LONGEST = 64
_QUOTES = '"“”'

_BY_CODE: dict[int, type[RequestFailed]] = {
    404: NotReachable,
    408: NoAnswer,
    410: NotReachable,
    415: MediaFailed,
    480: NoAnswer,
    484: NotReachable,
    485: NotReachable,
    486: Busy,
    488: MediaFailed,
    600: Busy,
    603: Declined,
    604: NotReachable,
    606: MediaFailed,
}

_KINDS: dict[str, type[SipcliError]] = {
    "dns": ResolveError,
    "connect": NetworkError,
    "lost": NetworkError,
    "tls": TlsError,
    "closed": AgentClosed,
    "protocol": RemoteProtocolError,
    "size": NetworkError,
    "keys": MediaFailed,
}
_HINTS = {
    "dns": "check the name, or name the server with --registrar",
    "connect": "is the server running, and is the port right?",
    "lost": "is the server well, and does that port speak SIP? --ladder draws what went back and forth",
    "size": "send it in parts, or over TCP or TLS: --transport tcp",
    "tls": "does that port speak TLS?",
    "keys": "reach them by TLS, or agree on keys by DTLS: --srtp-keys dtls",
}


_OFFLINE = "is this machine on a network? sipcli doctor says whom it asks for names"
_BETTER_HINTS = {
    "the certificate there is for": "call the server by a name that its certificate has: --registrar sip:NAME",
    "the key log": "make room, name another place, or leave --keylog out",
    "the authorities in": "name a file of certificates, in PEM: --ca FILE, or ca_file in the account",
    "cannot be used": "correct cert_file and key_file in the account",
    "the key ": "correct key_file in the account",
    "has expired": "its owner must renew it; or is the clock of this machine wrong?",
    "is not trusted": "if you know the authority that signed it, name that: --ca FILE",
    "network is unreachable": _OFFLINE,
    "no name server could be asked": _OFFLINE,
    "pip install": "install that, or choose another transport: --transport tls, tcp or udp",
}
"""By words of what happened, where the kind alone says too little."""


@dataclass(slots=True)
class AuthStory:
    """What is known of one request's authentication, gathered while it went on."""

    failure: ChainFailure | None = None
    """What the broker said when it gave up."""
    realm: str | None = None
    used: str | None = None
    """Where the refused credentials came from: ``vault:voip/alice``."""
    skipped: tuple[str, ...] = ()
    """What the server offered and we may not answer, each with its reason."""
    blamed: Literal["credentials", "request", "either"] | None = None
    """What the last refusal was about."""

    def sent(self, realm: str, credentials: Credentials, provider: str | None) -> None:
        """*credentials* went out for *realm*, and did not help."""
        self.realm = realm
        self.used = credentials.ref or provider

    def refused(self, realm: str, credentials: Credentials, provider: str | None) -> None:
        self.blamed = "credentials"
        self.sent(realm, credentials, provider)


def plain(text: str) -> str:
    """Text from the network, made harmless and short (threat T12).

    Controls, separators and bidi become escapes, and so do quotes: it stands between ours, and must not end them.
    """
    shown = "".join(_escape(c) if c in _QUOTES or _unfit(c) else c for c in text[:_LONGEST])
    return shown + ("…" if len(text) > _LONGEST else "")


def answered(code: int, reason: str) -> str:
    """``403 Forbidden``; a phrase that is not the usual one is quoted as the server's own words (threat T12)."""
    if not reason or reason.lower() == REASONS.get(code, "").lower():
        return f"{code} {reason}".rstrip()
    return f"{code}, server says “{plain(reason)}”"


def _unfit(character: str) -> bool:
    return character != " " and unicodedata.category(character)[0] in "CZ"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def failure_of(
    what: str,
    account: str | None,
    *,
    code: int | None = None,
    reason: str = "",
    why: GiveUp | str | None = None,
    story: AuthStory | None = None,
    server: str | None = None,
) -> SipcliError:
    """The exception for *what* (``registration``, ``call``…) of *account*.

    *code* and *reason* are the final response's, *server* is who sent it.
    """
    story = story or AuthStory()
    if isinstance(why, GiveUp):
        return _auth(what, account, code, reason, why, story, server)
    if why is not None and code is None:
        return _network(what, account, why)
    if code is None:
        return NoAnswer(f"{what}: no answer")
    said = answered(code, reason) + (f" from {server}" if server else "")
    if code in (401, 407):
        return _auth(what, account, code, reason, GiveUp.REFUSED, story, server)
    if code == 403 and story.blamed == "request":
        return _forbidden(what, reason, said)
    kind = _BY_CODE.get(code, ServerFailed if 500 <= code < 600 else Refused)
    note = f" ({why})" if why else ""
    hint = "they are elsewhere now: follow with --redirect ask, or same-domain" if code in (300, 301, 302) else None
    return kind(f"{what} failed: {said}{note}", code=code, reason=reason, hint=hint)


def _forbidden(what: str, reason: str, said: str) -> Refused:
    """403 where the secret is known to be good."""
    hint = f"the server allows no such {what}: is the address right, and may this account reach it?"
    if what == "registration":
        hint = "the server took this secret before: either it bars the account now, or the secret has been changed"
    error = Refused(f"{what} forbidden: {said}; the secret is not to blame", code=403, reason=reason, hint=hint)
    error.refused = "request"
    return error


def _network(what: str, account: str | None, why: str) -> SipcliError:
    kind, _, text = why.partition(":")
    if kind == "timeout":
        return NoAnswer(f"{what}:{text}", hint="is the server up, and does a firewall let SIP through? try --ladder")
    error = _KINDS.get(kind, NetworkError)(f"{what}:{text}" if kind in _KINDS else f"{what}: {why}")
    error.hint = next((hint for words, hint in _BETTER_HINTS.items() if words in text), _HINTS.get(kind))
    return error


def _auth(
    what: str, account: str | None, code: int | None, reason: str, why: GiveUp, story: AuthStory, server: str | None
) -> SipcliError:
    failure = story.failure
    realm = failure.realm if failure is not None else story.realm
    provider = failure.provider if failure is not None else story.used
    said = answered(code, reason) if code is not None else "the server asked for credentials"
    where = (f" from {server}" if server else "") + (f' (realm "{plain(realm)}")' if realm else "")
    if why is GiveUp.NO_CHALLENGE:
        return RemoteProtocolError(f"{what}: {why.value}: {said}{where}")
    kind, words, hint = _auth_words(account or "ACCOUNT", why, failure, story.skipped)
    if kind is AuthRefused and why in _REFUSED_OURS:
        used = f"; the answer used {story.used}" if story.used else ""
        hint = _what_to_check(what, account or "ACCOUNT", code, story) or hint
        words = f"{what} refused: {said}{where}{used}"
    else:
        asked = ", ".join(part for part in (server, f'realm "{plain(realm)}"' if realm else None) if part)
        words += f" (skipped {'; '.join(plain(item) for item in story.skipped)})" if story.skipped else ""
        words = f"{what}: {words}" + (f" (asked by {asked})" if server else f" ({asked})" if asked else "")
    error = kind(words, code=code, reason=reason, realm=realm, provider=provider, hint=hint)
    if why in _REFUSED_OURS:
        error.refused = story.blamed or ("either" if code == 403 else "credentials")
    if isinstance(error, AuthExpired):
        error.awaited_person = failure is not None and failure.awaited_person
    return error


_REFUSED_OURS = frozenset((GiveUp.REFUSED, GiveUp.TOO_MANY_ATTEMPTS))


def _what_to_check(what: str, account: str, code: int | None, story: AuthStory) -> str | None:
    """The next step after a refusal of what we answered; None: nothing is known of that answer."""
    if story.blamed == "either":
        tells = f"sipcli register {account} --once"
        return f"either the server allows no such {what}, or the secret is wrong; whether it is: {tells}"
    if not story.used:
        return None
    hint = "is that the right secret, and the right user name (--username NAME)?"
    return f"{hint} If so, the server bars this account" if code == 403 else hint


_POLICY_HINTS = {
    "no qop": "min_qop in [policy] forbids it",
    "no integrity protection": "min_qop in [policy] forbids it",
    "algorithm not allowed by policy": "min_algorithm in [policy] forbids it",
    "MD5 without TLS is refused by policy": "register over TLS (--transport tls), or set md5_over_udp in [policy]",
    "a token is sent over verified TLS only": "register over TLS: --transport tls",
}


def _policy_hint(skipped: Sequence[str]) -> str:
    """The setting that stood in the way of the first challenge which only that kept from being answered."""
    reasons = [item.partition(": ")[2] for item in skipped]
    return next((_POLICY_HINTS[why] for why in reasons if why in _POLICY_HINTS), _LOOK)


_LOOK = "look at what the server asked with --ladder"


def _way_out(account: str, failure: ChainFailure | None) -> str:
    """How the secret can be had next time; a keychain is named only where one was asked, and is there."""
    if failure is not None and failure.room:
        return f"keep a password: sipcli auth save {account}, or hand it over: --password-file FILE"
    return "hand the password over: --password-file FILE"


def _auth_words(
    account: str, why: GiveUp, failure: ChainFailure | None, skipped: Sequence[str]
) -> tuple[type[AuthError], str, str | None]:
    """The class, what happened, and the next step."""
    asked = "" if failure is None or failure.provider is None else f"{failure.provider}: {failure.error}"
    match why:
        case GiveUp.ABANDONED | GiveUp.LOST:
            return AuthAbandoned, why.value, f"run it again and answer the prompt, or {_way_out(account, failure)}"
        case GiveUp.DEADLINE if failure is not None and failure.provider and not failure.awaited_person:
            return AuthExpired, f"{failure.provider} did not answer the challenge in time", "allow more: --max-wait S"
        case GiveUp.DEADLINE | GiveUp.PERSON | GiveUp.SIGN_IN:
            return AuthExpired, "nobody answered the challenge in time", "allow more time with --max-wait S"
        case GiveUp.NO_CREDENTIALS if failure is not None and not isinstance(failure.error, NotFound | None):
            return ProviderFailed, asked, f"try: sipcli auth test {account}"
        case GiveUp.NO_CREDENTIALS:
            detail = f" ({asked})" if asked else ""
            return NoCredentials, f"no credentials{detail}", _way_out(account, failure)
        case GiveUp.DOWNGRADE:
            forget = f"sipcli auth forget {account} --pins"
            return AuthRefused, why.value, f"if the server was set back on purpose, forget what it offered: {forget}"
        case GiveUp.AT_ODDS:
            hint = "whoever runs the server can offer one algorithm at both; --ladder shows which"
            return AuthRefused, why.value, hint
        case GiveUp.FOREIGN_ORIGIN:
            hint = "if it was your server: have it challenge calls when they begin; --ladder shows who asked"
            return AuthRefused, why.value, hint
        case GiveUp.REALM:
            return AuthRefused, why.value, "if it is yours, add it to realms in [policy]"
        case GiveUp.REALM_CHANGED:
            forget = f"sipcli auth forget {account} --pins"
            hint = f"if it is yours, add it to realms in [policy], or forget what was asked before: {forget}"
            return AuthRefused, why.value, hint
        case GiveUp.UNSUPPORTED:
            return AuthRefused, why.value, _policy_hint(skipped)
        case GiveUp.REFUSED | GiveUp.TOO_MANY_ATTEMPTS:
            return AuthRefused, why.value, f"try: sipcli auth test {account}"
        case _:
            return AuthRefused, why.value, _LOOK
