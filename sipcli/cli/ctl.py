"""``sipcli ctl``: hang up, hold, send digits, transfer, confer, record - in the call that another sipcli is in."""

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
_TRANSFER_S = 300.0
"""It may ring there."""
_WANTS = {"dtmf": "digits", "record": "file", "switch": "call", "transfer": "target"}
_EXAMPLES = "sipcli ctl dtmf 12#, sipcli ctl record FILE.wav, sipcli ctl transfer sip:carol@example.com"


@verb("ctl")
@click.argument("word", metavar="COMMAND", type=click.Choice((*CALL_COMMANDS, *SWITCH_COMMANDS, "dnd")))
@click.argument("what", metavar="[DIGITS|FILE|ID|TARGET|on|off]", nargs=-1)
@click.option("--call", "call_id", metavar="ID", help="Which call, as `sipcli status` names it.")
@click.option("--to", metavar="ID", help="For transfer: the other call, whose far end takes over.")
@control_option
@click.pass_obj
def command(
    options: GlobalOptions, word: str, what: tuple[str, ...], call_id: str | None, to: str | None, control: Path | None
) -> int:
    """Command a call of a running sipcli: hangup, hold, resume, mute, unmute, dtmf DIGITS, record FILE, stop-recording;
    conference joins all calls that are up; answer or reject one that rings; switch ID holds the others; dnd on|off;
    transfer [CALL] TARGET sends the far end there, transfer CALL --to CALL joins the far ends of both.
    """

    async def body(run: Run) -> Outcome:
        if word == "dnd":
            return await _dnd(run, control, what)
        said = _fields(word, what, call_id, to)
        running = await run.in_thread(partial(_who, run, control, said.get("call") or to))
        try:
            patience = _TRANSFER_S if word == "transfer" else _PATIENCE_S
            answer = await run.in_thread(partial(running.ask, f"call.{word}", said, wait=patience))
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


async def _dnd(run: Run, control: Path | None, what: tuple[str, ...]) -> Outcome:
    """Ask, or tell, the one that takes calls."""
    wish = " ".join(what)
    if wish not in ("", "on", "off"):
        raise ConfigError(f"dnd is on or off, not “{wish}”", hint="sipcli ctl dnd on")
    answers = await run.in_thread(partial(each_answer, run, control, "status"))
    listening = [running for running, status in answers if status.get("verb") == "listen"]
    if len(listening) != 1:
        found = "; ".join(str(running.path) for running in listening)
        raise ConfigError(
            f"which one? {found}" if found else "no sipcli of yours takes calls",
            hint="name the socket: --control PATH" if found else "look what there is: sipcli status",
        )
    said = {"on": wish == "on"} if wish else {}
    on = (await run.in_thread(partial(listening[0].ask, "dnd", said)))["dnd"]
    return Outcome("done", "nobody is to disturb" if on else "calls ring", more={"dnd": on})


def _fields(word: str, what: tuple[str, ...], call_id: str | None, to: str | None) -> dict[str, Any]:
    """What goes over the socket.  Raises ConfigError for words that do not fit."""
    call, rest = call_id, list(what)
    if to is not None and word != "transfer":
        raise ConfigError("--to is for transfers", hint="sipcli ctl transfer call1 --to call2")
    wants = None if to is not None else _WANTS.get(word)
    wanted = 0 if wants is None else 1
    if word == "transfer" and call is None and len(rest) == wanted + 1:
        call = rest.pop(0)
    if len(rest) != wanted:
        says = f"ctl {word} wants {wants}" if wants else f"ctl {word} wants nothing more"
        raise ConfigError(says, hint=_EXAMPLES)
    said: dict[str, Any] = {"call": call, "to": to}
    if wants is not None:
        # Theirs is another working directory.
        said[wants] = str(Path(rest[0]).expanduser().absolute()) if word == "record" else rest[0]
    return {name: value for name, value in said.items() if value is not None}


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
