"""``sipcli status``: what the sipclis of this user are doing, each asked over its control socket."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from sipcli.cli.controlclient import RunningSipcli, find_running
from sipcli.cli.parameters import GlobalOptions, control_option, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.words import answer_command
from sipcli.errors import ConfigError, NetworkError
from sipcli.observe.text import quoted, safe_text

__all__ = ["command", "each_answer"]


@verb("status")
@control_option
@click.pass_obj
def command(options: GlobalOptions, control: Path | None) -> int:
    """What running sipclis do: accounts, calls, and who waits for a password."""

    async def body(run: Run) -> Outcome:
        answers = await run.in_thread(partial(each_answer, run, control, "status"))
        for _, answer in answers:
            told = {key: value for key, value in answer.items() if key not in ("v", "id", "ok")}
            run.console.event("status", told)
            for line in _words(told, control):
                run.console.data(line)
        count = {"processes": len(answers)}
        if answers:
            return Outcome("shown", more=count)
        hint = "one that was started with --control PATH: sipcli status --control PATH"
        return Outcome("shown", "no sipcli of yours is running and can be asked", hint=hint, more=count)

    return run_verb("status", options, body)


def each_answer(run: Run, control: Path | None, command: str) -> list[tuple[RunningSipcli, dict[str, Any]]]:
    """*Worker.*  What each running sipcli answers to *command*; what is left of dead ones is passed over."""
    answers = []
    for running in find_running(control, run.environment.variables):
        try:
            answers.append((running, running.ask(command)))
        except (ConfigError, NetworkError, ConnectionRefusedError) as error:
            if control is not None and not isinstance(error, ConnectionRefusedError):
                raise
            if control is not None:
                raise NetworkError(f"nobody listens at {control}", hint="is that sipcli still running?") from None
            if not isinstance(error, ConnectionRefusedError):
                run.console.say(f"{running.path.name} is passed over: {error}")
    return answers


def _words(status: dict[str, Any], control: Path | None) -> list[str]:
    """For people: the process, then a line for each account and call; *control* as ``--control`` named it."""
    lines = [f"sipcli {status.get('verb')}, process {status.get('pid')}, version {status.get('version')}"]
    waiting = {entry["account"]: entry for entry in status.get("waiting", ())}
    for account in status.get("accounts", ()):
        line = f"  {account['account']:<16} {account['aor']:<34} {account['state']}"
        if "expires_in_s" in account:
            line += f", bound for {account['expires_in_s']:.0f} s more"
        if entry := waiting.get(account["account"]):
            refused = f", the last one was refused ({entry['refused']})" if entry.get("refused") else ""
            realm = quoted(entry["realm"])
            line += f" for the password of realm {realm}{refused}; {answer_command(account['account'], control)}"
        lines.append(line)
    calls = status.get("calls", ())
    return lines + [f"  {c['call']:<16} {c['direction']:<3} {safe_text(c['remote'])} {c['state']}" for c in calls]
