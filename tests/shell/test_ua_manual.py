"""What a Python developer writes: the names of the package, and the program that the manual begins with."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sipcli
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.testing import Registrar
from tests.support import wavs
from tests.support.clock import self_stepping
from tests.support.pages import blocks
from tests.support.softphone import eventually


def config(address: tuple[str, int], path: Path) -> sipcli.Config:
    host, port = address
    path.write_text(f'[accounts.work]\naor = "sip:alice@{host}:{port}"\ncredentials = []\n')
    path.chmod(0o600)
    return sipcli.load_config(path)


def heard(call: sipcli.Call) -> int:
    """Packets of 20 ms that came."""
    assert call.media is not None
    return call.media.report(verdict=False).rx.packets


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    """The lazy table and what is written for checkers must not drift apart."""
    tree = ast.parse(Path(sipcli.__file__).read_text())
    [guarded] = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.asname: (node.module, alias.name)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == sipcli._HOME
    for name in sipcli.__all__:
        assert getattr(sipcli, name) is not None
    assert set(sipcli.__all__) <= set(dir(sipcli))
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        sipcli.Nonsense  # noqa: B018


@pytest.mark.parametrize("module", ["sipcli", "sipcli.credentials", "sipcli.errors"])
def test_importing_a_corner_does_not_import_the_house(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"asyncio", "ssl", "click", "dns", "sipcli.ua", "sipcli.sip", "importlib.metadata"}


@self_stepping
async def test_the_program_of_the_manual(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        settings = config(registrar.address("udp"), tmp_path / "config.toml")
        events: list[str] = []
        async with sipcli.UserAgent(settings) as agent:
            account = agent.account("work")

            @account.on_challenge
            async def ask(challenge: sipcli.DeferredChallenge) -> PasswordCredentials:
                await asyncio.sleep(0)
                return PasswordCredentials("alice", Secret("wonderland"))

            async def follow() -> None:
                events.extend([event.event async for event in agent.events()])

            following = asyncio.ensure_future(follow())
            async with account.registered():
                assert registrar.bindings("alice")
                call = await account.call("echo", audio=sipcli.Tone(440), record=tmp_path / "rx.wav")
                await call.answered(timeout=20)
                await call.dtmf("12#")
                await eventually(lambda: heard(call) > 90)
                await call.hangup()
                report = await call.finished()
                with pytest.raises(sipcli.CallBusy):
                    await (await account.call("busy")).answered(timeout=20)
            assert not registrar.bindings("alice")
        await following
    assert report.codec in ("OPUS", "PCMU")
    assert report.rx.lost == 0
    assert report.audio.rms_dbfs is not None
    assert report.audio.rms_dbfs > -40
    wavs.assert_tone(tmp_path / "rx.wav", 440, seconds=0.5)
    assert {"registration", "auth.challenged", "auth.done", "call", "media"} <= set(events)


async def test_a_refusal_names_code_realm_and_who_gave_the_answer(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        settings = config(registrar.address("udp"), tmp_path / "config.toml")
        async with sipcli.UserAgent(settings) as agent:
            account = agent.account("work", credentials=[PasswordCredentials("alice", Secret("wrong"))])
            with pytest.raises(sipcli.RegistrationRefused) as caught:
                async with account.registered():
                    pass
        assert caught.value.code == 401
        assert caught.value.realm == "sandbox"


async def test_a_coroutine_may_give_up(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        settings = config(registrar.address("udp"), tmp_path / "config.toml")
        async with sipcli.UserAgent(settings) as agent:
            account = agent.account("work")

            @account.on_challenge
            async def ask(challenge: sipcli.DeferredChallenge) -> None:
                raise sipcli.Cancelled("not today")

            with pytest.raises(sipcli.AuthAbandoned):
                async with account.registered():
                    pass


async def test_draining_takes_no_more_calls_and_waits_for_those_that_are_up(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        settings = config(registrar.address("udp"), tmp_path / "config.toml")
        async with sipcli.UserAgent(settings) as agent:
            account = agent.account("work", credentials=[PasswordCredentials("alice", Secret("wonderland"))])
            account.incoming = lambda call: call.ring()
            async with account.registered():
                call = await account.call("echo", audio=sipcli.Tone(440))
                await call.answered(timeout=20)
                draining = asyncio.ensure_future(agent.drain())
                await asyncio.sleep(0)
                late = await registrar.call("alice")
                await eventually(lambda: late.ended)
                assert late.code == 480
                assert not draining.done()
                await call.hangup()
                async with asyncio.timeout(30):
                    await draining
                assert agent.calls == ()


async def test_the_whole_program_of_the_page_on_levels_runs(tmp_path: Path) -> None:
    """As it stands there, with no more than a configuration; what Python warns of is an error."""
    [program] = [block for page, block in blocks("python") if page.name == "levels.md" and "asyncio.run(" in block]
    secret = tmp_path / "secret"
    secret.write_text("wonderland")
    secret.chmod(0o600)
    place = tmp_path / "config.toml"
    async with Registrar() as registrar:
        host, port = registrar.address("udp")
        place.write_text(
            f'[accounts.work]\naor = "sip:alice@example.com"\nproxy = "sip:{host}:{port};lr"\ncredentials = ["mine"]\n'
            f'[providers.mine]\ntype = "file"\npath = "{secret}"\n'
        )
        place.chmod(0o600)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program),
            env={"PATH": os.environ["PATH"], "SIPCLI_CONFIG": str(place), "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            told, wrong = await process.communicate()
        assert not registrar.bindings("alice")
    assert (process.returncode, wrong.decode()) == (0, "")
    assert re.fullmatch(r"[A-Z0-9]+ [\d.]+ % lost\n", told.decode())
