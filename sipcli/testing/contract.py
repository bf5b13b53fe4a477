"""What every provider owes the chain, as tests."""

from __future__ import annotations

import abc
import contextlib
import io
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    DigestInput,
    Forgets,
    Ha1Credentials,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Remembers,
    Secret,
    Signature,
    SigningCredentials,
    Signs,
)
from sipcli.testing.fakes import ask, ask_to_sign, make_context, make_request

__all__ = ["ProviderContract"]

_CANCEL_WITHIN = 0.5
"""Seconds in which a provider must leave when its cancel signal is set; after that its lane gives it up."""
_ROUNDS = 3
"""How often it may try: a machine that stands still makes it late once, what it waits for does so every time."""


class ProviderContract(abc.ABC):
    """What every provider owes the chain.  Inherit it in a test class and say how yours is made.

    Every test makes its own provider.  Those that need what a provider cannot
    offer (a hanging store, an unknown account) skip nothing silently: override
    the method that describes it, or they do not exist for yours.
    """

    remote_text: ClassVar[str] = '../../x"\r\nVia: evil\x1b[2J\u202e{account}'
    """A realm as an attacker would choose it."""

    @abc.abstractmethod
    def make_provider(self, context: ProviderContext) -> CredentialProvider:
        """The provider; *context* has a name, a FakeTerminal, a time-out and no options: ``dataclasses.replace`` it."""

    @abc.abstractmethod
    def known(self) -> tuple[CredentialRequest, str]:
        """A request that it answers, and the secret it must answer with; of one that signs, what nobody may see."""

    def unknown(self) -> CredentialRequest | None:
        """A request for an account it does not have; None if it answers everybody (a prompt)."""
        request, _ = self.known()
        return make_request(aor="sip:nobody-here@example.net", scheme=request.scheme, authz_server=request.authz_server)

    def hanging(self) -> AbstractContextManager[tuple[CredentialProvider, CredentialRequest]] | None:
        """A provider whose store does not answer, and a request for it; None if it never waits (a file).

        Asked anew for each attempt.
        """
        return None

    def signs(self) -> tuple[DigestInput, str] | None:
        """Of a provider that signs: what the known key is to sign, and the right response; asked anew for each."""
        return None

    # -- what comes out ---------------------------------------------------------------------------------------------

    def test_contract_has_a_name_and_says_whether_it_asks_a_person(self) -> None:
        provider = self._made()
        assert provider.name == "tested", "name is the one of the configuration: context.name"
        assert isinstance(provider.interactive, bool)

    def test_contract_known_account_gets_its_secret(self) -> None:
        request, secret = self.known()
        credentials = ask(self._made(), request)
        assert isinstance(credentials, PasswordCredentials | Ha1Credentials | BearerCredentials | SigningCredentials)
        assert credentials.scheme == request.scheme, "a challenge for one scheme answered with another"
        assert _fits(credentials, secret)
        assert credentials.expires_in is None or credentials.expires_in > 0

    def test_contract_unknown_account_is_not_found(self) -> None:
        if (request := self.unknown()) is not None:
            assert isinstance(self._error(self._made(), request), NotFound)

    def test_contract_the_other_scheme_is_not_found(self) -> None:
        """A password must never answer Bearer, nor a token Digest, unless it says so itself."""
        request, _ = self.known()
        other = "bearer" if request.scheme == "digest" else "digest"
        asked = make_request(aor=request.aor, username=request.username, scheme=other, authz_server="https://as.test")
        try:
            assert ask(self._made(), asked).scheme == other
        except NotFound:
            pass

    # -- what must not come out -------------------------------------------------------------------------------------

    def test_contract_prints_nothing_and_logs_no_secret(self) -> None:
        request, secret = self.known()
        provider = self._made()
        with _eavesdropping() as (printed, logged):
            credentials = ask(provider, request)
        assert not printed.getvalue(), "a provider prints nothing: it has context.terminal"
        for place, text in (("the log", logged.getvalue()), ("repr", f"{credentials!r} {credentials} {provider!r}")):
            assert secret not in text, f"the secret is in {place}"
        assert secret not in str(credentials.secret)
        named = isinstance(credentials, PasswordCredentials | SigningCredentials)
        assert not named or secret not in (credentials.ref or "")

    def test_contract_errors_are_one_sentence_without_a_secret(self) -> None:
        request, secret = self.known()
        provider = self._made()
        ask(provider, request)
        if (missing := self.unknown()) is None:
            return
        error = self._error(provider, missing)
        assert isinstance(error, ProviderError)
        assert str(error), "the person needs a sentence"
        assert str(error).isprintable(), "a sentence is one line, and shows no control characters"
        assert secret not in "".join(traceback.format_exception(error)), "the secret is in the traceback"

    # -- what comes from elsewhere ----------------------------------------------------------------------------------

    def test_contract_the_network_does_not_choose_the_secret(self) -> None:
        """The realm is the server's text: the same account gets the same secret whatever it says."""
        request, secret = self.known()
        hostile = make_request(**{**_fields(request), "realm": self.remote_text})
        credentials = ask(self._made(), hostile)
        assert _fits(credentials, secret)
        if isinstance(credentials, SigningCredentials):
            assert credentials.secret == ask(self._made(), request).secret, "another key, because the server said so"

    def test_contract_odd_names_are_survived(self) -> None:
        request, _ = self.known()
        for user in ("jürgen.ß", "o'brien", 'a"b', "名前", "a;b=c", "%2e%2e%2f", "{account}", "$HOME", "-rf", "a b"):
            odd = make_request(**{**_fields(request), "aor": f"sip:{user}@bücher.example", "username": user})
            try:
                ask(self._made(), odd)
            except ProviderError as error:
                assert str(error).isprintable()

    # -- time -------------------------------------------------------------------------------------------------------

    def test_contract_a_cancelled_request_does_not_start(self) -> None:
        request, _ = self.known()
        request.cancel.set()

        def refuse() -> float:
            provider = self._made()
            started = time.monotonic()
            assert isinstance(self._error(provider, request), ProviderError), (
                "it answered though the signal was set: begin with request.cancel.raise_if_set()"
            )
            return time.monotonic() - started

        assert _quickest(refuse) < _CANCEL_WITHIN

    def test_contract_leaves_when_cancelled(self) -> None:
        if self.hanging() is None:
            return
        took = _quickest(self._leave)
        assert took < _CANCEL_WITHIN, f"left {took:.2f} s after the signal"

    def test_contract_is_safe_from_two_threads(self) -> None:
        request, secret = self.known()
        provider = self._made()
        answers = _twice(lambda: _fits(ask(provider, make_request(**_fields(request))), secret))
        assert answers == [True] * 2

    # -- abilities --------------------------------------------------------------------------------------------------

    def test_contract_remembers_and_forgets_that_very_value(self) -> None:
        provider = self._made()
        request, secret = self.known()
        if not (isinstance(provider, Remembers) and isinstance(provider, Forgets)):
            return
        original = ask(provider, request)
        if not isinstance(original, PasswordCredentials):
            return
        new, other = (PasswordCredentials(original.username, Secret(text)) for text in ("a new one", "another one"))
        provider.remember(request, new)
        assert self._error(provider, request) is None, "not there after remember()"
        assert ask(provider, request).secret == new.secret
        provider.forget(request, other)
        assert self._error(provider, request) is None, "erased a value that nobody refused"
        provider.forget(request, new)
        assert isinstance(self._error(provider, request), NotFound), "still there after forget()"
        provider.remember(request, PasswordCredentials(original.username, Secret(secret)))

    # -- keys that sign ---------------------------------------------------------------------------------------------

    def test_contract_a_key_signs_and_tells_nothing(self) -> None:
        provider, (request, secret), given = self._made(), self.known(), self.signs()
        if given is None:
            # A helper program may hold either: what counts is what it gives for this account.
            assert not isinstance(ask(provider, request), SigningCredentials), (
                "it gave a key: say in signs() what it signs"
            )
            return
        digest, response = given
        assert isinstance(provider, Signs), "it has no sign()"
        with _eavesdropping() as (printed, logged):
            key = ask(provider, request)
            assert isinstance(key, SigningCredentials), "a signer names its key"
            assert digest.algorithm.removesuffix("-sess") in key.algorithms, "the key does not name what it signs"
            signature = ask_to_sign(provider, request, key, digest)
        assert isinstance(signature, Signature) and signature.response == response
        assert not printed.getvalue(), "a provider prints nothing: it has context.terminal"
        for place, text in (("the log", logged.getvalue()), ("repr", f"{signature!r} {key!r} {provider!r}")):
            assert secret not in text, f"the secret is in {place}"

    def test_contract_a_cancelled_signature_does_not_start(self) -> None:
        provider, (request, _), given = self._made(), self.known(), self.signs()
        if given is None or not isinstance(provider, Signs):
            return
        key = ask(provider, request)
        assert isinstance(key, SigningCredentials)
        request.cancel.set()
        with contextlib.suppress(ProviderError):
            ask_to_sign(provider, request, key, given[0])
            raise AssertionError("it signed for nobody")

    def test_contract_two_threads_may_sign(self) -> None:
        provider, (request, _) = self._made(), self.known()
        given = [each for each in (self.signs(), self.signs()) if each is not None]
        if not given or not isinstance(provider, Signs):
            return
        key = ask(provider, request)
        assert isinstance(key, SigningCredentials)

        def sign() -> bool:
            digest, response = given.pop()
            return ask_to_sign(provider, make_request(**_fields(request)), key, digest).response == response

        assert _twice(sign) == [True] * 2

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _made(self) -> CredentialProvider:
        return self.make_provider(make_context())

    def _leave(self) -> float:
        """Seconds from the signal until a hanging provider has left."""
        hanging = self.hanging()
        assert hanging is not None
        signalled: list[float] = []
        with hanging as (provider, request):

            def cancel() -> None:
                signalled.append(time.monotonic())
                request.cancel.set()

            timer = threading.Timer(0.3, cancel)
            timer.start()
            error = self._error(provider, request)
            left = time.monotonic()
            timer.join()
        assert isinstance(error, Cancelled), f"{error!r} instead of Cancelled"
        return left - signalled[0]

    def _error(self, provider: CredentialProvider, request: CredentialRequest) -> BaseException | None:
        try:
            ask(provider, request)
        except Exception as error:
            return error
        return None


def _quickest(act: Callable[[], float]) -> float:
    """The best of what *act* takes; no further round where it is good enough."""
    best = act()
    for _ in range(_ROUNDS - 1):
        if best >= _CANCEL_WITHIN:
            best = min(best, act())
    return best


def _fits(credentials: Credentials, secret: str) -> bool:
    """A key is judged by what it signs."""
    return isinstance(credentials, SigningCredentials) or credentials.secret.reveal() == secret.encode()


def _twice(work: Callable[[], object]) -> list[object]:
    """What *work* returned or raised on two threads at once."""
    answers: list[object] = []

    def one() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            answers.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    return answers


def _fields(request: CredentialRequest) -> dict[str, Any]:
    """All fields but the signal, which belongs to one request only."""
    return {name: getattr(request, name) for name in request.__dataclass_fields__ if name != "cancel"}


@contextlib.contextmanager
def _eavesdropping() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """All that is printed and all that is logged, down to DEBUG."""
    printed, logged = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(logged)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield printed, logged
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
