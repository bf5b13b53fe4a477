"""Asks a helper program: whatever store has a command line can be one (docs/providers/exec.md)."""

from __future__ import annotations

import dataclasses
import hmac
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    CredentialRequest,
    Credentials,
    Denied,
    DigestInput,
    Ha1Credentials,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Secret,
    Signature,
    SigningCredentials,
    Unavailable,
)
from sipcli_providers._exec_protocol import (
    CANCELLED,
    DENIED,
    NOT_FOUND,
    VERSION,
    Answer,
    Garbled,
    Verb,
    decode,
    encode,
)
from sipcli_providers._lookup import user_of
from sipcli_providers._options import Options
from sipcli_providers._patience import Wait
from sipcli_providers._program import Finished, environment, run_program, variable_names
from sipcli_providers._recent import Recent
from sipcli_providers._trusted import NEVER_SOON, absolute, trusted_program

_OURS = ("expiry", "state", "sign")
"""What we understand beyond the bare answer."""
_SIGNED = (
    "algorithm", "username", "realm", "method", "uri", "nonce", "qop", "nc", "cnonce", "body_hash", "charset",
)  # fmt: skip
"""What a response is computed over, in place of what the question says under the same keys."""
_MOST_STATES = 64
_MOST_MARKS = 256

Pairs = Iterable[tuple[str, str | bytes]]


