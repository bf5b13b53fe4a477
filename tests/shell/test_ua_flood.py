"""Ten thousand 401s from a registrar that means harm: three prompts, flat memory, everybody else served (T03, T04)."""

from __future__ import annotations

import asyncio
import gc
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from sipcli.config import AccountConfig
from sipcli.credentials import CredentialRequest
from sipcli.errors import AuthError
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.net.endpoint import EndpointConfig
from tests.support.authkit import HOME, digest, password
from tests.support.brokerkit import BrokerRig, FakeProvider
from tests.support.clock import advance, settle, stepped
from tests.support.peer import Caller

REPOSITORY = Path(__file__).parents[2]
BURST = 2500
"""401s to each REGISTER.  The first is heard, and asks; four REGISTERs are sent, so there are ten thousand."""


def resident() -> int:
    """Octets of ours in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Pinger(asyncio.DatagramProtocol):
    """Another host that sends OPTIONS, one after the other, and takes the time of each answer."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.times: list[float] = []
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        assert data.startswith(b"SIP/2.0 200 "), data[:60]
        self.answered.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.2", 0))
        host, port = transport.get_extra_info("sockname")
        caller = Caller(address=f"{host}:{port}", uri=f"sip:x@127.0.0.1:{self.target[1]}", call_id="ping")
        try:
            while True:
                self.answered.clear()
                began = time.perf_counter()
                caller.call_id = f"ping-{len(self.times)}"
                transport.sendto(caller.request("OPTIONS"), self.target)
                await self.answered.wait()
                self.times.append(time.perf_counter() - began)
                await asyncio.sleep(0.005)
        finally:
            transport.close()


@pytest.mark.slow
@stepped
async def test_T03_T04_each_of_ten_thousand_reaches_the_account_and_three_are_asked_about() -> None:
    """Attempt after attempt, nobody begins anything anew: each 401 in a realm and with a nonce that were never seen.

    Fails without ``broker.Ration``.
    """
    typed = iter(range(10))
    rig = BrokerRig(person := FakeProvider(lambda _: password(f"guess {next(typed)}"), interactive=True))
    heard = 0

    async def attempts(upto: int) -> None:
        nonlocal heard
        while heard < upto:
            exchange = rig.rig.exchange(origin=HOME)
            while exchange.why is None and heard < upto:
                heard += 1
                rig.challenge(digest(f"realm-{heard}", f"nonce-{heard}"), exchange=exchange)
                await settle()
            rig.failures.clear()
            rig.notices.clear()
            rig.fetch.jobs.clear()
            rig.prompt.jobs.clear()
            await advance(60)

    # Python's development mode would have a warning logged for every slow step, and pytest keeps them all.
    asyncio.get_running_loop().set_debug(False)
    await attempts(5000)
    gc.collect()
    tracemalloc.start()
    try:
        await attempts(10_000)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    print(f"{heard} challenges, {len(person.requests)} prompts, kept {kept >> 10} kB of the second half")
    assert len(person.requests) == 3
    assert rig.broker.flights == 0 and rig.rig.session.pending == ()
    assert kept < 256 << 10, "what is bounded and full exchanges old entries for new ones"


@pytest.mark.slow
@pytest.mark.parametrize(
    "traced", [pytest.param(False, marks=pytest.mark.alone, id="timed"), pytest.param(True, id="traced")]
)
async def test_T03_T04_ten_thousand_fresh_challenges_are_three_prompts_and_nobody_waits(traced: bool) -> None:
    """The person types another wrong password each time; the registrar means every 401 in a realm of its own.

    Times are taken without tracemalloc, which makes everything several times slower.  What is kept is counted once
    the answered OPTIONS are forgotten: each is kept for 32 s, to answer it again if it is repeated (Timer J).
    Fails without ``broker.Ration``, which asks at the fourth challenge too.
    """
    asyncio.get_running_loop().set_debug(False)  # or pytest keeps a warning of each slow step, and it is counted
    typed = iter(range(100))

    def person(request: CredentialRequest) -> object:
        return password(f"guess {next(typed)}")

    prompt = FakeProvider(person, name="prompt", interactive=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hostile", str(BURST)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        port = int(server.stdout.readline())
        agent = UserAgent(providers=lambda name: prompt, endpoint_config=EndpointConfig(bind_host="127.0.0.1"))
        async with agent:
            account = agent.add_account(
                AccountConfig(
                    name="work",
                    aor=SipUri.parse("sip:alice@127.0.0.1"),
                    registrar=SipUri.parse(f"sip:127.0.0.1:{port}"),
                    username="alice",
                    credentials=("prompt",),
                )
            )
            gc.collect()
            if traced:
                tracemalloc.start()
            before, held = resident(), tracemalloc.get_traced_memory()[0]
            registering = asyncio.ensure_future(account.register(keep=False))
            while not (ours := [at.port for at in agent.listening if at.transport == "udp"]):
                await asyncio.sleep(0)  # until there is a socket: within the first turns
            pinger = Pinger(ours[0])
            pinging = asyncio.ensure_future(pinger.run())
            with pytest.raises(AuthError):
                await registering
            got = 0
            while got < 4 * BURST:  # the floods go on after the verdict: each ends with a line
                got += int(await asyncio.to_thread(server.stdout.readline))
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            while traced and agent.engine._core.layer:
                await asyncio.sleep(0.2)
            gc.collect()
            grown, kept = resident() - before, tracemalloc.get_traced_memory()[0] - held
            tracemalloc.stop()
        assert len(prompt.requests) == 3
        pinger.times.sort()
        p99 = pinger.times[int(len(pinger.times) * 0.99)] * 1000
        memory = f"RSS +{grown >> 10} kB, kept {kept >> 10} kB"
        print(f"{got} challenges, {len(pinger.times)} pings, p99 {p99:.1f} ms, {memory}")
        assert traced or (len(pinger.times) > 200 and p99 < 20)
        assert kept < 512 << 10, "the sockets' buffer and what is imported late make up a third of it"
        assert grown < 32 << 20
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()
