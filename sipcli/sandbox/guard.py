"""Who may pass: the server's side of Digest and Bearer (RFC 3261 section 22, RFC 7616, RFC 8760, RFC 8898)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias
from urllib.parse import unquote

from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.nonces import Nonce, NonceBook
from sipcli.sip.authn.challenge import split_challenges
from sipcli.sip.authn.digest import Qop, compute_response, hash_function, make_session_ha1, verify_rspauth
from sipcli.sip.syntax.grammar import quote
from sipcli.sip.syntax.message import Request

__all__ = ["Guard", "Passed", "Refused"]

Header: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Passed:
    """*user* proved who they are (of several realms, in the first); *headers* belong into the response."""

    user: str
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer *status* with *headers*: a challenge, or a final no."""

    status: int
    headers: tuple[Header, ...] = ()


class _Finding(Enum):
    MISSING = auto()
    WRONG = auto()
    STALE = auto()
    GOOD = auto()


@dataclass(slots=True)
class _Proof:
    """What was found for one realm."""

    finding: _Finding
    user: str = ""
    nonce: Nonce | None = None
    params: dict[str, str] | None = None
    ha1: str = ""


@dataclass(frozen=True, slots=True)
class _Demand:
    realm: str
    proxy: bool

    @property
    def asks(self) -> str:
        return "Proxy-Authenticate" if self.proxy else "WWW-Authenticate"

    @property
    def answers(self) -> str:
        return "Proxy-Authorization" if self.proxy else "Authorization"

    @property
    def info(self) -> str:
        return "Proxy-Authentication-Info" if self.proxy else "Authentication-Info"


