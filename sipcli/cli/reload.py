"""SIGHUP where no terminal could have hung up: read the configuration again, ask providers afresh, refresh."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sipcli.cli.console import Style
from sipcli.config import AccountConfig, Config
from sipcli.errors import AgentClosed, ConfigError, SipcliError

if TYPE_CHECKING:
    from sipcli.cli.runtime import Run
    from sipcli.ua.agent import UserAgent

__all__ = ["Reloader"]


class Reloader:
    """Called for each SIGHUP; *again* works out the accounts from the configuration as it is then."""

    def __init__(self, run: Run, agent: UserAgent, again: Callable[[], Iterable[AccountConfig]]) -> None:
        self._run = run
        self._agent = agent
        self._again = again
        self._task: asyncio.Task[None] | None = None
        self._once_more = False
        self._binding: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._reload_until_quiet(), name="reload")
        else:
            self._once_more = True  # the file may have changed after it was read

    async def _reload_until_quiet(self) -> None:
        self._once_more = True
        while self._once_more:
            self._once_more = False
            await self._reload()

    async def _reload(self) -> None:
        before = self._run.config
        try:
            self._run.load_config()
            wanted = {account.name: account for account in self._again()}
        except ConfigError as error:
            self._run.config = before
            self._run.console.say(f"the configuration stays as it was: {error}", style=Style.BAD)
            wanted = {account.name: account.config for account in self._agent.accounts}
        self._agent.config = self._run.config
        # Others stay as they are: what came on stdin, or by a login that is still good, cannot be had again.
        self._agent.broker.shelf.drop(_changed(before, self._run.config))
        self._agent.broker.reset()
        await asyncio.gather(
            *(self._renew(name, wanted.get(name)) for name in {*wanted, *(a.name for a in self._agent.accounts)})
        )

    async def _renew(self, name: str, config: AccountConfig | None) -> None:
        """Refresh an account that is as it was; take back what is gone or different, and bind it as it is now."""
        account = self._agent.find_account(name)
        if account is not None and account.config == config and (account.binding or account.state == "waiting"):
            account.refresh()
            return
        try:
            if account is not None:
                await account.close()
        except SipcliError as error:
            self._run.console.say(f"{name} is still bound as it was: {error}", style=Style.BAD)
        if config is not None:
            task = asyncio.create_task(self._bind(name), name=f"register {name}")
            self._binding.add(task)  # not awaited: it may wait for a person, and the next SIGHUP must not
            task.add_done_callback(self._binding.discard)

    async def _bind(self, name: str) -> None:
        try:
            await self._agent.account(name).register()
        except AgentClosed:
            pass  # we leave, or were told to reload once more
        except SipcliError as error:
            self._run.console.say(f"{name} goes without: {error}", style=Style.BAD)


def _changed(before: Config, after: Config) -> set[str]:
    """The names of providers that are new, gone or different."""
    names = {*before.providers, *after.providers}
    return {name for name in names if before.providers.get(name) != after.providers.get(name)}
