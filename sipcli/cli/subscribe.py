"""``sipcli subscribe``: be told of waiting messages, presence, or somebody's calls (RFC 6665)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.parameters import GlobalOptions, account_options, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.statewords import state_words
from sipcli.cli.who import target_uri
from sipcli.errors import NoAnswer

if TYPE_CHECKING:
    from sipcli.ua.subscriptions.subscription import Subscription

__all__ = ["command"]


@verb("subscribe")
@click.argument("target", required=False)
@click.option(
    "--event",
    "package",
    type=click.Choice(["mwi", "presence", "dialog"]),
    default="mwi",
    show_default=True,
    help="Waiting messages, presence, or the calls of TARGET.",
)
@click.option("--once", is_flag=True, help="Print the first state, and leave.")
@click.option("--from", "sender", metavar="AOR", help="Who asks: an address, or an account's name.")
@partial(account_options, expires="How long to be told at a time; it is renewed.")
@click.pass_obj
def command(
    options: GlobalOptions, /, target: str | None, package: str, once: bool, sender: str | None, **said: Any
) -> int:
    """Wait, and print each change at TARGET as a line; without TARGET, at our own address."""

    async def body(run: Run) -> Outcome:
        seconds = said.pop("expires")
        account = run.account(sender, **said)
        uri = account.aor if target is None else target_uri(target, account)
        run.ends_with_reader = not once
        # The line itself says that there is a subscription.
        run.unsaid = frozenset({"subscription"} if once and not run.options.verbose else ())
        lines = _Lines(run, silent=once)
        async with run.agent([account]) as agent:
            async with run.patience(run.options.timeout, f"{uri} told nothing in {run.options.timeout} s"):
                subscription = await agent.account(account.name).subscribe(uri, package, expires=seconds)
                if once:
                    await _first(subscription)
                else:
                    await subscription.accepted()
            if once:
                await subscription.close()
                return Outcome("told", lines.last, more={"notification": lines.fields})
            run.ready()
            async for _ in subscription:
                pass  # each was printed as it came
        return Outcome("ended", f"the subscription to {uri} has ended")

    return run_verb("subscribe", options, body)


async def _first(subscription: Subscription) -> None:
    """The first state there is; while somebody must yet allow us to know it, there is none."""
    async for notification in subscription:
        if notification.state != "pending" or notification.content is not None:
            return
    raise NoAnswer("the subscription ended before there was a state")


class _Lines:
    """Prints what changed: a refresh brings the same again."""

    def __init__(self, run: Run, *, silent: bool) -> None:
        """*silent*: the result says it."""
        self._run = run
        self._silent = silent
        self._said: dict[int, str] = {}
        self.last = ""
        self.fields: dict[str, Any] = {}
        run.on_notice = self.look

    def look(self, name: str, fields: dict[str, Any]) -> None:
        if name != "notification" or (fields["state"] == "terminated" and not fields.get("content_type")):
            return
        words = state_words(fields)
        self.last, self.fields = words, fields
        if self._said.get(fields["notifier"]) != words:
            self._said[fields["notifier"]] = words
            if not self._silent:
                self._run.console.data(words)
