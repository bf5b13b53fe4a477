"""``sipcli register``: bind an address, stay bound, print changes; or once, to see that it works."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.console import Style
from sipcli.cli.parameters import GlobalOptions, account_options, control_option, verb
from sipcli.cli.restrained import register
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.shaping import header_option
from sipcli.cli.words import registered_words
from sipcli.config import AccountConfig
from sipcli.errors import AgentClosed, ConfigError, SipcliError

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent

__all__ = ["command"]


@verb("register")
@click.argument("aor", required=False)
@click.option("--once", is_flag=True, help="Bind, report, unbind, leave.")
@click.option("--all", "every", is_flag=True, help="Every account of the configuration, side by side.")
@header_option("REGISTER", "register_headers")
@account_options
@control_option
@click.pass_obj
def command(
    options: GlobalOptions, /, aor: str | None, once: bool, every: bool, control: Path | None, **said: Any
) -> int:
    """Bind AOR (or an account of the configuration), stay bound, print changes."""

    async def body(run: Run) -> Outcome:
        accounts = _accounts(run, aor, every, said)
        run.ends_with_reader = not once
        # The result says it, too; said twice it would only be twice on the screen.
        run.unsaid = frozenset({"registration"} if once and not run.options.verbose else ())
        states = _States(run, accounts, stays=not once)
        async with run.agent(accounts) as agent, AsyncExitStack() as stack:
            if not once:
                await stack.enter_async_context(run.controlled(agent, control))
                run.reload_when_hung_up(agent, partial(_accounts, run, aor, every, said))
            words = await _bind(run, agent, accounts, states, keep=not once, retry_now=said["retry_now"])
            if once:
                for account in accounts:
                    await agent.account(account.name).unregister()
            else:
                await asyncio.Event().wait()
        return Outcome("registered", "\n".join(words))

    return run_verb("register", options, body)


def _accounts(run: Run, aor: str | None, every: bool, said: dict[str, Any]) -> list[AccountConfig]:
    if not every:
        return [run.account(aor, **said)]
    if aor is not None:
        raise ConfigError("--all and an address contradict each other", hint="leave one of them out")
    names = [name for name, account in run.load_config().accounts.items() if account.register]
    if not names:
        raise ConfigError("there is no account to register", hint="write one: sipcli config init")
    return [run.account(name, **said) for name in names]


class _States:
    """The last ``registration`` event of every account, and ``ready`` at the first that succeeds."""

    def __init__(self, run: Run, accounts: list[AccountConfig], *, stays: bool) -> None:
        """*stays*: who ends it wants to read that the binding is gone; ``--once`` ends by itself."""
        self._run = run
        # Not the configuration's: it may have been read again meanwhile, without this account in it.
        self._aors = {account.name: account.aor for account in accounts}
        self._stays = stays
        self.last: dict[str, dict[str, Any]] = {}
        self._bound: set[str] = set()
        self._failed = 0
        self._hope: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        run.on_notice = self.look

    def _said_to_be_bound(self, account: str) -> bool:
        """Whoever left before the first answer was never registered, and is not told that he is no longer."""
        return account in self._bound and self._stays and not self._run.options.verbose

    async def others_go_on(self) -> bool:
        """One has failed.  True as soon as another is up, or waits for a person; False once all have failed."""
        self._failed += 1
        if self._failed == len(self._aors):
            self._know(hope=False)
        return await asyncio.shield(self._hope)

    def _know(self, *, hope: bool) -> None:
        if not self._hope.done():
            self._hope.set_result(hope)

    def look(self, name: str, fields: dict[str, Any]) -> None:
        if name == "registration":
            self.last[fields["account"]] = fields
            # With a reason it is a person who is awaited; without, a challenge that some provider may answer yet.
            if fields["state"] == "registered" or (fields["state"] == "waiting" and fields.get("reason")):
                self._know(hope=True)
            if fields["state"] == "registered":
                self._bound.add(fields["account"])
                self._run.ready()
            elif fields["state"] == "unregistered" and self._said_to_be_bound(fields["account"]):
                self._run.console.say(
                    f"{self._aors.get(fields['account'], fields['account'])} is no longer registered", style=Style.DIM
                )


async def _bind(
    run: Run, agent: UserAgent, accounts: list[AccountConfig], states: _States, *, keep: bool, retry_now: bool
) -> list[str]:
    """Register all at once; the words for each.  Raises what the first of them raised if none succeeded.

    Once bound, an account is kept bound: what fails later is retried with
    growing pauses, and so is an account that fails beside others that succeed.
    Where nothing could be bound there is a mistake, most likely, and a person
    (or a supervisor) who wants to know.  One that waits for a person keeps no other waiting.
    """

    async def one(account: AccountConfig) -> str | None:
        try:
            return await bound(account)
        except AgentClosed:
            if agent.closed:
                raise
            return None  # the configuration was read again, and whoever did that binds it as it is now
        except SipcliError as error:
            if not keep or not await states.others_go_on():
                raise
            run.console.say(f"{account.name} is not registered: {error}; it will be tried again", style=Style.BAD)
            _try_again(agent, account)
            return None

    async def bound(account: AccountConfig) -> str:
        async with run.patience(run.options.timeout, f"{account.registrar} did not answer in {run.options.timeout} s"):
            await register(run, agent, account, retry_now=retry_now, keep=keep)
        fields = states.last.get(account.name, {})
        run.more["registration"] = {
            key: fields.get(key) for key in ("account", "state", "code", "expires_s", "contact", "service_route", "via")
        }
        return registered_words(str(account.aor), fields) + run.tally.times(account.name)

    results = await asyncio.gather(*(one(account) for account in accounts), return_exceptions=True)
    words = [result for result in results if isinstance(result, str)]
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise failures[0]
    return words


def _try_again(agent: UserAgent, account: AccountConfig) -> None:
    """Leave *account* to its own back-off (RFC 5626 section 4.5); a refused secret is not sent again meanwhile."""

    async def later() -> None:
        await asyncio.sleep(FIRST_PAUSE)
        await agent.account(account.name).register(retry=True)

    task = asyncio.create_task(later(), name=f"register {account.name}")
    _patient.add(task)  # the loop itself would not keep it alive
    task.add_done_callback(_patient.discard)
    # How it went is told by `registration` events; and whoever ends the program ends this, too.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


FIRST_PAUSE = 30.0
"""Seconds until an account that failed at first is tried again (RFC 5626 section 4.5: the base time)."""
_patient: set[asyncio.Task[None]] = set()
