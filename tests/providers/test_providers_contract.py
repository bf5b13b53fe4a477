"""The shipped contract suite must fail for a provider that breaks it: each bad one here is caught by its test."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sipcli.credentials import (
    BearerCredentials,
    CredentialProvider,
    CredentialRequest,
    DigestInput,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Signature,
    SigningCredentials,
)
from sipcli.testing import ProviderContract, ask, make_context, make_request

SECRET = "hunter2-canary"


class Shelf:
    """A correct provider: a dictionary."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        self.entries = {"sip:alice@example.com": SECRET}

    def find(self, request: CredentialRequest) -> str:
        request.cancel.raise_if_set()
        if request.scheme != "digest" or request.aor not in self.entries:
            raise NotFound("there is nothing here")
        return self.entries[request.aor]

    def get(self, request: CredentialRequest) -> Any:
        return PasswordCredentials(request.username or "alice", Secret(self.find(request)))

    def remember(self, request: CredentialRequest, credentials: Any) -> None:
        self.entries[request.aor] = credentials.password.reveal().decode()

    def forget(self, request: CredentialRequest, credentials: Any) -> None:
        if self.entries.get(request.aor) == credentials.password.reveal().decode():
            del self.entries[request.aor]


class AsyncShelf(Shelf):
    def get(self, request: CredentialRequest) -> Any:
        async def look() -> PasswordCredentials:
            await asyncio.sleep(0)
            return PasswordCredentials("alice", Secret(self.find(request)))

        return look()


class _Contract(ProviderContract):
    kind: type[Shelf] = Shelf
    lingers: Iterator[float] = itertools.repeat(0.0)
    """Seconds for which a hanging one stays after the signal, one for each."""

    def make_provider(self, context: ProviderContext) -> CredentialProvider:
        return self.kind(context)

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), SECRET

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[CredentialProvider, CredentialRequest]]:
        lingering = next(self.lingers)

        class Stuck(self.kind):  # type: ignore[name-defined,misc]
            def find(self, request: CredentialRequest) -> str:
                request.cancel.wait(10)
                time.sleep(lingering)
                return str(super().find(request))

        yield Stuck(make_context()), make_request()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[CredentialProvider, CredentialRequest]]:
        return self._hanging()


class TestAGoodOnePasses(_Contract):
    pass


class TestAnAsyncOnePasses(_Contract):
    kind = AsyncShelf


class Sleeping(Shelf):
    """Looks at no signal: an async one is cancelled, here as on its lane."""

    asleep = False

    def get(self, request: CredentialRequest) -> Any:
        async def look() -> PasswordCredentials:
            if self.asleep:
                await asyncio.sleep(600)
            if request.scheme != "digest" or request.aor not in self.entries:
                raise NotFound("there is nothing here")
            return PasswordCredentials("alice", Secret(self.entries[request.aor]))

        return look()


class TestAnAsyncOneThatIsOnlyCancelledPasses(_Contract):
    kind = Sleeping

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[CredentialProvider, CredentialRequest]]:
        stuck = Sleeping(make_context())
        stuck.asleep = True
        yield stuck, make_request()


class Printing(Shelf):
    def get(self, request: CredentialRequest) -> Any:
        print("looking")
        return super().get(request)


class Logging(Shelf):
    def get(self, request: CredentialRequest) -> Any:
        found = super().get(request)
        logging.getLogger("shelf").debug("found %s", found.secret.reveal())
        return found


class Naming(Shelf):
    def get(self, request: CredentialRequest) -> Any:
        return PasswordCredentials("alice", Secret(self.find(request)), ref=f"shelf:{SECRET}")


class Telling(Shelf):
    def find(self, request: CredentialRequest) -> str:
        if request.aor not in self.entries:
            raise NotFound(f"{request.aor} is not among {self.entries}")
        return super().find(request)


class Painting(Shelf):
    def find(self, request: CredentialRequest) -> str:
        if request.aor not in self.entries:
            raise NotFound("nothing\nhere")
        return super().find(request)


class Raising(Shelf):
    def find(self, request: CredentialRequest) -> str:
        return self.entries[request.aor]


class Obedient(Shelf):
    """Looks the realm up: the server chooses."""

    def find(self, request: CredentialRequest) -> str:
        found = super().find(request)
        return found if request.realm == "example.com" else "another secret"


class Eager(Shelf):
    def find(self, request: CredentialRequest) -> str:
        if request.aor not in self.entries:
            raise NotFound("no")
        return self.entries[request.aor]


class Mixed(Shelf):
    def get(self, request: CredentialRequest) -> Any:
        return BearerCredentials(Secret(self.find(request)))


class Careless(Shelf):
    def forget(self, request: CredentialRequest, credentials: Any) -> None:
        self.entries.pop(request.aor, None)


class Nameless(Shelf):
    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self.name = "shelf"


class Racing(Shelf):
    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self.meeting = threading.Barrier(2)

    def find(self, request: CredentialRequest) -> str:
        try:
            self.meeting.wait(0.2)
        except threading.BrokenBarrierError:
            return super().find(request)
        raise RuntimeError("two at once")


