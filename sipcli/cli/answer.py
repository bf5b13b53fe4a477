"""``sipcli auth answer``: the person is here, the sipcli that waits for him is elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from sipcli.cli.controlclient import CommandFailed, RunningSipcli
from sipcli.cli.exits import ExitStatus, status_of
from sipcli.cli.parameters import GlobalOptions, Verb, control_option
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.status import each_answer
from sipcli.cli.who import check_password_file
from sipcli.cli.words import answer_command
from sipcli.credentials import Cancelled, CancelSignal, CredentialRequest, NotFound, PasswordCredentials, Secret
from sipcli.errors import AuthAbandoned, ConfigError, NoCredentials, Refused
from sipcli.plugins import make_provider
from sipcli.ua.failures import plain

__all__ = ["command"]

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One account that waits in one process; *entry* is what that says of it."""

    running: RunningSipcli
    pid: int
    entry: dict[str, Any]

    @property
    def account(self) -> str:
        return str(self.entry["account"])

    @property
    def bare(self) -> str:
        return str(self.entry["aor"]).partition(":")[2]

    def is_meant(self, who: str | None) -> bool:
        return who is None or who in (self.account, self.bare, self.entry["aor"])

    def __str__(self) -> str:
        return f"{self.account} ({self.bare}) in process {self.pid}, {self.running.path}"


@click.command("answer", cls=Verb)
@click.argument("who", metavar="ACCOUNT", required=False)
@click.option("--username", metavar="NAME", help="Answer as NAME instead of the account's own user name.")
@click.option(
    "--password-file", metavar="FILE|-", help="Read the password from FILE, or from stdin, instead of asking."
)
@control_option
@click.pass_obj
def command(
    options: GlobalOptions, who: str | None, username: str | None, password_file: str | None, control: Path | None
) -> int:
    """Give a running sipcli the password that it waits for."""

    async def body(run: Run) -> Outcome:
        name = who or run.options.account
        waiting = await run.in_thread(partial(_waiting, run, control))
        meant = [item for item in waiting if item.is_meant(name)]
        if not meant:
            return _nobody(name, waiting)
        if len(meant) > 1:
            raise ConfigError(
                "which one? " + "; ".join(map(str, meant)), hint="name the account, or the socket: --control PATH"
            )
        only = meant[0]
        if password_file is None:
            secret = await _typed(run, only)
        else:
            secret = await run.in_thread(partial(_read, run, password_file))
        patience = run.options.timeout or _PATIENCE_S
        fields: dict[str, Any] = {"account": only.account, "wait_s": min(patience, 300.0)}
        fields |= {"realm": only.entry["realm"], "server": only.entry.get("server")}  # for whom it was typed
        if username is not None:
            fields["username"] = username
        try:
            answer = await run.in_thread(partial(only.running.ask, "auth.answer", fields, secret=secret, wait=patience))
        except CommandFailed as error:
            if error.kind != "not_waiting":
                raise
            return Outcome("not_waiting", str(error), ExitStatus.OTHER, hint="look how it goes: sipcli status")
        finally:
            secret.wipe()
        return _verdict(only, answer, answer_command(only.account, control))

    return run_verb("auth", options, body)


def _waiting(run: Run, control: Path | None) -> list[_Waiting]:
    """*Worker.*  Everybody who waits, in whatever process."""
    return [
        _Waiting(running, int(answer["pid"]), entry)
        for running, answer in each_answer(run, control, "auth.waiting")
        for entry in answer["waiting"]
    ]


def _nobody(name: str | None, waiting: list[_Waiting]) -> Outcome:
    who = f"no sipcli of yours waits for the password of {name}" if name else "no sipcli of yours waits for a password"
    others = "; ".join(map(str, waiting))
    hint = f"these wait: {others}" if others else "look how it goes: sipcli status; if it has a --control PATH, name it"
    return Outcome("not_waiting", who, ExitStatus.OTHER, hint=hint)


async def _typed(run: Run, waiting: _Waiting) -> Secret:
    """Asked for here, without echo.  The realm is the server's text."""
    entry = waiting.entry
    refused = f"The server refused the last one ({entry['refused']}). " if entry.get("refused") else ""
    user, whose = plain(str(entry["username"])), plain(waiting.bare)
    what = whose if whose.startswith(f"{user}@") else f"{user} ({whose})"
    named = "" if waiting.account == waiting.bare else f", account {plain(waiting.account)}"
    server = f", server {plain(str(entry['server']))} (TLS)" if entry.get("server") else ""
    question = f'{refused}Password for {what}{named}{server}, realm "{plain(str(entry["realm"]))}": '
    cancel = CancelSignal()
    try:
        secret = await run.in_thread(lambda: run.terminal.ask(question, secret=True, cancel=cancel), "sipcli-prompt")
    except NotFound as error:
        raise NoCredentials(str(error), hint="hand it over with --password-file FILE, or - for stdin") from None
    except Cancelled:
        raise AuthAbandoned("nothing was given: it still waits", hint="run it again and answer the prompt") from None
    finally:
        cancel.set()
    if not secret:
        raise AuthAbandoned("nothing was typed: it still waits", hint="run it again and answer the prompt")
    return secret


def _read(run: Run, path: str) -> Secret:
    """*Worker.*  What the file provider finds in *path*, by its rules about who else may read it."""
    check_password_file(path)
    provider = make_provider("password-file", {"type": "file", "path": path}, run.terminal)
    request = CredentialRequest(account="", aor="sip:", username="nobody", realm="", deadline=time.monotonic() + 30)
    found = provider.get(request)
    assert isinstance(found, PasswordCredentials)
    return found.password


def _verdict(waiting: _Waiting, answer: dict[str, Any], again: str) -> Outcome:
    """What the server said, and the exit status of that; *again* is what to type for one more try."""
    outcome, code, reason = str(answer.get("outcome")), answer.get("code"), plain(str(answer.get("reason") or ""))
    said = f"{code} {reason}".strip() if code else reason or "no answer"
    more = {key: answer.get(key) for key in ("account", "code", "reason", "expires_s")}
    who = f"sip:{waiting.bare}"
    match outcome:
        case "registered":
            lasts = f" for {answer['expires_s']} s" if answer.get("expires_s") is not None else ""
            return Outcome(outcome, f"registered {who}{lasts}", more=more)
        case "refused":
            words = f"the server refused that password ({said}); {waiting.account} waits again"
            return Outcome(outcome, words, ExitStatus.REFUSED, hint=f"try another: {again}", more=more)
        case "waiting":
            words = f"that was taken, and {waiting.account} waits for one more"
            return Outcome(outcome, words, ExitStatus.NO_CREDENTIALS, hint=f"give it: {again}", more=more)
        case "trying":
            words = f"nothing was heard of {who} yet"
            return Outcome(outcome, words, ExitStatus.TIMEOUT, hint="look how it goes: sipcli status", more=more)
        case "retrying":
            words = f"{who} is not registered ({said}); it will be tried again with that password"
            return Outcome(outcome, words, _status(code, reason), hint="look how it goes: sipcli status", more=more)
    return Outcome(outcome, f"the registration of {who} was ended meanwhile ({said})", ExitStatus.OTHER, more=more)


def _status(code: Any, reason: str) -> ExitStatus:
    if isinstance(code, int):
        return status_of(Refused("", code=code))
    return ExitStatus.NETWORK if reason.partition(":")[0] in ("dns", "connect", "tls", "lost") else ExitStatus.TIMEOUT
