"""``sipcli auth``: keep a secret in the keychain, erase it, or try the chain without calling anybody."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from sipcli.cli.answer import command as answer_command
from sipcli.cli.chain import Answer, ask, provider_table, request_for
from sipcli.cli.parameters import GlobalOptions, VerbGroup
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.config import AccountConfig
from sipcli.credentials import (
    Cancelled,
    CancelSignal,
    CredentialProvider,
    Forgets,
    NotFound,
    PasswordCredentials,
    Remembers,
    Unavailable,
)
from sipcli.errors import AuthAbandoned, NoCredentials, ProviderFailed
from sipcli.plugins import make_provider

__all__ = ["command"]

_STORE_S = 120.0
"""A keychain may open an unlock dialog, and a person may have to find the window."""


@click.group("auth", cls=VerbGroup)
def command() -> None:
    """Save, forget and test secrets, and answer who waits for one."""


command.add_command(answer_command)


@command.command("save")
@click.argument("who", metavar="ACCOUNT", required=False)
@click.option(
    "--password-file", metavar="FILE|-", help="Read the password from FILE, or from stdin, instead of asking."
)
@click.pass_obj
def save(options: GlobalOptions, who: str | None, password_file: str | None) -> int:
    """Keep the password of ACCOUNT (a name, or an address) in the keychain."""

    async def body(run: Run) -> Outcome:
        account = run.account(who)
        name = keychain_of(run, account)
        if password_file is not None:
            source = run.account(who, password_file=password_file).credentials[0]
            answer = await ask(run, account, source)
            if answer.error is not None:
                raise answer.error
            found = answer.credentials
        else:
            await run.in_thread(partial(_look, run, account, name))
            found = await _typed(run, account)

        def keep() -> None:
            keychain = _strict(run, name)
            cancel = CancelSignal()
            try:
                if not isinstance(keychain, Remembers):
                    keychain.get(request_for(run, account, name, cancel, timeout=_STORE_S))  # says what is wrong
                    raise Unavailable(f"{name} keeps nothing")
                assert found is not None
                keychain.remember(request_for(run, account, name, cancel, timeout=_STORE_S), found)
            finally:
                cancel.close()

        try:
            await run.in_thread(keep)
        finally:
            if found is not None:
                found.secret.wipe()
        run.state.pardon(account)
        unasked = "" if name in account.credentials else f'; add "{name}" to credentials of account {account.name}'
        words = f"the password of {_bare(account)} is in the keychain" + (unasked and f", which is not asked{unasked}")
        return Outcome("saved", words, more=_facts(account, name))

    return run_verb("auth", options, body)


@command.command("forget")
@click.argument("who", metavar="ACCOUNT", required=False)
@click.option("--pins", is_flag=True, help="Not the password, but what is remembered of the account's servers.")
@click.pass_obj
def forget(options: GlobalOptions, who: str | None, pins: bool) -> int:
    """Erase what the keychain holds for ACCOUNT."""

    async def body(run: Run) -> Outcome:
        account = run.account(who)
        if pins:
            return _forget_pins(run, account)
        name = keychain_of(run, account)

        def erase() -> None:
            keychain = _strict(run, name)
            cancel = CancelSignal()
            try:
                request = request_for(run, account, name, cancel, timeout=_STORE_S)
                found = keychain.get(request)
                # Awaitable providers keep nothing for us; a keychain answers at once.
                if not isinstance(keychain, Forgets) or not isinstance(found, PasswordCredentials):
                    raise Unavailable(f"{name} forgets nothing")
                keychain.forget(request, found)
                found.secret.wipe()
            finally:
                cancel.close()

        try:
            await run.in_thread(erase)
        except NotFound:
            return Outcome("nothing", f"the keychain holds nothing for {_bare(account)}", more=_facts(account, name))
        return Outcome("forgotten", f"the keychain has forgotten {_bare(account)}", more=_facts(account, name))

    return run_verb("auth", options, body)


def _forget_pins(run: Run, account: AccountConfig) -> Outcome:
    """Its servers may be set back, and its refusals do not count any more (decisions 30 and 31)."""
    if run.state.forget(account):
        words = f"what the servers of {_bare(account)} asked for is forgotten; restart what is running"
        return Outcome("forgotten", words, more={"account": account.name})
    return Outcome(
        "nothing", f"nothing is remembered of the servers of {_bare(account)}", more={"account": account.name}
    )


@command.command("test")
@click.argument("who", metavar="ACCOUNT", required=False)
@click.pass_obj
def test(options: GlobalOptions, who: str | None) -> int:
    """Ask the chain of ACCOUNT, without SIP; says that it worked, never what it gave."""

    async def body(run: Run) -> Outcome:
        account = run.account(who)
        answers: list[Answer] = []
        for name in account.credentials:
            answer = await ask(run, account, name)
            answers.append(answer)
            _report(run, answer)
            if answer.credentials is not None:
                where = answer.credentials.ref or name
                answer.credentials.secret.wipe()
                return Outcome(
                    "found",
                    f"{name} has a secret for {_bare(account)} ({where}, {answer.took_ms:.0f} ms)",
                    more=_facts(account, name),
                )
            if answer.outcome == "cancelled":
                raise AuthAbandoned(answer.message or "cancelled", provider=name)
        raise _none_found(run, account, answers)

    return run_verb("auth", options, body)


def _strict(run: Run, name: str) -> CredentialProvider:
    """The keychain *name*, which must exist: one that nobody named may otherwise be absent without a word."""
    return make_provider(name, {**provider_table(run.config, name), "optional": False}, run.terminal)


def _look(run: Run, account: AccountConfig, name: str) -> None:
    """Raises what is wrong with the keychain, before a person types a password for it."""
    cancel = CancelSignal()
    try:
        found = _strict(run, name).get(request_for(run, account, name, cancel, timeout=_STORE_S))
        if isinstance(found, PasswordCredentials):
            found.secret.wipe()
    except NotFound:
        pass  # it is there, and has room
    finally:
        cancel.close()


async def _typed(run: Run, account: AccountConfig) -> PasswordCredentials:
    cancel = CancelSignal()
    try:
        secret = await run.in_thread(
            lambda: run.terminal.ask(f"Password for {_bare(account)}: ", secret=True, cancel=cancel), "sipcli-prompt"
        )
    except NotFound as error:
        raise NoCredentials(str(error), hint="hand it over with --password-file FILE, or - for stdin") from None
    except Cancelled as error:
        raise AuthAbandoned("nothing was saved") from error
    finally:
        cancel.set()
    if not secret:
        raise AuthAbandoned("nothing was typed, and nothing was saved")
    return PasswordCredentials(account.username, secret)


def keychain_of(run: Run, account: AccountConfig) -> str:
    """The provider of type ``keychain`` in the account's chain, or the built-in one."""
    for name in account.credentials:
        if provider_table(run.config, name)["type"] == "keychain":
            return name
    return "keychain"


