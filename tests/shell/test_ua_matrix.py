"""Every challenged method, on every transport, whether its answer takes 0, 40 or 100 seconds; on a stepped clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import AuthChallengeParam, ChallengeHook
from sipcli.ua.auth.challenge import AuthChallenge
from tests.support.agentkit import Site, site
from tests.support.authkit import CalledBefore, password
from tests.support.certs import certificates
from tests.support.clock import advance, live, live_until, settle, stepped
from tests.support.real import require

DELAYS = [0, 40, 100]
TRANSPORTS = ["udp", "tcp", "tls"]


class Slow(Account):
    """Answers on a registered thread of its own, :attr:`delay` seconds after the challenge."""

    delay: float
    challenged: list[str]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        deferred = challenge.defer()
        self.answer_later(challenge.method, lambda: deferred.respond(password("wonderland")))

    def answer_later(self, method: str, answer: Callable[[], object]) -> None:
        self.challenged.append(method)
        asyncio.get_running_loop().call_later(self.delay, self._fetch, answer)

    def _fetch(self, answer: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._on_a_thread, args=(answer,))
        thread.start()
        thread.join()

    def _on_a_thread(self, answer: Callable[[], object]) -> None:
        with self.agent.threads.register("slow"):
            answer()


def level_2(param: AuthChallengeParam) -> None:
    """The same decision, taken in the callback of the user agent."""
    account = param.account
    assert isinstance(account, Slow)
    deferred = param.defer()
    account.answer_later(param.token.exchange.method, lambda: deferred.send_request(password("wonderland")))


async def _register(s: Site, account: Slow) -> None:
    await account.register()


async def _invite(s: Site, account: Slow) -> None:
    call = await account.call("echo")
    await call.answered()
    await call.hangup()


async def _reinvite(s: Site, account: Slow) -> None:
    s.box.change(challenged=frozenset())
    call = await account.call("echo")
    await call.answered()
    s.box.change(challenged=frozenset({"INVITE"}))
    await call.hold()
    assert call.state == "held"
    await call.hangup()


async def _message(s: Site, account: Slow) -> None:
    await account.message("echo", "hello")


async def _options(s: Site, account: Slow) -> None:
    report = await account.options(SipUri.parse(s.box.uri(transport=account.config.transport or "udp")))
    assert report.code == 200


async def _bye(s: Site, account: Slow) -> None:
    """Hanging up waits two seconds at most; the BYE's challenge may be decided long after that."""
    call = await account.call("echo")
    await call.answered()
    await call.hangup()


_ACTS = {
    "REGISTER": _register,
    "INVITE": _invite,
    "re-INVITE": _reinvite,
    "BYE": _bye,
    "MESSAGE": _message,
    "OPTIONS": _options,
}


def _settings(transport: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the sandbox, and of the account."""
    if transport != "tls":
        return {}, {}
    require("openssl")
    leaf = certificates().leaf("good")
    return {"cert_file": leaf.cert_file, "key_file": leaf.key_file}, {"ca_file": certificates().ca_file}


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("method", list(_ACTS))
@pytest.mark.parametrize("hook", [level_2, None], ids=["level2", "level3"])
def test_the_answer_may_take_its_time(hook: ChallengeHook | None, method: str, transport: Any, delay: float) -> None:
    """Level 1, where nothing but the core is at work: tests/flows/test_flows_deferred.py."""

    @stepped
    async def run() -> None:
        box, fields = _settings(transport)
        plain = method.removeprefix("re-")
        asked = {"challenged": frozenset({plain}), "nonce_lifetime": 3600, **box}
        async with site(box=asked, on_auth_challenge=hook) as s:
            account = s.account(Slow, transport=transport, **fields)
            account.delay, account.challenged = delay, []
            account.auth.pins = CalledBefore()
            task = asyncio.ensure_future(_ACTS[method](s, account))
            # Small steps while sockets and handshakes are at work, which take real time; then one great one.
            await live_until(lambda: account.challenged or task.done())
            await advance(delay)
            await live(task)
            await live_until(lambda: len(s.box.statuses(plain)) >= 2)
            assert account.challenged == [plain]
            assert s.box.requests(plain)[-1].find("Authorization") or s.box.requests(plain)[-1].find(
                "Proxy-Authorization"
            )
            await live(account.close())

    run()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_is_prompted_for_a_bye(transport: Any) -> None:
    """Where no program decides, hanging up asks nobody: what is known answers, or the other side's timers do."""

    @stepped
    async def run() -> None:
        box, fields = _settings(transport)
        async with site(box={"challenged": frozenset({"BYE"}), **box}, interactive=True) as s:
            account = s.account(transport=transport, credentials=(), **fields)
            call = await account.call("echo")
            await live(call.answered())
            await live(call.hangup())
            await live_until(lambda: call.is_over)
            assert s.sent("BYE") == 1, "nothing is known, so the challenge stays unanswered"
            await advance(1)
            await settle()

    run()
