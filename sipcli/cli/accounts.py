"""``sipcli accounts``: what the configuration knows of who we are."""

from __future__ import annotations

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
        return Outcome("listed", message, more={"accounts": [account_json(a) for a in config.accounts.values()]})

    return run_verb("accounts", options, body)


@command.command("show")
@click.argument("name", required=False)
@click.pass_obj
def show(options: GlobalOptions, name: str | None) -> int:
    """Everything about one account."""

    async def body(run: Run) -> Outcome:
        account = choose_account(run.load_config(), name or run.options.account)
        shown = account_json(account)
        for key, value in shown.items():
            if value not in (None, "", {}):
                run.console.data(f"{key:<14} {', '.join(value) if isinstance(value, list) else value}")
        return Outcome("shown", more={"account": shown})

    return run_verb("accounts", options, body)
