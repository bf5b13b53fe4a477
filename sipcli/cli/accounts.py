"""``sipcli accounts``: what the configuration knows of who we are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from sipcli.cli.config_cmd import account_json
from sipcli.cli.parameters import GlobalOptions, VerbGroup
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.who import choose_account

__all__ = ["command"]


@click.group("accounts", cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int | None:
    """The accounts of the configuration."""
    return None if context.invoked_subcommand else _list(context.obj)


@command.command("list")
@click.pass_obj
def list_accounts(options: GlobalOptions) -> int:
    """One line per account; the default one is marked with a star."""
    return _list(options)


def _list(options: GlobalOptions) -> int:
    async def body(run: Run) -> Outcome:
        config = run.load_config()
        for name, account in config.accounts.items():
            mark = "*" if name == config.default_account else " "
            chain = ", ".join(account.credentials)
            run.console.data(f"{mark} {name:<16} {account.aor!s:<34} at {account.registrar}  [{chain}]")
        message = "" if config.accounts else "there are no accounts; write one: sipcli config init"
        return Outcome(
            "listed", message, more={"accounts": [account_json(a, config.policy) for a in config.accounts.values()]}
        )

    return run_verb("accounts", options, body)


@command.command("show")
@click.argument("name", required=False)
@click.pass_obj
def show(options: GlobalOptions, name: str | None) -> int:
    """Everything about one account."""

    async def body(run: Run) -> Outcome:
        config = run.load_config()
        shown = account_json(choose_account(config, name or run.options.account), config.policy)
        for key, value in _leaves(shown):
            if value not in (None, "", []):
                run.console.data(f"{key:<17} {_words(value)}")
        return Outcome("shown", more={"account": shown})

    return run_verb("accounts", options, body)


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in *table* and below it, each with its dotted name."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"  # as the file has it
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)