class Guard:
    """Judges requests.

    ``wrong`` counts wrong passwords by user name; ``counts`` counts findings:
    ``challenged``, ``passed``, ``wrong``, ``stale``, ``replayed``, ``barred``.
    """

    def __init__(self, config: SandboxConfig, random: Callable[[int], bytes]) -> None:
        self.config = config
        self.wrong: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._nonces = NonceBook(random)
        self._stale_rounds: Counter[str] = Counter()

    def judge(self, request: Request, now: float) -> Passed | Refused:
        """One request: does it carry a good answer for every realm?"""
        demands = self._demands(request)
        proofs = [(demand, self._examine(request, demand, now)) for demand in demands]
        if self._barred(proofs):
            self.counts["barred"] += 1
            return Refused(403)
        if any(proof.finding is _Finding.WRONG for _, proof in proofs) and self.config.wrong_status is not None:
            return Refused(self.config.wrong_status)
        open_ = [(demand, proof) for demand, proof in proofs if proof.finding is not _Finding.GOOD]
        if not open_ and self._stale_rounds[request.call_id] < self.config.stale_rounds:
            self._stale_rounds[request.call_id] += 1
            open_ = [(demand, _Proof(_Finding.STALE)) for demand in demands]
        if open_:
            return self._challenge(open_[:1] if self.config.one_by_one else open_, now)
        self.counts["passed"] += 1
        return self._passed(request, proofs, now)

    def _demands(self, request: Request) -> list[_Demand]:
        config = self.config
        proxy = request.method != "REGISTER" and config.call_status == 407
        return [
            *(_Demand(realm, proxy) for realm in config.realms),
            *(_Demand(realm, True) for realm in config.proxy_realms),
        ]

    def _barred(self, proofs: list[tuple[_Demand, _Proof]]) -> bool:
        limit = self.config.wrong_limit
        return limit is not None and any(proof.user and self.wrong[proof.user] >= limit for _, proof in proofs)

    # -- reading an answer ----------------------------------------------------------------------

    def _examine(self, request: Request, demand: _Demand, now: float) -> _Proof:
        for value in request.all(demand.answers):
            for scheme, params, flaw in split_challenges(value):
                if not flaw and scheme.lower() == "digest" and params.get("realm") == demand.realm:
                    return self._check_digest(request, params, now)
            if value[:7].lower() == "bearer ":
                user = self.config.tokens.get(value[7:].strip())
                return _Proof(_Finding.GOOD, user) if user is not None else self._count_wrong(_Proof(_Finding.WRONG))
        return _Proof(_Finding.MISSING)

    def _check_digest(self, request: Request, params: dict[str, str], now: float) -> _Proof:
        nonce = self._nonces.find(params.get("nonce", ""))
        if nonce is None or nonce.realm != params["realm"]:
            return _Proof(_Finding.MISSING)  # of another server, or of our own before a restart: ask anew
        user = self._user(params, nonce)
        proof = _Proof(_Finding.WRONG, user, nonce, params)
        password = self.config.password(user, nonce.realm)
        if password is None or not self._digest_is_right(request, proof, password):
            return self._count_wrong(proof)
        return self._check_freshness(proof, now)

    def _count_wrong(self, proof: _Proof) -> _Proof:
        self.counts["wrong"] += 1
        self.wrong[proof.user] += 1
        return proof

    def _digest_is_right(self, request: Request, proof: _Proof, password: str) -> bool:
        nonce, params = proof.nonce, proof.params
        assert nonce is not None
        assert params is not None
        offered = () if self.config.qop is None else tuple(word.strip() for word in self.config.qop.split(","))
        qop: Qop = "auth" if params.get("qop") == "auth" else "auth-int" if params.get("qop") == "auth-int" else ""
        if params.get("uri") != request.uri_text or (offered and qop not in offered) or (not offered and qop):
            return False
        if params.get("algorithm", "MD5") != nonce.algorithm or (qop and not params.get("cnonce")):
            return False
        cnonce = params.get("cnonce", "")
        ha1 = hash_function(nonce.algorithm)(f"{proof.user}:{nonce.realm}:{password}".encode())
        if nonce.algorithm.endswith("-sess"):
            ha1 = make_session_ha1(nonce.algorithm, ha1, nonce.text, cnonce)
        proof.ha1 = ha1
        expected = compute_response(
            nonce.algorithm,
            ha1,
            nonce.text,
            method=request.method,
            uri=request.uri_text,
            qop=qop,
            nc=_nonce_count(params),
            cnonce=cnonce,
            body=request.body,
        )
        return verify_rspauth(expected, params.get("response", ""))

    def _check_freshness(self, proof: _Proof, now: float) -> _Proof:
        """The secret is right; is the nonce still?  A count that does not grow is a replay (RFC 7616 section 3.4)."""
        nonce, params = proof.nonce, proof.params
        assert nonce is not None
        assert params is not None
        config = self.config
        count = _nonce_count(params)
        if "qop" in params and count <= nonce.last_nc:
            self.counts["replayed"] += 1
            proof.finding = _Finding.STALE
        elif now - nonce.issued_at > config.nonce_lifetime or (
            config.nonce_uses is not None and nonce.uses >= config.nonce_uses
        ):
            proof.finding = _Finding.STALE
        else:
            nonce.last_nc = count
            nonce.uses += 1
            proof.finding = _Finding.GOOD
        return proof

    def _user(self, params: dict[str, str], nonce: Nonce) -> str:
        """One of three ways to say it (RFC 7616 section 3.4)."""
        if "username*" in params:
            charset, _, text = params["username*"].partition("''")
            return unquote(text) if charset.upper() == "UTF-8" else ""
        name = params.get("username", "")
        if params.get("userhash", "").lower() != "true":
            return name
        h = hash_function(nonce.algorithm)
        users = self.config.users_of(nonce.realm)
        return next((user for user in users if h(f"{user}:{nonce.realm}".encode()) == name), "")

    # -- writing a challenge --------------------------------------------------------------------

    def _challenge(self, open_: list[tuple[_Demand, _Proof]], now: float) -> Refused:
        self.counts["challenged"] += 1
        headers: list[Header] = []
        for demand, proof in open_:
            stale = proof.finding is _Finding.STALE
            if stale:
                self.counts["stale"] += 1
            headers += self._challenge_headers(demand, stale=stale and self.config.say_stale, now=now)
        status = 401 if any(not demand.proxy for demand, _ in open_) else 407
        return Refused(status, tuple(headers))

    def _challenge_headers(self, demand: _Demand, *, stale: bool, now: float) -> list[Header]:
        config = self.config
        headers: list[Header] = []
        if config.tokens:
            parts = [f"realm={quote(demand.realm)}"]
            parts += [f"scope={quote(config.scope)}"] if config.scope else []
            parts += [f"authz_server={quote(config.authz_server)}"] if config.authz_server else []
            headers.append((demand.asks, "Bearer " + ", ".join(parts)))
        for algorithm in config.algorithms:
            nonce = self._nonces.issue(demand.realm, algorithm, now)
            parts = [f"realm={quote(demand.realm)}", f'nonce="{nonce.text}"', f"algorithm={algorithm}"]
            parts += [f'qop="{config.qop}"'] if config.qop else []
            parts += [f"opaque={quote(config.opaque)}"] if config.opaque is not None else []
            parts += ["stale=true"] if stale else []
            parts += ["userhash=true"] if config.userhash else []
            parts += [f"charset={config.charset}"] if config.charset else []
            headers.append((demand.asks, "Digest " + ", ".join(parts)))
        return headers

    # -- being proven in turn -------------------------------------------------------------------

    def _passed(self, request: Request, proofs: list[tuple[_Demand, _Proof]], now: float) -> Passed:
        headers: list[Header] = []
        if self.config.auth_info or self.config.next_nonce:
            for demand, proof in proofs:
                if proof.nonce is not None and proof.params is not None:
                    headers.append((demand.info, self._info(proof.nonce, proof, proof.params, now)))
        return Passed(proofs[0][1].user if proofs else "", tuple(headers))

    def _info(self, nonce: Nonce, proof: _Proof, params: dict[str, str], now: float) -> str:
        parts: list[str] = []
        if self.config.auth_info:
            qop: Qop = "auth-int" if params.get("qop") == "auth-int" else "auth" if "qop" in params else ""
            rspauth = compute_response(
                nonce.algorithm,
                proof.ha1,
                nonce.text,
                method="",
                uri=params["uri"],
                qop=qop,
                nc=_nonce_count(params),
                cnonce=params.get("cnonce", ""),
            )
            parts.append(f'rspauth="{rspauth}"')
            if qop:
                parts += [f"qop={qop}", f"cnonce={quote(params['cnonce'])}", f"nc={params['nc']}"]
        if self.config.next_nonce:
            parts.append(f'nextnonce="{self._nonces.issue(nonce.realm, nonce.algorithm, now).text}"')
        return ", ".join(parts)


def _nonce_count(params: dict[str, str]) -> int:
    text = params.get("nc", "")
    return int(text, 16) if len(text) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in text) else 0
