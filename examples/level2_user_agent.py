#!/usr/bin/env python3
"""Level 2: ``UserAgent(on_auth_challenge=…)``, and ``param.handled``.

PJSIP's counterpart: ``pjsua_callback.on_auth_challenge`` (docs/levels.md).  The
hook is called on the loop before anything else is received, so it must return at once:
it sets ``param.handled``, or takes the decision along with ``param.defer()``.

    python examples/level2_user_agent.py --registrar 127.0.0.1:5060 --realm sandbox \
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
from sipcli.ua.agent import AuthChallengeParam, UserAgent
from sipcli.ua.auth.challenge import DeferredToken


class Program:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.report = Report()
        self.kept: list[DeferredToken] = []
        self.agent = UserAgent(on_auth_challenge=self.on_auth_challenge, max_wait=args.max_wait)

    async def run(self) -> int:
        async with self.agent:
            account = self.agent.add_account(account_config(self.args), Account)
            try:
                await account.register()
            except SipcliError as error:
                return self.report.print(error)
            return self.report.print()

    def on_auth_challenge(self, param: AuthChallengeParam) -> None:
        self.report.challenged()
        deferred = param.defer()  # sets param.handled
        match self.args.then, self.args.thread:
            case "nothing", _:
                self.kept.append(deferred)
            case _, "loop":
                asyncio.get_running_loop().call_later(self.args.delay, self.decide, deferred)
            case _:
                # daemon: a look-up that hangs must not hold the exit of the program
                threading.Thread(target=self.fetch, args=(deferred,), daemon=True).start()

    def fetch(self, deferred: DeferredToken) -> None:
        """A slow look-up on a thread of our own."""
        if self.args.thread == "unregistered":
            time.sleep(self.args.delay)
            self.decide(deferred)
        else:
            with self.agent.threads.register("fetch"):
                time.sleep(self.args.delay)
                self.decide(deferred)

    def decide(self, deferred: DeferredToken) -> None:
        try:
            match self.args.then:
                case "respond":
                    deferred.send_request(credentials(self.args))
                case "abandon":
                    deferred.abandon()
                case "drop":
                    pass  # the last reference goes: the agent abandons it, with a ResourceWarning
        except SipcliError as error:  # UnregisteredThread, ChallengeGone, AgentClosed
            self.report.failed(error)
            self.kept.append(deferred)


async def main() -> int:
    return await Program(options(__doc__.partition("\n")[0])).run()


if __name__ == "__main__":
    leave(asyncio.run(main()))
