"""``sipcli providers``: who could know your secrets, and whether they answer."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from sipcli.cli.chain import ask, build, provider_table
from sipcli.cli.exits import status_of
from sipcli.cli.parameters import GlobalOptions, VerbGroup
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.errors import ConfigError
from sipcli.plugins import BUILTIN, describe, load_provider, where

__all__ = ["command"]


@click.group("providers", cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """Who could know your secrets, and whether they answer."""
    return None if context.invoked_subcommand else _list(context.obj)


@command.command("list")
@click.pass_obj
def list_providers(options: GlobalOptions) -> int:
    """The configured providers and where they look, then the types a configuration may name."""
    return _list(options)


def _list(options: GlobalOptions) -> int:
    async def body(run: Run) -> Outcome:
        configured = await configured_providers(run)
        for entry in configured:
            run.console.data(f"{entry['name']:<14} {entry['type']:<10} {entry['where']}")
        types = [
            {"type": info.type, "from": info.distribution, "builtin": info.builtin, "problem": info.problem}
            for info in await run.in_thread(describe)
        ]
        if not run.options.json:
            run.console.data("types: " + ", ".join(_type_words(entry) for entry in types))
        return Outcome("listed", more={"providers": configured, "types": types})

    return run_verb("providers", options, body)


async def configured_providers(run: Run) -> list[dict[str, Any]]:
    """Every provider that an account or a table names, with the place where it would look."""
    config = run.load_config()
    names = list(config.providers)
    for account in config.accounts.values():
        chains = [account.credentials, *(realm.credentials for realm in account.realms.values())]
        names.extend(name for chain in chains for name in chain if name not in names)
    names.extend(name for name in ("keychain", "prompt") if name not in names)
    found = []
    for name in names:
        table = config.providers.get(name)
        place = await run.in_thread(partial(_where, run, name))
        found.append({"name": name, "type": table.type if table else name, "where": place})
    return found


def _where(run: Run, name: str) -> str:
    return where(build(run, name))


def _type_words(entry: dict[str, Any]) -> str:
    origin = "" if entry["builtin"] else f" (from {entry['from']})"
    problem = f" - {entry['problem']}" if entry["problem"] else ""
    return f"{entry['type']}{origin}{problem}"


@command.command("test")
@click.argument("name")
@click.pass_obj
def test(options: GlobalOptions, name: str) -> int:
    """Ask provider NAME about --account; says that it worked, never what it gave."""

    async def body(run: Run) -> Outcome:
        config = run.load_config()
        if name not in config.providers and name not in BUILTIN:
            from sipcli.config.load import near

            raise ConfigError(f"there is no provider “{name}”", hint=near(name, {*config.providers, *BUILTIN}))
        await run.in_thread(partial(load_provider, name, provider_table(config, name), run.terminal))
        account = run.account()
        answer = await ask(run, account, name)
        facts = {"provider": name, "account": account.name, "provider_ms": answer.took_ms}
        if answer.credentials is not None:
            answer.credentials.secret.wipe()
            return Outcome("found", f"{name} answered for {account.name} in {answer.took_ms:.0f} ms", more=facts)
        assert answer.error is not None
        return Outcome(answer.outcome, f"{name}: {answer.message}", status_of(answer.error), more=facts)

    return run_verb("providers", options, body)
