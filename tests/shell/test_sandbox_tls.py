"""The sandbox over TLS, where a Bearer token may travel, and over IPv6."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.credentials import BearerCredentials, Secret
from sipcli.sandbox import Sandbox
from sipcli.ua.net.endpoint import EndpointConfig, TlsSettings
from tests.support.certs import certificates
from tests.support.real import require
from tests.support.softphone import Softphone


@pytest.fixture
def tls() -> dict[str, Any]:
    require("openssl")
    leaf = certificates().leaf("good")
    return {"cert_file": leaf.cert_file, "key_file": leaf.key_file}


@pytest.fixture
def trusting() -> EndpointConfig:
    require("openssl")
    return EndpointConfig(tls=TlsSettings(ca_file=certificates().ca_file))


async def test_register_and_call_over_tls(tls: dict[str, Any], trusting: EndpointConfig) -> None:
    async with (
        Sandbox(**tls) as sandbox,
        Softphone("alice", "wonderland", sandbox.uri(transport="tls"), config=trusting) as phone,
    ):
        assert (await phone.register()).state == "registered"
        (binding,) = sandbox.bindings("alice")
        assert binding.flow.transport == "tls"
        ended = await phone.ended(await phone.call("busy"))
        assert ended.code == 486
        sandbox.send_message("alice", "over your own connection")
        assert (await phone.received_message()).request.body == b"over your own connection"


async def test_a_bearer_token_over_tls(tls: dict[str, Any], trusting: EndpointConfig) -> None:
    token = BearerCredentials(Secret("t0ken"), realm="*")
    async with (
        Sandbox(**tls, tokens={"t0ken": "alice"}, algorithms=()) as sandbox,
        Softphone("alice", "", sandbox.uri(transport="tls"), credentials=(token,), config=trusting) as phone,
    ):
        assert (await phone.register()).state == "registered"
        assert sandbox.requests("REGISTER")[-1].get("Authorization") == "Bearer t0ken"


async def test_a_stranger_does_not_trust_it(tls: dict[str, Any]) -> None:
    async with Sandbox(**tls) as sandbox, Softphone("alice", "wonderland", sandbox.uri(transport="tls")) as phone:
        event = await phone.register()
        assert event.state == "failed"
        assert str(event.why).startswith("tls:")
        assert sandbox.requests() == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_ipv6(transport: Any) -> None:
    async with Sandbox(host="::1") as sandbox:
        assert sandbox.uri().startswith("sip:[::1]:")
        async with Softphone("alice", "wonderland", sandbox.uri(transport=transport)) as phone:
            assert (await phone.register()).state == "registered"
            assert (await phone.ended(await phone.call("decline"))).code == 603
