#!/usr/bin/env python3
"""Level 1: an AuthSession and its single-use token, on an engine of your own.

PJSIP's counterpart: ``pjsip_auth_clt_async_configure``, ``…_reinit_req``,
``…_async_send_req`` and ``…_async_abandon`` (docs/levels.md).  The challenge
arrives as an event, the token is kept, and the decision is made later - here on
the loop, for level 1 knows no threads.

    python examples/level1_auth_session.py --registrar 127.0.0.1:5060 --realm sandbox \
        --user alice --password wonderland --delay 3 --then respond
"""

from __future__ import annotations

import argparse
import asyncio

from _shared import Report, account_config, credentials, leave, options

from sipcli.errors import SipcliError
from sipcli.sip.auth import AuthChallenged, AuthPolicy, AuthSession, ChallengeToken, GiveUp
from sipcli.sip.engine import Engine
from sipcli.sip.events import Event, RegistrationChanged
from sipcli.ua.auth.terms import profile_of
from sipcli.ua.failures import failure_of
from sipcli.ua.net.endpoint import Endpoint, EndpointConfig, TlsSettings


class Program:
    """One registration, and what is decided about its challenges."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.report = Report()
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[SipcliError | None] = self.loop.create_future()
        # The token's ceiling is what ends a challenge that everybody forgot.
        policy = AuthPolicy(token_ceiling=args.max_wait) if args.max_wait else AuthPolicy()
        self.session = AuthSession(asynchronous=True, policy=policy)
        self.engine = Engine()
        self.endpoint = Endpoint(
            self.engine, config=EndpointConfig(tls=TlsSettings(ca_file=args.ca)), on_event=self.on_event
        )

    async def run(self) -> int:
        await self.endpoint.start()
        try:
            with self.endpoint.turn() as engine:
                engine.add_account(profile_of(account_config(self.args)), self.session)
                registration = engine.register("example", keep=False)
            error = await self.done
            if error is None:
                self.done = self.loop.create_future()
                with self.endpoint.turn():
                    registration.unregister()
                await asyncio.wait({self.done}, timeout=2)
            return self.report.print(error)
        finally:
            with self.endpoint.turn() as engine:
                engine.close()
            await self.endpoint.close()

    def on_event(self, event: Event) -> None:
        """Called inside a turn: keep what you need, and return."""
        if isinstance(event, AuthChallenged):
            self.report.challenged()
            if self.args.then in ("respond", "abandon"):
                self.loop.call_later(self.args.delay, self.decide, event.token)
            # drop, nothing: at this level nobody watches a token that is forgotten, but its ceiling ends it
        elif isinstance(event, RegistrationChanged) and not self.done.done():
            if event.state in ("registered", "unregistered"):
                self.done.set_result(None)
            elif event.state in ("refused", "failed"):
                why, code, reason = event.why, event.code, event.reason
                self.done.set_result(failure_of("registration", "example", code=code, reason=reason, why=why))

    def decide(self, token: ChallengeToken) -> None:
        """The slow look-up is over.  Everything below happens on the loop, in a turn."""
        with self.endpoint.turn():
            if not token.live:
                return
            if self.args.then == "abandon":
                self.session.abandon(token)
                return
            answer = (credentials(self.args),)
            plan = self.session.reinit_request(token, answer)  # changes nothing
            if plan is None:  # no fitting credentials, or only such as were refused already
                self.session.abandon(token, self.session.why_no_plan(token, answer) or GiveUp.NO_CREDENTIALS)
            else:
                self.session.send_request(token, plan)


async def main() -> int:
    return await Program(options(__doc__.partition("\n")[0], threads=False)).run()


if __name__ == "__main__":
    leave(asyncio.run(main()))
