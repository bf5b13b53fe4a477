"""Keys of a wrong length in the SDP, over TLS, either way round: a sentence and status 12, never audio in the clear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipcli.sandbox import Sandbox
from sipcli.ua.net.endpoint import EndpointConfig, TlsSettings
from tests.support.certs import certificates
from tests.support.cli import Cli, Result, Running
from tests.support.real import require
from tests.support.softphone import Softphone

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
LINE = "m=audio 40000 RTP/SAVP 0\r\na=crypto:{}\r\n"
SHORT, LONG = "c2hvcnQ=", "A" * 60
KEYS = {
    "GCM, short": f"1 AEAD_AES_128_GCM inline:{SHORT}",
    "GCM, long": f"1 AEAD_AES_128_GCM inline:{LONG}",
    "SHA1, short": f"2 AES_CM_128_HMAC_SHA1_80 inline:{SHORT}",
    "SHA1, long": f"2 AES_CM_128_HMAC_SHA1_80 inline:{LONG}",
}
each_key = pytest.mark.parametrize("key", KEYS)


def description(key: str) -> bytes:
    return (HEAD + LINE.format(KEYS[key])).encode()


@asynccontextmanager
async def bob_and_sandbox() -> AsyncIterator[tuple[Softphone, Sandbox]]:
    leaf = certificates().leaf("good")
    trusting = EndpointConfig(tls=TlsSettings(ca_file=certificates().ca_file))
    async with (
        Sandbox(cert_file=leaf.cert_file, key_file=leaf.key_file) as sandbox,
        Softphone("bob", "builder", sandbox.uri(transport="tls"), config=trusting) as bob,
    ):
        await bob.register()
        yield bob, sandbox


@pytest.fixture
def alice(tmp_path: Path) -> Cli:
    require("openssl")
    cli = Cli(tmp_path / "home")
    cli.secret("password", "wonderland")
    return cli


def who(sandbox: Sandbox) -> tuple[str, ...]:
    return (
        *("--json", "--no-input", "--from", "sip:alice@sandbox", "--registrar", sandbox.uri(transport="tls")),
        *("--ca", str(certificates().ca_file), "--password-file", "password", "--srtp", "required"),
    )


def judge(done: Result) -> None:
    assert done.code == 12, done.stderr
    assert "key" in done.result["message"], done.result
    assert "Traceback" not in done.stderr
    assert all(told["state"] != "flowing" for told in done.named("media"))


@each_key
async def test_E02_a_key_of_a_wrong_length_in_the_answer_ends_the_call_with_twelve(alice: Cli, key: str) -> None:
    async with bob_and_sandbox() as (bob, sandbox):
        calling = asyncio.create_task(asyncio.to_thread(alice.run, "call", "sip:bob@sandbox", *who(sandbox)))
        incoming = (await bob.incoming()).call
        assert incoming.offer is not None and b"RTP/SAVP" in incoming.offer
        with bob.endpoint.turn():
            incoming.accept(description(key))
        judge(await calling)
        assert (await bob.ended(incoming)).by == "remote"


@each_key
async def test_E02_a_key_of_a_wrong_length_in_the_offer_is_488_and_twelve(alice: Cli, key: str) -> None:
    async with bob_and_sandbox() as (bob, sandbox):
        words = ("listen", "--answer", "auto", "--max-calls", "1", *who(sandbox))
        listening: Running = alice.start(*words)
        try:
            await asyncio.to_thread(listening.wait_for, "ready")
            with bob.endpoint.turn():
                call = bob.engine.invite("bob", bob.target("alice"), description(key))
            assert (await bob.ended(call)).code == 488
            judge(await asyncio.to_thread(listening.finish, 20))
        finally:
            listening.leave()
