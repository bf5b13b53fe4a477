"""The sandbox on real sockets: our own engine registers with it, and a plain socket talks to it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sipcli.credentials import BearerCredentials, Secret
from sipcli.errors import LocalProtocolError, NetworkError
from sipcli.sandbox import Sandbox, SandboxConfig
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.message import Response, parse_message
from tests.support.softphone import Softphone, eventually
from tests.support.transactions import request


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
async def test_an_engine_registers_and_leaves(transport: Transport, algorithm: str) -> None:
    async with (
        Sandbox(algorithms=(algorithm,)) as sandbox,
        Softphone("alice", "wonderland", sandbox.uri(transport=transport)) as phone,
    ):
        event = await phone.register()
        assert (event.state, event.expires_s) == ("registered", 600)
        assert [binding.flow.transport for binding in sandbox.bindings("alice")] == [transport]
        assert sandbox.statuses("REGISTER") == [401, 200]
        assert f"algorithm={algorithm}" in sandbox.requests("REGISTER")[1].get("Authorization")
        assert sandbox.counts == {"challenged": 1, "passed": 1}
        assert (await phone.unregister()).state == "unregistered"
        assert sandbox.bindings("alice") == ()


async def test_a_wrong_password_is_counted_and_answered_once() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wrong", sandbox.uri()) as phone:
        event = await phone.register()
        assert event.state == "refused"
        assert sandbox.wrong == {"alice": 1}
        assert sandbox.statuses("REGISTER") == [401, 401]
        assert sandbox.bindings("alice") == ()


async def test_behaviour_changes_while_it_runs() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        assert (await phone.register()).state == "registered"
        sandbox.change(stale_rounds=1)
        assert (await phone.register()).state == "registered"
        assert sandbox.counts["stale"] == 1
        sandbox.change(users={"alice": "changed"})
        assert (await phone.register()).state == "refused"


async def test_two_realms_at_once() -> None:
    async with (
        Sandbox(realms=("home",), proxy_realms=("edge",)) as sandbox,
        Softphone("alice", "wonderland", sandbox.uri()) as phone,
    ):
        assert (await phone.register()).state == "registered"
        last = sandbox.requests("REGISTER")[-1]
        assert 'realm="home"' in last.get("Authorization")
        assert 'realm="edge"' in last.get("Proxy-Authorization")


async def test_a_lost_request_is_repeated() -> None:
    async with Sandbox(lose=1) as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        assert (await phone.register()).state == "registered"
        assert len(sandbox.requests("REGISTER")) == 3


async def test_a_token_is_no_answer_over_udp_but_the_sandbox_would_take_it() -> None:
    token = BearerCredentials(Secret("t0ken"), realm="*")
    async with (
        Sandbox(tokens={"t0ken": "alice"}, algorithms=()) as sandbox,
        Softphone("alice", "", sandbox.uri(), credentials=(token,)) as phone,
    ):
        assert (await phone.register()).state != "registered"
        assert all(message.find("Authorization") is None for message in sandbox.requests())


async def test_udp_and_tcp_have_one_port_and_what_is_not_served_is_said() -> None:
    async with Sandbox() as sandbox:
        assert sandbox.address("udp") == sandbox.address("tcp")
        assert sandbox.uri("echo", "tcp").endswith(";transport=tcp")
        with pytest.raises(LocalProtocolError):
            sandbox.address("tls")
        with pytest.raises(NetworkError):
            await Sandbox(port=sandbox.address("tcp")[1]).start()
    await sandbox.close()
    with pytest.raises(LocalProtocolError):
        sandbox.bindings("alice")


async def test_a_plain_socket_sees_a_challenge_with_received_and_rport() -> None:
    async with Sandbox(SandboxConfig(realms=("there",))) as sandbox:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.setblocking(False)
            plain.bind(("127.0.0.1", 0))
            register = request("REGISTER", uri="sip:sandbox", sent_by="phone.invalid:9;rport")
            await loop.sock_sendto(plain, register.to_bytes(), sandbox.address())
            answer = parse_message(await asyncio.wait_for(loop.sock_recv(plain, 65536), 5))
            assert isinstance(answer, Response)
            assert (answer.status, answer.via.received, answer.via.rport) == (401, "127.0.0.1", plain.getsockname()[1])
            assert 'realm="there"' in answer.get("WWW-Authenticate")
            await loop.sock_sendto(plain, b"REGISTER nonsense\r\n\r\n", sandbox.address())
            await eventually(lambda: len(sandbox.seen) == 2)
            assert sandbox.seen[1].message is None
        assert sandbox.statuses() == [401]


async def test_options_are_answered() -> None:
    async with Sandbox() as sandbox:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.setblocking(False)
            plain.bind(("127.0.0.1", 0))
            options = request("OPTIONS", uri=sandbox.uri(), sent_by="127.0.0.1:9;rport")
            await loop.sock_sendto(plain, options.to_bytes(), sandbox.address())
            answer = parse_message(await asyncio.wait_for(loop.sock_recv(plain, 65536), 5))
            assert isinstance(answer, Response)
            assert answer.status == 200
            assert "REGISTER" in answer.get("Allow")