class ExecProvider:
    """``type = "exec"``, ``command = "/usr/local/libexec/sipcli-pass"``."""

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._program, self._arguments = _command(options)
        self._variables = variable_names(options)
        self.interactive = options.flag("interactive")
        options.done()
        self._terminal = context.terminal
        self._capabilities: frozenset[str] | None = None
        self._negotiating = threading.Lock()
        self._given = _Marks()
        self._states: Recent[tuple[str, str, str], tuple[bytes, ...]] = Recent(_MOST_STATES)

    @property
    def problem(self) -> str | None:
        """Why the helper may not be run; None if it may."""
        try:
            trusted_program(self._program)
        except ProviderError as error:
            return str(error)
        return None

    def describe(self) -> str:
        problem = self.problem
        return f"helper {self._program}" if problem is None else problem

    def get(self, request: CredentialRequest) -> Credentials:
        """Raises NotFound, Denied, Unavailable or Cancelled as the helper's exit status says."""
        if _wants_sim(request) and "sign" not in self._negotiate(request):
            raise NotFound(f"{self._program.name} signs nothing, and the server wants a SIM to answer")
        finished = self._run("get", request, self._question(request))
        try:
            answer = decode(finished.answer)
            self._keep_state(request, answer)
            if key := self._key(request, answer):
                return key
            found = _credentials(request, answer, self.name, self._program.name)
        except Garbled as error:
            raise self._broken(str(error)) from None
        except ValueError:
            raise self._broken("what it gives contains a control character") from None
        finally:
            finished.wipe()
        self._given.add(request, found)
        return found

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Signature:
        """Have the helper compute the response with its key.  Raises as :meth:`get` does."""
        finished = self._run("sign", request, self._to_sign(request, digest))
        try:
            return _signature(decode(finished.answer))
        except ValueError as error:
            raise self._broken(str(error)) from None
        finally:
            finished.wipe()

    def remember(self, request: CredentialRequest, credentials: Credentials) -> None:
        """Have the helper store what the server accepted; what it gave it has already, and a key stays where it is."""
        if isinstance(credentials, SigningCredentials) or (request, credentials) in self._given:
            return
        if "store" not in self._negotiate(request):
            raise Unavailable(f"{self._program.name} keeps nothing: it does not announce capability[]=store")
        self._run("store", request, self._verdict(request, credentials)).wipe()
        self._given.add(request, credentials)

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None:
        """Have the helper erase the secret that the server refused, if it is what the helper gave or stored."""
        if (request, credentials) not in self._given or "erase" not in self._negotiate(request):
            return
        self._run("erase", request, self._verdict(request, credentials)).wipe()
        self._given.discard(request, credentials)

    # -- what it is told ----------------------------------------------------------------------------------------------

    def _question(self, request: CredentialRequest) -> Iterator[tuple[str, str | bytes]]:
        yield "version", VERSION
        yield from (("capability[]", word) for word in _OURS)
        yield "account", request.account
        yield "aor", request.aor
        yield "username", user_of(request)
        yield "realm", request.realm
        if request.origin:
            yield "origin", request.origin
            yield "tls", "verified" if request.verified else "none"
        yield "scheme", request.scheme
        yield "method", request.method
        if request.algorithms:
            yield "algorithm", request.algorithms[0]
        yield "reason", "rejected" if request.rejected else "initial"
        yield "attempt", str(request.attempt)
        yield "interactive", "true" if request.interactive else "false"
        yield "deadline_ms", str(max(0, round((request.deadline - time.monotonic()) * 1000)))
        yield from (("wwwauth[]", challenge) for challenge in request.challenges)
        yield from (("state[]", state) for state in self._states.find(_place(request)) or ())

    def _verdict(self, request: CredentialRequest, credentials: Credentials) -> Iterator[tuple[str, str | bytes]]:
        # The credentials' own user name, not the configured one: the helper may have given another.
        yield from ((key, value) for key, value in self._question(request) if key != "username")
        yield "username", credentials.username
        match credentials:
            case PasswordCredentials():
                yield "password", credentials.password.reveal()
            case Ha1Credentials():
                yield "ha1", credentials.ha1.reveal()
            case BearerCredentials():
                yield "bearer", credentials.token.reveal()

    def _to_sign(self, request: CredentialRequest, digest: DigestInput) -> Iterator[tuple[str, str | bytes]]:
        yield from (pair for pair in self._question(request) if pair[0] not in _SIGNED)
        yield from ((key, value) for key in _SIGNED if (value := getattr(digest, key)))

    # -- running it ---------------------------------------------------------------------------------------------------

    def _negotiate(self, request: CredentialRequest) -> frozenset[str]:
        """What the helper can do beyond get: asked once, and kept.  One that does not know the verb can do nothing."""
        wait = Wait.of(request)
        while not self._negotiating.acquire(timeout=0.1):
            wait.sleep(0)
        try:
            if self._capabilities is None:
                finished = self._start("capability", wait, [("version", VERSION)])
                try:
                    answer = decode(b"" if finished.status else finished.answer)
                except Garbled as error:
                    raise self._broken(str(error)) from None
                self._capabilities = answer.capabilities
            return self._capabilities
        finally:
            self._negotiating.release()

    def _run(self, verb: Verb, request: CredentialRequest, told: Pairs) -> Finished:
        """Raises what the exit status says; its complaint is shown to the person, and goes nowhere else."""
        finished = self._start(verb, Wait.of(request), told)
        if finished.status == 0:
            return finished
        finished.wipe()
        if finished.status == NOT_FOUND:
            raise NotFound(f"{self._program.name} has nothing for this account")
        for line in finished.complaint:
            self._terminal.show(f"{self.name}: {line}")
        if finished.status == CANCELLED:
            raise Cancelled(f"{self._program.name} was cancelled")
        if finished.status == DENIED:
            raise Denied(f"{self._program.name} may not give it: is its store locked?")
        how = f"with status {finished.status}" if finished.status > 0 else f"by signal {-finished.status}"
        raise Unavailable(f"{self._program.name} {verb} ended {how}: run it by hand to see why")

    def _start(self, verb: Verb, wait: Wait, told: Pairs) -> Finished:
        try:
            request = encode(told)
        except ValueError as error:
            raise Unavailable(f"{self._program.name} was not asked: {error}", retry_after=NEVER_SOON) from None
        variables = environment(self._variables)
        return run_program(self._program, [verb, *self._arguments], wait, told=request, variables=variables)

    def _key(self, request: CredentialRequest, answer: Answer) -> SigningCredentials | None:
        """Who names a user and gives no secret has a key, if he can sign at all."""
        user = answer.text("username")
        if not user or answer.secret() is not None or answer.flag("quit") or request.scheme != "digest":
            return None
        if "sign" not in self._negotiate(request):
            return None
        key = SigningCredentials(user, expires_in=_lifetime(answer, self._program.name), ref=self.name)
        return dataclasses.replace(key, algorithms=answer.algorithms) if answer.algorithms else key

    def _keep_state(self, request: CredentialRequest, answer: Answer) -> None:
        if answer.state:
            self._states.put(_place(request), answer.state)
        else:
            self._states.drop(_place(request))

    def _broken(self, why: str) -> Unavailable:
        return Unavailable(f"{self._program.name} does not keep to the protocol: {why}", retry_after=NEVER_SOON)


