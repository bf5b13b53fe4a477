"""Registering, unless the account was refused too often of late: a loop around sipcli must not hammer (threat T04)."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.config import AccountConfig
from sipcli.errors import AuthRefused, Refused
from sipcli.sip.authn.restraint import Restraint
from sipcli.ua.account import Binding

if TYPE_CHECKING:
    from sipcli.cli.runtime import Run
    from sipcli.ua.agent import UserAgent

__all__ = ["register"]

_NO = frozenset((401, 403, 407))


async def register(
    run: Run, agent: UserAgent, account: AccountConfig, *, retry_now: bool = False, **how: Any
) -> Binding:
    """``account.register(**how)``, counted.  Raises AuthRefused, and sends nothing, while the account must wait.

    Where a person can be asked, he decides; what he mistyped is not held against him.
    """
    if not retry_now and _seconds_left(run, account) and not await _can_ask(run, agent, account):
        _hold_back(run, account)
    try:
        binding: Binding = await agent.account(account.name).register(**how)
    except (AuthRefused, Refused) as error:
        # Where no secret of ours was used it was our own policy that said no.
        ours = isinstance(error, AuthRefused) and error.provider is None
        if error.code in _NO and not ours and not _was_asked(agent, account):
            run.state.keep_restraint(account, lambda before: before.refused(time.time(), random.uniform))
        raise
    if run.state.restraint(account).refusals:
        run.state.keep_restraint(account, lambda _: Restraint())
    return binding


def _seconds_left(run: Run, account: AccountConfig) -> float:
    """How long the account must wait; 0.0 if it need not, or if its secret was written anew since."""
    restraint = run.state.restraint(account)
    if any(_changed_at(path) > restraint.since for path in _secret_files(run, account)):
        return 0.0
    return restraint.left(time.time())


def _hold_back(run: Run, account: AccountConfig) -> None:
    refusals, left = run.state.restraint(account).refusals, _seconds_left(run, account)
    raise AuthRefused(
        f"{account.aor} was refused {refusals} times in a row, so nothing is sent for another {left:.0f} s",
        hint=f"{_correction(run, account)}, or do not wait: --retry-now",
    )


def _correction(run: Run, account: AccountConfig) -> str:
    """How the secret is corrected, so that the pause ends by that: where it comes from decides."""
    files = [path for path in _secret_files(run, account) if str(path) != "-"]
    if files:
        return f"correct the secret in {files[0]}, which ends the pause"
    if any(_type(run, name) == "keychain" for name in _names(account)):
        return f"correct the secret where it is kept (in the keychain: sipcli auth save {account.name})"
    return "correct the secret where it is kept"


def _names(account: AccountConfig) -> Iterator[str]:
    yield from account.credentials
    for realm in account.realms.values():
        yield from realm.credentials


def _type(run: Run, name: str) -> str:
    table = run.config.providers.get(name)
    return name if table is None else table.type


async def _can_ask(run: Run, agent: UserAgent, account: AccountConfig) -> bool:
    """Is there somebody to ask, on the terminal or in a window?  The provider knows whether it would open one."""
    asking = [name for name in _names(account) if _type(run, name) in ("prompt", "askpass")]
    if run.terminal.available and any(_type(run, name) == "prompt" for name in asking):
        return True
    for name in asking:
        with contextlib.suppress(Exception):  # whoever asks it will say what is wrong with it
            provider = await run.in_thread(partial(agent.broker.shelf.take, name))
            if getattr(provider, "opens_window", False):
                return True
    return False


def _was_asked(agent: UserAgent, account: AccountConfig) -> bool:
    """Providers are built when they are first asked, so that one that is known to ask a person has done so."""
    return any(agent.broker.shelf.interactive(name) for name in _names(account))


def _secret_files(run: Run, account: AccountConfig) -> Iterator[Path]:
    for name in _names(account):
        table = run.config.providers.get(name)
        if table is not None and table.type == "file":
            yield Path(str(table.options.get("path", "")))


def _changed_at(path: Path) -> float:
    """When the secret in *path* was last written; long ago if nobody knows."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