def _report(run: Run, answer: Answer) -> None:
    fields: dict[str, Any] = {
        "challenge": "test",
        "provider": answer.provider,
        "outcome": answer.outcome,
        "took_ms": answer.took_ms,
    }
    if answer.credentials is not None and answer.credentials.ref:
        fields["secret_ref"] = answer.credentials.ref
    if answer.message:
        fields["message"] = answer.message
    run.event("auth.provider", fields)


def _none_found(run: Run, account: AccountConfig, answers: list[Answer]) -> Exception:
    """The most telling answer wins: denied before unavailable before not found."""
    for outcome in ("denied", "unavailable"):
        for answer in answers:
            if answer.outcome == outcome:
                return ProviderFailed(f"{answer.provider}: {answer.message}", provider=answer.provider)
    said = "; ".join(f"{answer.provider}: {answer.message}" for answer in answers) or "its credentials list is empty"
    hint = "put it where one of them looks: sipcli providers list"
    if any(isinstance(answer.error, NotFound) and answer.error.room for answer in answers):
        hint = f"keep one: sipcli auth save {account.name}"
    return NoCredentials(f"nobody has a secret for {_bare(account)}: {said}", hint=hint)


def _bare(account: AccountConfig) -> str:
    return str(account.aor).partition(":")[2]


def _facts(account: AccountConfig, provider: str) -> dict[str, Any]:
    return {"account": account.name, "provider": provider}
