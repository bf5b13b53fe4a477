"""``sipcli config``: write, check, show the configuration, and say where it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from sipcli.cli.parameters import GlobalOptions, VerbGroup
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.config import AccountConfig, Config, ConfigProblems, PolicyConfig
from sipcli.config.example import EXAMPLE
from sipcli.config.iceserver import IceServer
from sipcli.errors import ConfigError
from sipcli.sip.syntax.uri import SipUri

__all__ = ["command"]

_SAID = ("keepers", "register_headers")
"""Of an account, what no file holds."""
_PLACEHOLDER = re.compile(r"\{[a-z]+\}")


@click.group("config", cls=VerbGroup)
def command() -> None:
    """Write, check, show the configuration."""


@command.command("path")
@click.pass_obj
def path(options: GlobalOptions) -> int:
    """Say where the configuration is, or would be."""

    async def body(run: Run) -> Outcome:
        place = _place(run)
        return Outcome("found" if place.exists() else "missing", str(place), more={"path": str(place)})

    return run_verb("config", options, body)


@command.command("init")
@click.pass_obj
def init(options: GlobalOptions) -> int:
    """Write an example to begin with; an existing file is never touched."""

    async def body(run: Run) -> Outcome:
        place = _place(run)
        write_new(place, EXAMPLE)
        return Outcome("written", f"wrote {place}", more={"path": str(place)})

    return run_verb("config", options, body)


@command.command("check")
@click.pass_obj
def check(options: GlobalOptions) -> int:
    """Read the configuration and say everything that is wrong with it."""

    async def body(run: Run) -> Outcome:
        place = _place(run)
        if not place.exists() and not run.options.config:
            return Outcome("missing", f"{place} does not exist, and none is needed", more={"path": str(place)})
        try:
            config = run.load_config()
        except ConfigProblems as error:
            run.more["problems"] = [
                {"where": problem.where, "message": problem.message, "hint": problem.hint} for problem in error.problems
            ]
            raise
        wrong = missing_files(config) + await run.in_thread(lambda: broken_providers(run))
        if wrong:
            raise ConfigError(
                "\n".join(f"{config.path}: {line}" for line in wrong), hint="correct it, or bring what it names"
            )
        names = ", ".join(config.accounts) or "none"
        return Outcome("valid", f"{place} is right; accounts: {names}", more={"path": str(place)})

    return run_verb("config", options, body)


@command.command("show")
@click.pass_obj
def show(options: GlobalOptions) -> int:
    """Print what sipcli understood, defaults filled in."""

    async def body(run: Run) -> Outcome:
        config = run.load_config()
        shown = as_json(config)
        if not run.options.json:
            import json

            run.console.data(json.dumps(shown, indent=2, ensure_ascii=False))
        return Outcome("shown", more={"config": shown})

    return run_verb("config", options, body)


def _place(run: Run) -> Path:
    place = run.config_path
    if place is None:
        raise ConfigError("there is no home directory to look in", hint="name the file: --config FILE")
    return place


def write_new(place: Path, text: str) -> None:
    """Create *place* with mode 0600, and its folder 0700; refuses what exists, be it a link to nowhere."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{place} exists already", hint="edit it, or name another with --config FILE") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        place.unlink(missing_ok=True)  # half an example would be "there already" next time
        raise OSError(error.errno, error.strerror, str(place)) from None


def missing_files(config: Config) -> list[str]:
    """Certificates, and the sound of the bell, that the configuration names and that cannot be read."""
    found = []
    for account in config.accounts.values():
        for key in ("ca_file", "cert_file", "key_file"):
            file: Path | None = getattr(account, key)
            if file is not None and not os.access(file, os.R_OK):
                found.append(f"[accounts.{account.name}] {key}: {file} cannot be read")
    bell = config.audio.ring_file
    if bell is not None and not os.access(bell, os.R_OK):
        found.append(f"[audio] ring_file: {bell} cannot be read")
    return found


def broken_providers(run: Run) -> list[str]:
    """What the providers themselves say of their tables.  Imports them, so it is for people who ask."""
    from sipcli.cli.chain import provider_table
    from sipcli.plugins import load_provider

    found = []
    for name in run.config.providers:
        try:
            load_provider(name, provider_table(run.config, name), run.terminal)
        except ConfigError as error:
            found.append(str(error))
    return found


def account_json(account: AccountConfig, policy: PolicyConfig) -> dict[str, Any]:
    """An account as ``accounts show`` and ``config show`` print it: every key; of its policy what *policy* is not."""
    shown = {key.name: _value(getattr(account, key.name)) for key in fields(account) if key.name not in _SAID}
    shown["100rel"] = shown.pop("reliable")
    shown["realms"] = {
        name: {"username": realm.username, "credentials": list(realm.credentials)}
        for name, realm in account.realms.items()
    }
    usual = asdict(policy)
    shown["policy"] = {key: value for key, value in asdict(account.policy).items() if value != usual[key]}
    return shown


def _value(value: Any) -> Any:
    if isinstance(value, SipUri | IceServer | Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def as_json(config: Config) -> dict[str, Any]:
    """A configuration as plain values."""
    return {
        "path": str(config.path) if config.path else None,
        "default_account": config.default_account,
        "accounts": {name: account_json(account, config.policy) for name, account in config.accounts.items()},
        "providers": {name: _plain({"type": p.type, **p.options}) for name, p in config.providers.items()},
        "policy": asdict(config.policy),
        "audio": {**asdict(config.audio), "ring_file": str(config.audio.ring_file) if config.audio.ring_file else None},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _without_query(value) if isinstance(value, str) else value


def _without_query(text: str) -> str:
    """A URL whose query shows names and ``{placeholders}`` only: some services want their tokens there (threat T14)."""
    address, mark, query = text.partition("?")
    if not mark or "://" not in address:
        return text
    items = (item.partition("=") for item in query.split("&"))
    return f"{address}?{'&'.join(_item(*parts) for parts in items)}"


def _item(name: str, equals: str, value: str) -> str:
    if not equals:
        return "***"
    return f"{name}={value if _PLACEHOLDER.fullmatch(value) else '***'}"
