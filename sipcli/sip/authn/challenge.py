"""What a 401 or 407 asks: challenges parsed, judged and, where useless, skipped with a reason.

RFC 7616 section 3.3 (Digest), RFC 8760 section 2.4 (several challenges),
RFC 8898 section 4 (Bearer), RFC 3261 section 25.1 (``challenge``).  Everything
here is text from the network: it is capped, freed of control characters, and
nothing in it can raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sipcli.sip.syntax.grammar import quote

if TYPE_CHECKING:
    from sipcli.sip.syntax.message import Response

__all__ = [
    "AKA",
    "MAX_CHALLENGES",
    "MAX_CHALLENGE_TEXT",
    "MAX_NONCE",
    "SUPPORTED",
    "AuthParams",
    "Challenge",
    "Skipped",
    "parse_challenges",
    "split_challenges",
]

SUPPORTED = ("SHA-512-256", "SHA-512-256-sess", "SHA-256", "SHA-256-sess", "MD5", "MD5-sess")
"""The algorithms we can compute, in the spelling of the IANA registry (RFC 7616 section 6.1)."""

AKA = ("AKAv1-MD5", "AKAv2-MD5")
"""RFC 3310 and RFC 4169: a SIM must sign, for no password answers these.  Policy lets them in where there is one."""

# A server's text costs us memory, and we send most of it back: without caps a 401 amplifies (threat T13).
MAX_CHALLENGES = 20
MAX_CHALLENGE_TEXT = 8192
MAX_NONCE = 1024

_CANONICAL = {name.lower(): name for name in (*SUPPORTED, *AKA)}

# challenge = auth-scheme LWS auth-param *(COMMA auth-param)      auth-param = name EQUAL ( token / quoted-string )
# Several challenges may share one header value, so that a comma ends either a parameter or a challenge: what tells
# them apart is a word and white space before the name.  Unquoted values may hold more than a token (base64 nonces).
# A scheme may also come without parameters, or with a token68 that is none (`Negotiate oYIB`, RFC 7235 section 2.1).
# The last alternative takes whatever no other does, so that the items together always are the whole value.
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105 - RFC 3261's word, no secret
_ITEM = re.compile(
    rf"""
    (?: (?P<opening> {_TOKEN} ) [ \t]++ (?=[^ \t=,]) )?
        (?P<name> {_TOKEN} ) [ \t]*+ = [ \t]*+
        (?: " (?P<quoted> [^"\\]*+ (?>(?: \\. [^"\\]*+ )*) ) " | (?P<plain> [^\s",]++ ) )
        [ \t]*+ (?: ,[ \t,]*+ | \Z )
    | (?P<bare> {_TOKEN} ) (?>(?: [ \t]++ [A-Za-z0-9\-._~+/]++ =*+ )?) [ \t]*+ (?: ,[ \t,]*+ | \Z )
    | (?P<junk> .+ )
    """,
    re.DOTALL | re.VERBOSE,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but HTAB, which may stand where a space may


class Challenge(NamedTuple):
    """One challenge: what the server wants to see proven, and how.

    *scheme* is lower case; *algorithm* is in the registry's spelling, MD5 when
    the server names none; *qop* is empty for the form of RFC 2069; *proxy* says
    that it stood in Proxy-Authenticate, so that Proxy-Authorization answers it.
    Texts are unquoted.  *params* is all that was said, names in lower case.
    """

    scheme: str
    realm: str
    nonce: str = ""
    opaque: str | None = None
    stale: bool = False
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    userhash: bool = False
    charset: str | None = None
    domain: tuple[str, ...] = ()
    proxy: bool = False
    authz_server: str | None = None
    scope: tuple[str, ...] = ()
    error: str | None = None
    params: tuple[tuple[str, str], ...] = ()

    @property
    def header(self) -> str:
        """The header that answers it."""
        return "Proxy-Authorization" if self.proxy else "Authorization"

    @property
    def text(self) -> str:
        """What was asked, as a header has it; every value is quoted."""
        return f"{self.scheme.capitalize()} " + ", ".join(f"{name}={quote(value)}" for name, value in self.params)


class Skipped(NamedTuple):
    """A challenge we do not answer, and why: one short sentence for a person."""

    scheme: str
    realm: str
    algorithm: str
    why: str


_TOO_LONG = Skipped("", "", "", "too long")


class AuthParams(NamedTuple):
    """One challenge, or one set of credentials, before it means anything.

    *scheme* is as written; *params* has lower-case names and unquoted values;
    *flaw* is empty, or says why it cannot be used.
    """

    scheme: str
    params: dict[str, str]
    flaw: str = ""


def split_challenges(value: str) -> Iterator[AuthParams]:
    """The challenges of one header value, in order; also reads the value of Authorization.  Never raises.

    Each is read when it is asked for: whoever stops at a limit has paid for no more.
    """
    scheme, flaw = "", ""
    params: dict[str, str] = {}
    clean = value.isprintable()  # no control characters for sure, and quickly; else each value is looked at
    for item in _ITEM.finditer(value.lstrip(" \t,")):
        opening, name, quoted, plain, bare, junk = item.groups("")
        if (opening or bare) and (scheme or params):
            yield AuthParams(scheme, params, flaw)
        if opening or bare:
            scheme, params, flaw = opening or bare, {}, ""
        if name:
            text = plain or (_QUOTED_PAIR.sub(r"\1", quoted) if "\\" in quoted else quoted)
            key = name.lower()
            if key in params:
                # Two realms, or two nonces: who chooses between them can be made to choose wrong (RFC 7235 2.1).
                flaw = f"{key} is given twice"
            elif not clean and _CONTROL.search(text):
                flaw = "control characters"
            params[key] = text
        elif junk:
            flaw = "malformed"  # where a quote does not end, nobody can say what the rest belongs to
    if scheme or params or flaw:
        yield AuthParams(scheme, params, flaw)


def parse_challenges(response: Response) -> tuple[tuple[Challenge, ...], tuple[Skipped, ...]]:
    """What *response* asks, topmost first, and what of it we cannot use.  Never raises.

    Both headers are read whatever the status: a forking proxy gathers 401 and
    407 into one response (RFC 8760 section 2.5).
    """
    challenges: list[Challenge] = []
    skipped: list[Skipped] = []
    budget = MAX_CHALLENGE_TEXT
    for header, proxy in (("WWW-Authenticate", False), ("Proxy-Authenticate", True)):
        for value in response.all(header):
            if len(value) > budget:
                if _TOO_LONG not in skipped:  # a message has room for thousands
                    skipped.append(_TOO_LONG)
                continue
            budget -= len(value)
            for raw in split_challenges(value):
                if len(challenges) + len(skipped) >= MAX_CHALLENGES:
                    skipped.append(Skipped(raw.scheme.lower(), "", "", "too many challenges"))
                    return tuple(challenges), tuple(skipped)
                read = _read(raw, proxy=proxy)
                if isinstance(read, Challenge):
                    challenges.append(read)
                else:
                    skipped.append(read)
    return tuple(challenges), tuple(skipped)


def _read(raw: AuthParams, *, proxy: bool) -> Challenge | Skipped:
    scheme, params, flaw = raw.scheme.lower(), raw.params, raw.flaw
    if flaw or not scheme:
        return Skipped(scheme, "", "", flaw or "no scheme")
    if scheme == "digest":
        return _read_digest(params, proxy=proxy)
    if scheme == "bearer":
        return _read_bearer(params, proxy=proxy)
    # Basic lands here too: RFC 8760 section 2.6 forbids it, whatever the policy.
    return Skipped(scheme, params.get("realm", ""), params.get("algorithm", ""), "unknown scheme")


def _read_digest(params: dict[str, str], *, proxy: bool) -> Challenge | Skipped:
    """RFC 7616 section 3.3."""
    realm, nonce = params.get("realm"), params.get("nonce")
    named = params.get("algorithm", "MD5")
    algorithm = _CANONICAL.get(named.lower())
    offered = params.get("qop", "")
    qop = _known_qops(offered)
    why = ""
    if realm is None:
        why = "no realm"
    elif not nonce:
        why = "no nonce"
    elif len(nonce) > MAX_NONCE:
        why = f"the nonce is longer than {MAX_NONCE}"
    elif algorithm is None:
        why = "unknown algorithm"
    elif not qop and offered.strip(" \t,"):
        why = "unknown qop"
    elif algorithm.endswith("-sess") and not qop:
        why = "a -sess algorithm without qop"  # it depends on a cnonce, which we may not send: RFC 3261 22.4(8)
    if why or realm is None or nonce is None or algorithm is None:  # the rest is for the type checker
        return Skipped("digest", realm or "", named, why)
    charset = params.get("charset", "").upper()
    return Challenge(
        scheme="digest",
        realm=realm,
        nonce=nonce,
        opaque=params.get("opaque"),
        stale=params.get("stale", "").lower() == "true",
        algorithm=algorithm,
        qop=qop,
        userhash=params.get("userhash", "").lower() == "true",
        charset=charset if charset == "UTF-8" else None,  # the only value allowed
        domain=tuple(params["domain"].split()) if "domain" in params else (),
        proxy=proxy,
        params=tuple(params.items()),
    )


@lru_cache(maxsize=64)
def _known_qops(offered: str) -> tuple[str, ...]:
    """qop-options is a list; options that we do not know are ignored, as the RFC demands."""
    options = (option.strip().lower() for option in offered.split(","))
    return tuple(option for option in options if option in ("auth", "auth-int"))


def _read_bearer(params: dict[str, str], *, proxy: bool) -> Challenge | Skipped:
    """RFC 8898 section 4.  The realm is optional there; the authorization server is an https URI or nothing."""
    realm, server = params.get("realm", ""), params.get("authz_server")
    if server is not None and not server.lower().startswith("https://"):
        return Skipped("bearer", realm, "", "authz_server is no https URI")
    return Challenge(
        scheme="bearer",
        realm=realm,
        algorithm="",
        proxy=proxy,
        authz_server=server,
        scope=tuple(params.get("scope", "").split()),
        error=params.get("error"),
        params=tuple(params.items()),
    )
