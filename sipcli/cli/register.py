"""``sipcli register``: bind an address, stay bound, print changes; or once, to see that it works."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.console import Style
from sipcli.cli.parameters import GlobalOptions, account_options, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.words import registered_words
from sipcli.config import AccountConfig
from sipcli.errors import ConfigError, SipcliError

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent

__all__ = ["command"]


@verb("register")
@click.argument("aor", required=False)
@click.option("--once", is_flag=True, help="Bind, report, unbind, leave.")
@click.option("--all", "every", is_flag=True, help="Every account of the configuration, side by side.")
@account_options
@click.pass_obj
def command(options: GlobalOptions, /, aor: str | None, once: bool, every: bool, **said: Any) -> int:
    """Bind AOR (or an account of the configuration), stay bound, print changes."""

    async def body(run: Run) -> Outcome:
        accounts = _accounts(run, aor, every, said)
        run.ends_with_reader = not once
        # The result says it, too; said twice it would only be twice on the screen.
        run.unsaid = frozenset({"registration"} if once and not run.options.verbose else ())
        states = _States(run, accounts, stays=not once)
        async with run.agent(accounts) as agent:
            if not once:
                run.reload_when_hung_up(agent, partial(_accounts, run, aor, every, said))
            words = await _bind(run, agent, accounts, states, keep=not once)
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
        run.on_notice = self.look

    def look(self, name: str, fields: dict[str, Any]) -> None:
        if name == "registration":
            self.last[fields["account"]] = fields
            if fields["state"] == "registered":
                self._run.ready()
            elif fields["state"] == "unregistered" and self._stays and not self._run.options.verbose:
                self._run.console.say(
                    f"{self._aors.get(fields['account'], fields['account'])} is no longer registered", style=Style.DIM
                )


async def _bind(run: Run, agent: UserAgent, accounts: list[AccountConfig], states: _States, *, keep: bool) -> list[str]:
    """Register all at once; the words for each.  Raises what the first of them raised if none succeeded.

    Once bound, an account is kept bound: what fails later is retried with
    growing pauses, and so is an account that fails beside others that succeed.
    Where nothing could be bound there is a mistake, most likely, and a person
    (or a supervisor) who wants to know.
    """

    async def one(account: AccountConfig) -> str:
        async with run.patience(run.options.timeout, f"{account.registrar} did not answer in {run.options.timeout} s"):
            await agent.account(account.name).register(keep=keep)
        fields = states.last.get(account.name, {})
        run.more["registration"] = {
            key: fields.get(key) for key in ("account", "state", "code", "expires_s", "contact", "service_route", "via")
        }
        return registered_words(str(account.aor), fields) + run.tally.times(account.name)

    results = await asyncio.gather(*(one(account) for account in accounts), return_exceptions=True)
    words = [result for result in results if isinstance(result, str)]
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures and (not words or not keep):
        raise failures[0]
    for account, result in zip(accounts, results, strict=True):
        if isinstance(result, SipcliError):
            run.console.say(f"{account.name} is not registered: {result}; it will be tried again", style=Style.BAD)
            _try_again(agent, account)
        elif isinstance(result, BaseException):
            raise result
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