@pytest.mark.parametrize(
    ("kind", "caught_by"),
    [
        (Printing, "prints_nothing_and_logs_no_secret"),
        (Logging, "prints_nothing_and_logs_no_secret"),
        (Naming, "prints_nothing_and_logs_no_secret"),
        (Telling, "errors_are_one_sentence_without_a_secret"),
        (Painting, "errors_are_one_sentence_without_a_secret"),
        (Raising, "unknown_account_is_not_found"),
        (Obedient, "the_network_does_not_choose_the_secret"),
        (Eager, "a_cancelled_request_does_not_start"),
        (Mixed, "known_account_gets_its_secret"),
        (Careless, "remembers_and_forgets_that_very_value"),
        (Nameless, "has_a_name_and_says_whether_it_asks_a_person"),
        (Racing, "is_safe_from_two_threads"),
    ],
)
def test_a_bad_one_is_caught(kind: type[Shelf], caught_by: str) -> None:
    suite = type("Suite", (_Contract,), {"kind": kind})()
    with pytest.raises(AssertionError):
        getattr(suite, f"test_contract_{caught_by}")()


DIGEST = DigestInput(
    username="alice",
    realm="r",
    nonce="n",
    algorithm="SHA-256",
    method="REGISTER",
    uri="sip:r",
    nc="00000001",
    cnonce="c",
)
RESPONSE = "5" * 64


class Stamp(Shelf):
    """A correct signer: the shelf's entry never leaves it."""

    def get(self, request: CredentialRequest) -> Any:
        self.find(request)
        return SigningCredentials("alice", ref="shelf")

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        request.cancel.raise_if_set()
        return Signature(RESPONSE)


class AsyncStamp(Stamp):
    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        async def late() -> Signature:
            await asyncio.sleep(0)
            request.cancel.raise_if_set()
            return Signature(RESPONSE)

        return late()


class _Signing(_Contract):
    kind: type[Shelf] = Stamp

    def signs(self) -> tuple[DigestInput, str]:
        return DIGEST, RESPONSE


class TestAGoodSignerPasses(_Signing):
    pass


class TestAnAsyncSignerPasses(_Signing):
    kind = AsyncStamp


class WrongStamp(Stamp):
    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        return Signature("6" * 64)


class LoudStamp(Stamp):
    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        logging.getLogger("shelf").debug("signing with %s", SECRET)
        return super().sign(request, credentials, digest)


class VagueStamp(Stamp):
    def get(self, request: CredentialRequest) -> Any:
        return SigningCredentials("alice", algorithms=("MD5",))


class ObedientStamp(Stamp):
    def get(self, request: CredentialRequest) -> Any:
        return SigningCredentials("alice", ref=f"shelf:{request.realm}")


class RacingStamp(Stamp):
    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self.meeting = threading.Barrier(2)

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Any:
        try:
            self.meeting.wait(0.2)
        except threading.BrokenBarrierError:
            return super().sign(request, credentials, digest)
        raise RuntimeError("two at once")


@pytest.mark.parametrize(
    ("kind", "caught_by"),
    [
        (Shelf, "a_key_signs_and_tells_nothing"),
        (WrongStamp, "a_key_signs_and_tells_nothing"),
        (LoudStamp, "a_key_signs_and_tells_nothing"),
        (VagueStamp, "a_key_signs_and_tells_nothing"),
        (WrongStamp, "a_cancelled_signature_does_not_start"),
        (ObedientStamp, "the_network_does_not_choose_the_secret"),
        (RacingStamp, "two_threads_may_sign"),
    ],
)
def test_a_bad_signer_is_caught(kind: type[Shelf], caught_by: str) -> None:
    suite = type("Suite", (_Signing,), {"kind": kind})()
    with pytest.raises(AssertionError):
        getattr(suite, f"test_contract_{caught_by}")()


def test_a_signer_that_does_not_say_what_it_signs_is_caught() -> None:
    suite = type("Suite", (_Contract,), {"kind": Stamp})()
    with pytest.raises(AssertionError, match="say in signs"):
        suite.test_contract_a_key_signs_and_tells_nothing()


def test_one_that_raises_what_it_likes_is_caught() -> None:
    suite = type("Suite", (_Contract,), {"kind": Raising})()
    with pytest.raises(KeyError):
        suite.test_contract_odd_names_are_survived()


def test_one_that_ignores_its_signal_is_caught() -> None:
    suite = type("Suite", (_Contract,), {"lingers": itertools.repeat(0.6)})()
    with pytest.raises(AssertionError, match=r"left 0\.[6-9].* s after the signal"):
        suite.test_contract_leaves_when_cancelled()


class LateOnce(Shelf):
    """Refuses, but the machine stood still while it did."""

    pauses = iter([0.6])

    def find(self, request: CredentialRequest) -> str:
        time.sleep(next(self.pauses, 0.0))
        return super().find(request)


def test_a_machine_that_stands_still_once_is_not_the_providers_fault() -> None:
    suite = type("Suite", (_Contract,), {"kind": LateOnce, "lingers": itertools.chain([0.6], itertools.repeat(0.0))})()
    suite.test_contract_a_cancelled_request_does_not_start()
    suite.test_contract_leaves_when_cancelled()


class Waiting(Shelf):
    """Asks its store first, and looks at the signal then."""

    def find(self, request: CredentialRequest) -> str:
        time.sleep(0.6)
        return super().find(request)


def test_one_that_is_late_every_time_is_caught() -> None:
    suite = type("Suite", (_Contract,), {"kind": Waiting})()
    with pytest.raises(AssertionError):
        suite.test_contract_a_cancelled_request_does_not_start()


def test_the_suite_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match=r"known.*make_provider"):
        ProviderContract()  # type: ignore[abstract]


def test_ask_waits_for_an_async_provider() -> None:
    assert ask(AsyncShelf(make_context()), make_request()).secret.reveal() == SECRET.encode()
