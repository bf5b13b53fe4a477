"""SIPp, which nobody here wrote, against our server transactions on real timers, also where packets get lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sipcli.sandbox import Sandbox
from tests.support.real import require
from tests.support.servers.process import free_port
from tests.support.softphone import eventually

pytestmark = pytest.mark.real("sipp")

OPEN = {"challenged": frozenset[str]()}


async def sipp(folder: Path, remote: str, service: str, *options: str) -> tuple[int, str]:
    """SIPp's built-in caller: INVITE, ACK, BYE, repeated as RFC 3261 says.  Exit status and complaints."""
    port = str(free_port(block=2))
    argv = ["-sn", "uac", "-s", service, remote, "-i", "127.0.0.1", "-p", port, "-nostdin", *options]
    argv += ["-trace_err", "-error_file", str(folder / "errors.log"), "-timeout", "60s", "-timeout_error"]
    process = await asyncio.create_subprocess_exec(
        "sipp", *argv, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        status = await asyncio.wait_for(process.wait(), 75)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    errors = folder / "errors.log"
    return status, errors.read_text() if errors.exists() else ""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    require("sipp")
    async with Sandbox(**OPEN) as running:
        yield running


def where(sandbox: Sandbox) -> str:
    host, port = sandbox.address()
    return f"{host}:{port}"


@pytest.mark.parametrize("transport", ["u1", "t1", "tn"])
async def test_thirty_calls_a_second(sandbox: Sandbox, tmp_path: Path, transport: str) -> None:
    status, errors = await sipp(
        tmp_path, where(sandbox), "echo", "-m", "30", "-r", "30", "-d", "200", "-t", transport, "-max_socket", "64"
    )
    assert (status, errors) == (0, "")
    assert len(sandbox.calls) == 30
    assert all(record.ended for record in sandbox.calls)
    assert sandbox.statuses("BYE") == [200] * 30


async def test_calls_go_through_although_every_fifth_packet_is_lost(sandbox: Sandbox, tmp_path: Path) -> None:
    """SIPp loses packets both ways; its retransmissions and ours must mend it, and make no call twice."""
    status, errors = await sipp(
        tmp_path, where(sandbox), "echo", "-m", "15", "-r", "15", "-d", "100", "-t", "u1", "-lost", "20"
    )
    assert status == 0, errors
    assert len({record.sip_call_id for record in sandbox.calls}) == len(sandbox.calls) == 15
    assert sandbox.statuses("INVITE").count(200) > 15, "nothing was lost: the test shows nothing"


async def test_a_refusal_is_acknowledged(sandbox: Sandbox, tmp_path: Path) -> None:
    """SIPp's caller does not expect 486 and gives up with status 1, but it acknowledges."""
    status, _ = await sipp(tmp_path, where(sandbox), "busy", "-m", "1", "-t", "u1")
    assert status == 1
    assert sandbox.statuses("INVITE").count(486) >= 1
    await eventually(lambda: len(sandbox.requests("ACK")) == 1)
