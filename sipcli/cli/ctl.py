"""``sipcli ctl``: hang up, hold, mute, send digits, confer, record - in the call that another sipcli of yours is in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from sipcli.cli.callctl import CALL_COMMANDS
from sipcli.cli.controlclient import CommandFailed, RunningSipcli
from sipcli.cli.exits import ExitStatus
from sipcli.cli.parameters import GlobalOptions, control_option, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.status import each_answer
from sipcli.cli.switchctl import SWITCH_COMMANDS
from sipcli.errors import ConfigError

__all__ = ["command"]

_PATIENCE_S = 40.0
"""A hold may be challenged, and its secret looked for."""
_WANTS = {"dtmf": "digits", "record": "file", "switch": "call"}


@verb("ctl")
@click.argument("word", metavar="COMMAND", type=click.Choice((*CALL_COMMANDS, *SWITCH_COMMANDS, "dnd")))
@click.argument("what", metavar="[DIGITS|FILE|ID|on|off]", required=False)
@click.option("--call", "call_id", metavar="ID", help="Which call, as `sipcli status` names it.")
@control_option
@click.pass_obj
def command(options: GlobalOptions, word: str, what: str | None, call_id: str | None, control: Path | None) -> int:
    """Command a call of a running sipcli: hangup, hold, resume, mute, unmute, dtmf DIGITS, record FILE, stop-recording;
    conference joins all calls that are up; answer or reject one that rings; switch ID holds the others; dnd on|off."""

    async def body(run: Run) -> Outcome:
        if word == "dnd":
            return await _dnd(run, control, what)
        wants = _WANTS.get(word)
        if (wants is None) != (what is None):
            says = f"ctl {word} wants {wants}" if wants else f"ctl {word} wants nothing more"
            raise ConfigError(says, hint="sipcli ctl dtmf 12#, sipcli ctl record FILE.wav")
        named = what if wants == "call" else call_id
        running = await run.in_thread(partial(_who, run, control, named))
        fields: dict[str, Any] = {"call": named}
        if word == "record":
            fields["file"] = str(Path(what or "").expanduser().absolute())  # theirs is another working directory
        elif wants is not None:
            fields[wants] = what
        said = {name: value for name, value in fields.items() if value is not None}
        try:
            answer = await run.in_thread(partial(running.ask, f"call.{word}", said, wait=_PATIENCE_S))
        except CommandFailed as error:
            return Outcome(error.kind, str(error), ExitStatus.OTHER, hint=error.hint)
        muted = ", muted" if answer.get("muted") else ""
        state = {"call": answer["call"], "state": answer["state"], "muted": answer["muted"]}
        if joined := answer.get("conference"):
            return Outcome(
                "done", f"{', '.join(joined)} hear each other{muted}", more={"call": state, "conference": joined}
            )
        return Outcome("done", f"{answer['call']} is {answer['state']}{muted}", more={"call": state})

    return run_verb("ctl", options, body)


async def _dnd(run: Run, control: Path | None, what: str | None) -> Outcome:
    """Ask, or tell, the one that takes calls."""
    if what not in (None, "on", "off"):
        raise ConfigError(f"dnd is on or off, not “{what}”", hint="sipcli ctl dnd on")
    answers = await run.in_thread(partial(each_answer, run, control, "status"))
    listening = [running for running, status in answers if status.get("verb") == "listen"]
    if len(listening) != 1:
        found = "; ".join(str(running.path) for running in listening)
        raise ConfigError(
            f"which one? {found}" if found else "no sipcli of yours takes calls",
            hint="name the socket: --control PATH" if found else "look what there is: sipcli status",
        )
    said = {} if what is None else {"on": what == "on"}
    on = (await run.in_thread(partial(listening[0].ask, "dnd", said)))["dnd"]
    return Outcome("done", "nobody is to disturb" if on else "calls ring", more={"dnd": on})


def _who(run: Run, control: Path | None, call_id: str | None) -> RunningSipcli:
    """*Worker.*  The one that has the call; with several, they must be told apart."""
    found = [
        (running, call["call"])
        for running, status in each_answer(run, control, "status")
        for call in status.get("calls", ())
        if call_id in (None, call["call"])
    ]
    processes = list(dict.fromkeys(running for running, _ in found))
    if len(processes) == 1:
        return processes[0]
    if processes:
        listed = "; ".join(f"{name} at {running.path}" for running, name in found)
        raise ConfigError(f"which one? {listed}", hint="name the socket: --control PATH")
    missing = f"no sipcli of yours is in a call {call_id}" if call_id else "no sipcli of yours is in a call"
    raise ConfigError(missing, hint="look what there is: sipcli status")
