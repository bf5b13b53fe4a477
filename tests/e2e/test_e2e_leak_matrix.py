"""SIPp challenges every request that we send inside a call, whoever called, over every transport (T01, T29).

Five requests, two statuses and two realms at once in each test; the scenarios are made in
``tests/support/servers/mallory.py``.  Kamailio between the two: ``test_e2e_leak.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import SipcliError
from sipcli.sip.authn.origin import HomeGround, Origin
from sipcli.sip.dialog import Dialog
from sipcli.sip.engine import EngineConfig
from sipcli.sip.flow import Transport
from sipcli.ua.calls.call import Call
from sipcli.ua.net.endpoint import EndpointConfig, TlsSettings
from tests.support.agentkit import Site, site
from tests.support.brokerkit import FakeProvider
from tests.support.certs import certificates
from tests.support.real import require
from tests.support.servers.mallory import Attack
from tests.support.servers.process import free_port
from tests.support.servers.relay import TlsRelay
from tests.support.softphone import eventually

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("leak_matrix")]

Role = Literal["caller", "callee"]
REALM = "sandbox"
METHODS = ("BYE", "INVITE", "UPDATE", "REFER", "NOTIFY")
ATTACKS = [Attack(method, code, realm) for method, code, realm in itertools.product(METHODS, (401, 407), (REALM, "*"))]  # type: ignore[arg-type]
HEADERS = {
    "REFER": [("Refer-To", "<sip:carol@mallory.test>")],
    "NOTIFY": [("Event", "refer"), ("Subscription-State", "active")],
}
ROLES = pytest.mark.parametrize("role", ["caller", "callee"])
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])


class Victim:
    """One agent, registered and with a password that is known to be good; it hangs up on every Mallory."""

    def __init__(self, at: Site, folder: Path, transport: Transport) -> None:
        self.site = at
        self.folder = folder
        self.transport = transport
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def attacked(self, role: Role, attacks: list[Attack]) -> dict[str, str]:
        """What SIPp complains of, by attack; empty where it ended with 0."""
        by_name = {attack.name: attack for attack in attacks}

        def answer(call: Call) -> None:
            self._go(by_name[call.remote.sip_uri.user or ""], call)

        self.site.agent.on_incoming = answer
        listening: dict[str, int] = {}
        if role == "caller":
            address = await self.site.agent.endpoint.listen(self.transport, "127.0.0.1", 0)
            listening["port"] = address[1]
        async with AsyncExitStack() as stack:
            begin = self._is_called_by if role == "caller" else self._calls
            try:
                said = await asyncio.gather(*(begin(stack, attack, listening) for attack in attacks))
            finally:
                for task in self.tasks.values():
                    task.cancel()
                await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return {attack.name: words for attack, words in zip(attacks, said, strict=True)}

    async def _is_called_by(self, stack: AsyncExitStack, attack: Attack, listening: dict[str, int]) -> str:
        port, own = listening["port"], free_port(block=6)
        place = own
        if self.transport == "tls":
            relay = await stack.enter_async_context(TlsRelay.towards(port))
            port, place = relay.port, relay.source
        scenario = attack.scenario("caller", self.transport, f"127.0.0.1:{place}")
        return await self._sipp(attack, scenario, own, "-s", "alice", f"127.0.0.1:{port}")

    async def _calls(self, stack: AsyncExitStack, attack: Attack, listening: dict[str, int]) -> str:
        own = free_port(block=6)
        place = f"127.0.0.1:{own}"
        if self.transport == "tls":
            relay = await stack.enter_async_context(TlsRelay.before(own, "mallory"))
            place = f"localhost:{relay.port}"
        scenario = attack.scenario("callee", self.transport, place)
        judging = asyncio.ensure_future(self._sipp(attack, scenario, own))
        await eventually(lambda: judging.done() or _listens(own, udp=self.transport == "udp"), within=20)
        if not judging.done():
            account = self.site.agent.accounts[0]
            call = await account.call(f"sip:mallory@{place};transport={self.transport}")
            self._go(attack, call)
        return await judging

    async def _sipp(self, attack: Attack, scenario: str, port: int, *more: str) -> str:
        folder = self.folder / attack.name
        folder.mkdir()
        (folder / "scenario.xml").write_text(scenario)
        mode = "u1" if self.transport == "udp" else "t1"
        argv = ["-sf", "scenario.xml", *more, "-i", "127.0.0.1", "-p", str(port), "-mi", "127.0.0.1"]
        argv += ["-mp", str(port + 2), "-m", "1", "-nostdin", "-t", mode, "-timeout", "40s", "-timeout_error"]
        argv += ["-trace_err", "-error_file", "errors.log"]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            "sipp", *argv, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet
        )
        try:
            status = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        errors = folder / "errors.log"
        return "" if status == 0 else f"{status}: {errors.read_text() if errors.exists() else ''}"

    def _go(self, attack: Attack, call: Call) -> None:
        self.tasks[attack.name] = asyncio.ensure_future(self._provoke(attack, call))

    async def _provoke(self, attack: Attack, call: Call) -> None:
        """Send what he waits for, and hang up."""
        if call.direction == "in":
            await call.accept()
            await eventually(lambda: call.core.settled, within=20)
        else:
            await call.answered()
        if attack.method == "INVITE":
            with pytest.raises(SipcliError):
                await call.hold()
        elif attack.method != "BYE":
            headers = HEADERS.get(attack.method, [])
            done = await self.site.agent.oneshots.run(lambda _: call.core.request(attack.method, headers))
            assert done.response is not None
            assert done.response.status == attack.code
        await call.hangup(timeout=20)


def _listens(port: int, *, udp: bool) -> bool:
    table = Path("/proc/net/udp" if udp else "/proc/net/tcp").read_text()
    return f":{port:04X} 00000000:0000" in table


def password() -> PasswordCredentials:
    """It would answer any realm."""
    return PasswordCredentials("alice", Secret("wonderland"), realm="*")


@contextlib.asynccontextmanager
async def victim(folder: Path, transport: Transport, provider: FakeProvider, **account: Any) -> AsyncIterator[Victim]:
    require("sipp", "openssl")
    good, own = certificates().leaf("good"), certificates().leaf("client")
    box = {"users": {"alice": "wonderland"}, "cert_file": good.cert_file, "key_file": good.key_file}
    tls = TlsSettings(ca_file=certificates().ca_file, cert_file=own.cert_file, key_file=own.key_file)
    endpoint = EndpointConfig(bind_host="127.0.0.1", tls=tls)
    settings = {"endpoint_config": endpoint, "engine_config": EngineConfig(accept_calls="any")}
    async with site(provider, box=box, **settings) as at:
        await at.account(transport=transport, **account).register()
        yield Victim(at, folder, transport)


@TRANSPORTS
@ROLES
async def test_T01_T29_nothing_leaks_whatever_is_challenged_inside_a_call(
    tmp_path: Path, role: Role, transport: Transport
) -> None:
    """No credentials on the wire, no provider asked, nobody prompted: BYE, re-INVITE, UPDATE, REFER, NOTIFY.

    Fails without ``bound`` in HomeGround.judge: the next test takes it out for good.
    """
    provider = FakeProvider(password())
    async with victim(tmp_path, transport, provider) as phone:
        asked = len(provider.requests)
        told = len(phone.site.notices)
        said = await phone.attacked(role, ATTACKS)
        assert said == dict.fromkeys(said, "")
        assert len(provider.requests) == asked == 1
        heard = [notice for notice in phone.site.notices[told:] if notice.event == "auth.challenged"]
        expected = sorted((attack.method, attack.code) for attack in ATTACKS)
        assert sorted((notice.method, notice.code) for notice in heard) == expected, "a challenge did not arrive"
        assert not any(notice.from_flow for notice in heard)
        asking = {"auth.provider", "auth.needed", "auth.answered"}
        assert not asking & {notice.event for notice in phone.site.notices[told:]}


@TRANSPORTS
@ROLES
async def test_T01_every_attack_succeeds_on_a_phone_that_binds_no_origin(
    tmp_path: Path, role: Role, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defence taken out: whoever is at the other end of a flow counts as the account's own server."""
    monkeypatch.setattr(HomeGround, "judge", lambda self, flow: Origin.of(flow, bound=True))
    monkeypatch.setattr(Dialog, "standing", lambda self, origin, target: origin)
    async with victim(tmp_path, transport, FakeProvider(password()), own=(password(),)) as phone:
        said = await phone.attacked(role, ATTACKS)
        assert {name: words for name, words in said.items() if "Authorization: Digest" not in words} == {}
