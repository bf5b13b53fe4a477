"""``sipcli call``: place a call, hear it, hang up; the exit status says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import click

from sipcli.cli.cards import audible
from sipcli.cli.incoming import AnswerPlan, CallDesk
from sipcli.cli.parameters import (
    GlobalOptions,
    account_options,
    control_option,
    follow_option,
    media_options,
    verb,
)
from sipcli.cli.phone import Phone, person_there
from sipcli.cli.restrained import register
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.shaping import dtmf_after_option, header_option
from sipcli.cli.talk import Talk
from sipcli.cli.who import target_uri
from sipcli.config import AccountConfig
from sipcli.errors import NoAnswer, SipcliError

__all__ = ["command"]


@verb("call")
@click.argument("target")
@click.option("--from", "sender", metavar="AOR", help="Who calls: an address, or an account's name.")
@click.option("--no-register", is_flag=True, help="Call without registering first.")
@click.option("--late-offer", is_flag=True, help="Leave the offer to the other side: an INVITE without SDP.")
@header_option("INVITE")
@media_options
@dtmf_after_option
@follow_option("transfer", "When they send us elsewhere")
@follow_option("redirect", "When they are elsewhere (3xx)")
@account_options
@control_option
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    target: str,
    sender: str | None,
    no_register: bool,
    late_offer: bool,
    headers: tuple[tuple[str, str], ...],
    control: Path | None,
    **said: Any,
) -> int:
    """Call TARGET; registers first, if the account does.

    On a terminal keys command the call: h hangs up, digits are sent, m mutes, o holds, and ? lists all of them.
    """

    async def body(run: Run) -> Outcome:
        talk = Talk.wanted(run, said)
        account = run.account(sender, **said)
        uri = target_uri(target, account)
        talk.checked(account, uri)
        run.ends_with_reader = True
        at_hand = person_there(run)
        async with run.agent([account], trace=at_hand) as agent, run.controlled(agent, control):
            me, phone = agent.account(account.name), Phone(run, agent, talk)
            if account.register and not no_register:
                async with run.patience(run.options.timeout, f"{account.registrar} did not answer"):
                    await register(run, agent, account, retry_now=said["retry_now"])
            desk = CallDesk(run, AnswerPlan("ask"), talk.beside(), at_once=1)
            if at_hand:
                me.incoming = desk.incoming
            async with audible(agent, talk.tones) as desk.tones, AsyncExitStack() as hands:
                try:
                    async with _answered_in_time(run, account, said["ring_timeout"]):
                        call = await talk.dial(me, uri, headers=headers, late_offer=late_offer)
                        await hands.enter_async_context(phone.at_hand())
                        await call.answered()
                    await talk.until_the_end(call)
                except SipcliError:
                    await phone.until_free(desk)
                    raise
                await phone.until_free(desk)
        return talk.outcome(str(uri))

    return run_verb("call", options, body)


@asynccontextmanager
async def _answered_in_time(run: Run, account: AccountConfig, ring_timeout: float | None) -> AsyncIterator[None]:
    """NoAnswer when ``--timeout`` passes (authentication not counted), or ``--ring-timeout`` after the first ring."""
    rang: asyncio.Event = asyncio.Event()

    def look(name: str, fields: dict[str, Any]) -> None:
        if name == "call" and fields["state"] in ("ringing", "early") and fields["direction"] == "out":
            rang.set()

    run.on_notice = look
    sentence = f"nobody answered in {run.options.timeout:g} s" if run.options.timeout else ""
    try:
        async with run.patience(run.options.timeout, sentence):
            if ring_timeout is None:
                yield
                return
            try:
                async with asyncio.timeout(None) as scope:
                    loop = asyncio.get_running_loop()
                    watch = loop.create_task(_start_at(rang, scope, ring_timeout))
                    try:
                        yield
                    finally:
                        watch.cancel()
            except TimeoutError:
                raise NoAnswer(f"it rang for {ring_timeout:g} s, and nobody answered") from None
    finally:
        run.on_notice = None


async def _start_at(rang: asyncio.Event, scope: asyncio.Timeout, seconds: float) -> None:
    await rang.wait()
    if not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time() + seconds)
