"""``sipcli ctl``: hang up, hold, send digits, transfer, confer, record - in the call that another sipcli is in."""

from __future__ import annotations

from collections.abc import Mapping
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
from sipcli.cli.who import target_uri
from sipcli.errors import ConfigError
from sipcli.observe.text import safe_text

__all__ = ["command"]

_PATIENCE_S = 40.0
"""A hold may be challenged, and its secret looked for."""
_TRANSFER_S = 300.0
"""It may ring there."""
_WANTS = {
    "dtmf": ("digits", "digits", "12#"),
    "record": ("file", "a file", "FILE.wav"),
    "switch": ("call", "the id of a call, as `sipcli status` names it", "call2"),
    "transfer": ("target", "[CALL] TARGET, or CALL --to CALL", "sip:carol@example.com"),
}
"""What a command takes: its name on the socket, its name for people, an example."""
_OF_RINGING = ("answer", "reject")
_DONE = {
    "hangup": "{call} has ended",
    "hold": "{call} is on hold",
    "resume": "{call} goes on",
    "mute": "{call} is muted",
    "unmute": "{call} is no longer muted",
    "dtmf": "{what} sent in {call}",
    "record": "{call} is recorded to {what}",
    "stop-recording": "{call} is no longer recorded",
    "answer": "{call} is answered",
    "reject": "{call} is rejected",
    "switch": "{call} is the active call",
}


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
        running = await run.in_thread(partial(_who, run, word, control, said.get("call") or to))
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
        return Outcome("done", _words(word, state, said), more={"call": state})

    return run_verb("ctl", options, body)


def _words(word: str, state: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """What has been done, to the call that is now as *state* says."""
    call = state["call"]
    if word == "resume" and state["state"] == "held":  # both may hold
        return f"{call} goes on as soon as the other side does not hold it either"
    if word == "transfer":
        joined = f"the far ends of {call} and {said.get('to')} talk to each other"
        return joined if "to" in said else f"{call} is transferred to {said['target']}"
    return _DONE[word].format(call=call, what=said.get("digits") or said.get("file"))


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
            hint="name the socket: --control PATH" if found else "begin with: sipcli listen",
        )
    said = {"on": wish == "on"} if wish else {}
    on = (await run.in_thread(partial(listening[0].ask, "dnd", said)))["dnd"]
    return Outcome("done", "nobody is to disturb" if on else "calls ring", more={"dnd": on})


def _fields(word: str, what: tuple[str, ...], call_id: str | None, to: str | None) -> dict[str, Any]:
    """What goes over the socket.  Raises ConfigError for words that do not fit."""
    call, rest = call_id, list(what)
    if to is not None and word != "transfer":
        raise ConfigError("--to is for transfers", hint="sipcli ctl transfer call1 --to call2")
    wants, words, example = ("", "nothing more", "") if to is not None else _WANTS.get(word, ("", "nothing more", ""))
    wanted = 1 if wants else 0
    if word == "transfer" and call is None and len(rest) == wanted + 1:
        call = rest.pop(0)
    if len(rest) != wanted:
        raise ConfigError(f"ctl {word} wants {words}", hint=f"sipcli ctl {word} {example}".rstrip())
    if word == "transfer" and wants and "@" in rest[0]:
        target_uri(rest[0], None)  # theirs to understand, but a password in it stays here
    said: dict[str, Any] = {"call": call, "to": to}
    if wants:
        # Theirs is another working directory.
        said[wants] = str(Path(rest[0]).expanduser().absolute()) if word == "record" else rest[0]
    return {name: value for name, value in said.items() if value is not None}


def _rings(call: Mapping[str, Any]) -> bool:
    return call["direction"] == "in" and call["state"] in ("ringing", "early")


def _who(run: Run, word: str, control: Path | None, call_id: str | None) -> RunningSipcli:
    """*Worker.*  The one that has the call; with several, they must be told apart."""
    found = [
        (running, call)
        for running, status in each_answer(run, control, "status")
        for call in status.get("calls", ())
        if call_id in (None, call["call"]) and (word not in _OF_RINGING or _rings(call))
    ]
    processes = list(dict.fromkeys(running for running, _ in found))
    if len(processes) == 1:
        return processes[0]
    if processes:
        listed = "; ".join(
            f"{call['call']} with {safe_text(call['remote'], limit=100)} at {running.path}" for running, call in found
        )
        raise ConfigError(f"which one? {listed}", hint="name the socket: --control PATH")
    if word in _OF_RINGING:
        raise ConfigError("no call rings", hint="look what there is: sipcli status")
    missing = f"no sipcli of yours has a call “{call_id}”" if call_id else "no sipcli of yours is in a call"
    raise ConfigError(missing, hint="look what there is: sipcli status")
