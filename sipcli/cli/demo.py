"""``sipcli demo``: everything once, on this machine alone: challenge, deferred secret, call, picture, verdict."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.exits import ExitStatus
from sipcli.cli.parameters import GlobalOptions, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.talk import call_facts
from sipcli.config import AccountConfig
from sipcli.credentials import CredentialRequest, PasswordCredentials, Secret
from sipcli.observe.ladder import Ladder
from sipcli.observe.quality import quality_lines

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["command"]

_LOOK_UP_S = 0.12
"""What Vault in the same town takes."""
_TALK_S = 2.0
_PATIENCE_S = 20.0
"""For the answer, and for half a second of tone without a hole: a busy machine tears many."""
_LOOK_S = 0.25
_TONE_HZ = 440


class _SlowStore:
    """Stands in for Vault: knows one password, and takes its time to say it - on a worker, while the stack goes on."""

    name = "store"
    interactive = False

    def __init__(self, password: str) -> None:
        self._password = password

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        request.cancel.wait(_LOOK_UP_S)
        request.cancel.raise_if_set()
        return PasswordCredentials("alice", Secret(self._password), ref="store:voip/alice")


@verb("demo")
@click.pass_obj
def command(options: GlobalOptions) -> int:
    """Register and call inside an embedded sandbox: no configuration, no network, no sound card."""

    async def body(run: Run) -> Outcome:
        from sipcli.sandbox import Sandbox, SandboxConfig

        password = secrets.token_urlsafe(12)
        run.console.data("A SIP server on loopback, an account on it, and a store that needs a while for the password:")
        async with Sandbox(SandboxConfig(users={"alice": password}, algorithms=("SHA-256",))) as sandbox:
            account = run.adopt(AccountConfig.for_aor(sandbox.uri("alice"), name="alice", credentials=("store",)))
            _draw(run)
            async with run.agent([account], providers=lambda _: _SlowStore(password), state=None, trace=True) as agent:
                await agent.account("alice").register()
                facts = await _talk(agent, sandbox.uri("echo"))
        run.more["call"] = facts
        run.console.data("")
        for line in quality_lines(facts["stats"], facts["audio"], facts["codec"]):
            run.console.data(f"  {line}")
        run.console.data("")
        wrong = _judge(run, facts)
        if wrong:
            return Outcome("failed", "the demo failed: " + "; ".join(wrong), ExitStatus.OTHER)
        heard = f"{_TONE_HZ} Hz" if facts["audio"]["tone_hz"] else "tone, torn as this machine is very busy,"
        return Outcome(
            "passed",
            f"registered after a SHA-256 challenge whose answer took {run.tally.waited_ms:.0f} ms, "
            f"and heard our own {heard} come back: everything works.\n"
            "Next: sipcli register sip:you@your.server, or sipcli sandbox to play on.",
        )

    return run_verb("demo", options, body)


def _draw(run: Run) -> None:
    """The picture is what this verb is for, so it goes to stdout; ``--ladder`` would draw it on stderr as well."""
    ladder = Ladder()

    def look(name: str, fields: dict[str, Any]) -> None:
        for line in ladder.feed(name, fields, run.environment.milliseconds()):
            run.console.data(line)

    run.on_notice = look
    run.unsaid = frozenset({"registration", "call", "media"})


async def _talk(agent: UserAgent, target: str) -> dict[str, Any]:
    call = await agent.account("alice").call(target, audio=f"tone:{_TONE_HZ}", codecs=("PCMU",))
    await call.answered(timeout=_PATIENCE_S)
    tone = await _hear(call)
    await call.hangup()
    facts = call_facts(await call.finished())
    if _is_ours(tone):  # what came last may have been torn again
        facts["audio"]["tone_hz"] = tone
    return facts


async def _hear(call: Call) -> float | None:
    """The tone that comes back.  Two seconds do, unless the machine is busy: then it may take ten times as long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _PATIENCE_S
    await asyncio.sleep(_TALK_S)
    while True:
        tone = call.session.report().audio.tone_hz
        if _is_ours(tone) or call.is_over or loop.time() >= until:
            return tone
        await asyncio.sleep(_LOOK_S)


def _is_ours(tone: float | None) -> bool:
    return tone is not None and abs(tone - _TONE_HZ) <= 5


def _judge(run: Run, facts: Mapping[str, Any]) -> list[str]:
    """What did not go as it should; empty when all did."""
    wrong = []
    if run.tally.attempts < 1 or run.tally.provider != "store":
        wrong.append("nobody was asked for the password")
    if not facts["stats"]["rx"]["packets"]:
        wrong.append("no audio came back")
    tone = facts["audio"]["tone_hz"]
    if tone is None and not facts["audio"]["speech_pct"]:
        wrong.append("what came back was silence")
    if tone is not None and not _is_ours(tone):
        wrong.append(f"the tone that came back is {tone} Hz, not {_TONE_HZ}")
    return wrong
