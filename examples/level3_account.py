#!/usr/bin/env python3
"""Level 3: an Account whose ``on_auth_challenge`` decides.

PJSUA2's counterpart: ``Account::onAuthChallenge`` (docs/levels.md).  Inside the
hook ``challenge.respond()`` and ``challenge.abandon()`` decide at once; with
``challenge.defer()`` you decide later, from the loop or any registered thread.

    python examples/level3_account.py --registrar 127.0.0.1:5060 --realm sandbox \
        --user alice --password wonderland --delay 3 --then respond --thread registered
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time

from _shared import Report, account_config, credentials, leave, options

from sipcli.errors import SipcliError
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge


class SlowAccount(Account):
    """Its secret takes ``--delay`` seconds to find."""

    args: argparse.Namespace
    report: Report
    kept: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.report.challenged()
        if self.args.thread == "loop" and self.args.delay <= 0 and self.args.then == "respond":
            challenge.respond(credentials(self.args))  # nothing to wait for: answer at once
            return
        deferred = challenge.defer()
        match self.args.then, self.args.thread:
            case "nothing", _:
                self.kept.append(deferred)
            case _, "loop":
                asyncio.get_running_loop().call_later(self.args.delay, self.decide, deferred)
            case _:
                threading.Thread(target=self.fetch, args=(deferred,), daemon=True).start()

    def fetch(self, deferred: DeferredChallenge) -> None:
        if self.args.thread == "unregistered":
            time.sleep(self.args.delay)
            self.decide(deferred)
        else:
            with self.agent.threads.register("fetch"):
                time.sleep(self.args.delay)
                self.decide(deferred)

    def decide(self, deferred: DeferredChallenge) -> None:
        try:
            match self.args.then:
                case "respond":
                    deferred.respond(credentials(self.args))
                case "abandon":
                    deferred.abandon()
                case "drop":
                    pass  # the last reference goes: the agent abandons it, with a ResourceWarning
        except SipcliError as error:  # UnregisteredThread, ChallengeGone, AgentClosed
            self.report.failed(error)
            self.kept.append(deferred)


async def main() -> int:
    args = options(__doc__.partition("\n")[0])
    report = Report()
    async with UserAgent(max_wait=args.max_wait) as agent:
        account = agent.add_account(account_config(args), SlowAccount)
        account.args, account.report, account.kept = args, report, []
        try:
            await account.register()
        except SipcliError as error:
            return report.print(error)
        return report.print()


if __name__ == "__main__":
    leave(asyncio.run(main()))
