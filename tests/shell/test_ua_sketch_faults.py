"""The sketch that this room grew from had known faults; each keeps a regression test (level 1: tests/unit/sip)."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from typing import Any

import pytest

from sipcli.credentials import BearerCredentials, Secret
from sipcli.errors import ChallengeGone
from sipcli.ua.account import Account
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from tests.support.agentkit import site
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider
from tests.support.certs import certificates
from tests.support.clock import live, settle, stepped, until
from tests.support.real import require


class Keeps(Account):
    kept: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.kept.append(challenge.defer())


@stepped
async def test_sketch_fault_one_realm_per_call() -> None:
    """The broker answered ``challenges[0]`` and forgot the rest."""
    users = {"A": {"alice": "a"}, "B": {"alice": "b"}}
    provider = FakeProvider(lambda request: password(request.realm.lower()))
    async with site(provider, box={"realms": ("A",), "proxy_realms": ("B",), "realm_users": users}) as s:
        await s.account().register()
        assert sorted(request.realm for request in provider.requests) == ["A", "B"]
        assert s.box.statuses("REGISTER") == [401, 200]


@stepped
async def test_sketch_fault_the_strongest_instead_of_the_topmost() -> None:
    async with site(
        provider := FakeProvider(lambda _: password("wonderland")), box={"algorithms": ("SHA-256", "SHA-512-256")}
    ) as s:
        await s.account().register()
        assert provider.requests[0].algorithms[0] == "SHA-256"
        assert s.told("auth.challenged")[0].chosen == "SHA-256"
        assert "algorithm=SHA-256," in s.box.requests("REGISTER")[1].get("Authorization")


@stepped
async def test_sketch_fault_respond_replaces_the_accounts_credentials() -> None:
    class Once(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            challenge.respond(password("wonderland"))

    own = password("the account's own")
    async with site() as s:
        account = s.account(Once, own=[own])
        await account.register()
        assert account.auth.credentials == (own,)


@stepped
async def test_sketch_fault_a_late_answer_was_dropped_silently() -> None:
    async with site() as s:
        account = s.account(Keeps)
        account.kept = []
        task = asyncio.ensure_future(account.register())
        await until(lambda: account.kept)
        task.cancel()
        await asyncio.wait({task})
        with pytest.raises(ChallengeGone, match="revoked"):
            account.kept[0].respond(password("wonderland"))
        assert [n.outcome for n in s.told("auth.done")] == ["revoked"]


@stepped
async def test_sketch_fault_nested_registration_raised() -> None:
    async with site() as s:
        account = s.account(Keeps)
        account.kept = []
        task = asyncio.ensure_future(account.register())
        await until(lambda: account.kept)

        def library() -> None:
            with s.agent.threads.register("inner"):
                pass

        def work() -> None:
            with s.agent.threads.register("outer"):
                library()
                account.kept[0].respond(password("wonderland"))

        thread = threading.Thread(target=work)
        thread.start()
        await task
        thread.join()


@stepped
async def test_sketch_fault_cancel_pipes_stayed_open() -> None:
    seen: list[int] = []

    def answer(request: Any) -> Any:
        seen.append(request.cancel.fileno())
        return password("wonderland")

    async with site(FakeProvider(answer)) as s:
        await s.account().register()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(seen[0])


def test_sketch_fault_no_bearer() -> None:
    require("openssl")

    @stepped
    async def run() -> None:
        leaf = certificates().leaf("good")
        box = {"tokens": {"t0ken": "alice"}, "cert_file": leaf.cert_file, "key_file": leaf.key_file}
        provider = FakeProvider(lambda request: BearerCredentials(Secret("t0ken")))
        async with site(provider, box=box) as s:
            await live(s.account(transport="tls", ca_file=certificates().ca_file).register())
            assert provider.requests[0].scheme == "bearer"
            assert s.box.requests("REGISTER")[-1].get("Authorization") == "Bearer t0ken"

    run()


@stepped
async def test_sketch_fault_closing_left_flights_and_tasks_behind() -> None:
    """Its flights were tasks, and a closed account's went on."""
    begun = threading.Event()

    class Waits(FakeProvider):
        def get(self, request: Any) -> Any:
            begun.set()
            request.cancel.wait(30)
            raise TimeoutError

    async with site(provider := Waits(), close=False) as s:
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(s.account().register())
        await until(begun.is_set)
        gone = weakref.ref(s.agent.broker)
        await s.agent.close()
        await asyncio.wait({task})
        await settle()
        assert asyncio.all_tasks() == before
        await until(lambda: s.agent.threads.names == ())
        s.agent._broker = s.agent._workers = None
        del provider
        gc.collect()
        await settle()
    assert gone() is None or gone().flights == 0  # type: ignore[union-attr]
