"""A program of one's own on the library, with all the help that Python gives for finding faults: no secret in it (T14).

PYTHONDEVMODE (asyncio's debug mode and its warnings), ``faulthandler``, every logger at DEBUG, every callback of the
loop "slow" so that it is logged with its arguments, and a ``repr`` of all that is at hand: in the middle of each hook.

What a hook raises is logged with its traceback, and so with its text: who puts a secret into an exception of his own
reads it in his log (docs/security.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_e2e_canary import Registrar
from tests.support.canary import canary, disguises

PROGRAM = '''
import asyncio, faulthandler, gc, logging, sys, threading, warnings
from sipcli.config import AccountConfig
from sipcli.credentials import Cancelled, PasswordCredentials, Secret
from sipcli.errors import SipcliError
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent

AOR, WAY = sys.argv[1:]
CANARY = sys.stdin.readline().rstrip("\\n")
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.captureWarnings(True)
faulthandler.enable(all_threads=True)


def show(*things):
    """Everything that somebody who looks for a fault prints."""
    for thing in things:
        print(type(thing).__name__, repr(thing), str(thing), f"{thing}", getattr(thing, "__dict__", ""))
        for name in dir(thing):
            if not name.startswith("__"):
                print("   ", name, repr(getattr(thing, name, None)))
    for task in asyncio.all_tasks() if asyncio._get_running_loop() else ():
        task.print_stack(file=sys.stderr)
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    sys.stdout.flush()


def answer():
    return PasswordCredentials("alice", Secret(CANARY))


def raises(*things):
    mine, also = CANARY, answer()
    show(also, *things)
    raise RuntimeError(f"the hook broke after {len(mine)} letters")


def level2(param):
    if WAY == "level 2 raises":
        raises(param, param.session, param.token)
    if WAY == "level 2 answers":
        deferred = param.defer()
        threading.Thread(target=later, args=(param.account.agent, deferred.send_request, deferred, answer())).start()


def later(agent, send, deferred, credentials):
    with agent.threads.register("later"):
        show(deferred)
        send(credentials)
        try:
            send(credentials)  # a second time: ChallengeGone
        except SipcliError as error:
            show(error)


class Mine(Account):
    def on_auth_challenge(self, challenge):
        if WAY == "level 3 raises":
            raises(challenge, self, self.auth)
        if WAY == "level 3 answers":
            deferred = challenge.defer()
            deferred.on_revoked(lambda mine=answer(): raises(mine))
            threading.Thread(target=later, args=(self.agent, deferred.respond, deferred, answer())).start()
        if WAY == "level 3 answers twice":
            for number in range(3):
                challenge.respond(answer())
        if WAY == "a handle is dropped":
            mine = answer()
            challenge.defer()
            gc.collect()
        if WAY == "a thread dies":
            deferred = challenge.defer()
            threading.Thread(target=raises, args=(deferred, answer())).start()
            asyncio.get_running_loop().call_later(0.2, deferred.abandon)


async def coroutine(challenge):
    mine = answer()
    await asyncio.sleep(0)
    if WAY == "a coroutine raises":
        raises(challenge, mine)
    if WAY == "a coroutine gives nonsense":
        return [mine, {"password": mine}, CANARY]
    show(challenge)
    return mine


async def main():
    asyncio.get_running_loop().slow_callback_duration = 0
    async with UserAgent(max_wait=3, on_auth_challenge=level2) as agent:
        config = AccountConfig(name="work", aor=SipUri.parse(AOR), registrar=SipUri.parse("sip:" + AOR.split("@")[1]),
                               username="alice", ca_file=None, credentials=())
        account = agent.add_account(config, Mine)
        agent.subscribe(lambda *heard: raises(*heard) if WAY == "a listener raises" else show(*heard))
        if WAY.startswith("a coroutine"):
            account.on_challenge(coroutine)
        if WAY == "configured":
            account.auth.set_credentials([answer()])
        try:
            await account.register()
            print("registered")
        except SipcliError as error:
            show(error)
            logging.exception("not registered")
        show(agent, account, account.auth)


asyncio.run(main(), debug=True)
'''
WAYS = {
    "level 2 raises": False, "level 2 answers": True, "level 3 raises": False, "level 3 answers": True,
    "level 3 answers twice": True, "a handle is dropped": False, "a thread dies": False, "a listener raises": False,
    "a coroutine raises": False, "a coroutine gives nonsense": False, "a coroutine answers": True, "configured": True,
}  # fmt: skip
"""Whether the secret is sent."""


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    made = Registrar("granting")
    yield made
    made.server.close()


@pytest.mark.parametrize("way", WAYS)
def test_T14_a_hook_with_the_secret_in_hand_leaves_it_in_no_log(tmp_path: Path, registrar: Registrar, way: str) -> None:
    """Fails, where it raises and for ``configured``, if ``Secret.__repr__`` shows its octets."""
    secret = canary("library")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), registrar.aor, way],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"},
        input=secret + "\n", cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    assert ("registered\n" in done.stdout) is WAYS[way], done.stderr[-1500:]
    assert "Executing <" in done.stderr, "asyncio logged no callback"
    assert ("the hook broke after" in done.stderr) is ("raises" in way or "dies" in way)
    said = (done.stdout + done.stderr).encode()
    known = disguises(secret.encode(), ["alice"], "home")
    assert [way for octets, way in known.items() if octets in said] == []