class _Marks:
    """What the helper holds as far as we know, recognisable and not readable: a keyed hash for each user and realm."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._marks: Recent[tuple[str, ...], bytes] = Recent(_MOST_MARKS)

    def add(self, request: CredentialRequest, credentials: Credentials) -> None:
        """The latest replaces what it gave before."""
        self._marks.put(self._whose(request, credentials), self._mark(credentials))

    def discard(self, request: CredentialRequest, credentials: Credentials) -> None:
        self._marks.drop(self._whose(request, credentials))

    def __contains__(self, given: tuple[CredentialRequest, Credentials]) -> bool:
        known = self._marks.find(self._whose(*given))
        return known is not None and hmac.compare_digest(known, self._mark(given[1]))

    def _whose(self, request: CredentialRequest, credentials: Credentials) -> tuple[str, ...]:
        return request.account, request.aor, request.realm, credentials.scheme, credentials.username

    def _mark(self, credentials: Credentials) -> bytes:
        return hmac.digest(self._key, credentials.secret.reveal(), "sha256")


def _command(options: Options) -> tuple[Path, tuple[str, ...]]:
    words = options.texts("command")
    if not words:
        raise ValueError(f'{options.where} needs command, for example command = "/usr/local/libexec/sipcli-pass"')
    if any("\0" in word for word in words):
        raise ValueError(f"{options.where} command must not hold NUL")
    return absolute(words[0], f"{options.where} command"), words[1:]


def _place(request: CredentialRequest) -> tuple[str, str, str]:
    return request.account, request.realm, request.scheme


def _credentials(request: CredentialRequest, answer: Answer, name: str, program: str) -> Credentials:
    """Raises NotFound, Cancelled, Garbled, and ValueError for a secret with a line break in it."""
    given = answer.secret()
    if given is None:
        if answer.flag("quit"):
            raise Cancelled(f"{program} says that nobody else shall be asked")
        raise NotFound(f"{program} has nothing for this account")
    kind, secret = given
    if kind == "response":
        raise Garbled("it gives a response to the verb get, which wants a secret")
    scheme = "bearer" if kind == "bearer" else "digest"
    if scheme != request.scheme:
        what = "a token" if scheme == "bearer" else "a password"
        raise NotFound(f"{program} has {what}, and the server asks for {request.scheme}")
    if not secret:
        raise NotFound(f"{program} has an empty {kind} for this account")
    left = _lifetime(answer, program)
    user = answer.text("username") or user_of(request)
    if kind == "bearer":
        return BearerCredentials(Secret(secret), expires_in=left, ref=name)
    if kind == "ha1":
        algorithm = request.algorithms[0] if request.algorithms else "MD5"
        return Ha1Credentials(user, request.realm, algorithm, Secret(secret), left, name)
    return PasswordCredentials(user, Secret(secret), expires_in=left, ref=name)


def _wants_sim(request: CredentialRequest) -> bool:
    """Nothing but AKA (RFC 3310) would do: no store need be unlocked for a password."""
    return bool(request.algorithms) and all(name.startswith("AKA") for name in request.algorithms)


def _signature(answer: Answer) -> Signature:
    """Raises ValueError, and never quotes: what should be a response may be a secret."""
    given = answer.secret()
    if given is None:
        raise Garbled("it answers the verb sign without a response")
    if given[0] != "response":
        raise Garbled(f"it gives {given[0]} to the verb sign, which wants a response")
    return Signature(answer.text("response") or "", answer.text("rspauth"), answer.text("auts"))


def _lifetime(answer: Answer, program: str) -> float | None:
    """Seconds until ``expires_utc``; None if the helper did not say."""
    text = answer.text("expires_utc")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Garbled("its expires_utc is not a whole number of seconds since 1970")
    left = float(text) - time.time()
    if left <= 0:
        raise NotFound(f"what {program} gives has expired")
    return left
