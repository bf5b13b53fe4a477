"""``sipcli listen``: register, wait for calls, and answer them as told."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.cards import audible
from sipcli.cli.incoming import RING_S, AnswerPlan, CallDesk
from sipcli.cli.oncall import CallProgram, Chooser, after
from sipcli.cli.parameters import (
    GlobalOptions,
    Seconds,
    account_options,
    control_option,
    follow_option,
    media_options,
    verb,
)
from sipcli.cli.phone import Phone, person_there
from sipcli.cli.restrained import register
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.talk import Talk
from sipcli.cli.who import listener
from sipcli.config import AccountConfig
from sipcli.errors import ConfigError, NetworkError

if TYPE_CHECKING:
    from sipcli.sip.profile import EngineConfig
    from sipcli.ua.agent import UserAgent

__all__ = ["command"]


@verb("listen")
@click.option(
    "--answer",
    metavar="ask|auto|busy|decline|CODE[,CODE...]",
    help="What calls get; ask where nothing else is said.",
)
@click.option("--from", "aor", metavar="AOR", help="Who listens: an address, or an account's name.")
@click.option("--no-register", is_flag=True, help="Just listen, on --port.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port to listen on; 0 takes a free one."
)
@click.option(
    "--max-calls",
    type=click.IntRange(min=1),
    metavar="N",
    help="Leave after N calls; more than N at once are busy (2).",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Written when calls can come."
)
@click.option(
    "--allow", multiple=True, metavar="GLOB", help="Answer automatically only callers like this: '*@example.com'."
)
@click.option(
    "--answer-after", type=Seconds(), metavar="S", help="Let it ring for S seconds before it is answered automatically."
)
@click.option(
    "--on-call",
    metavar="CMD",
    help="A program decides: it reads the call as JSON; exit status 0 answers, 6 is busy, all others decline.",
)
@click.option("--allow-anonymous", is_flag=True, help="Take calls that did not come through our own server.")
@click.option("--early-media", is_flag=True, help="Let callers hear --audio while it rings (183).")
@click.option("--ring-device", metavar="NAME", help="Whose loudspeaker rings, with --audio device.")
@click.option(
    "--ring-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="What it plays, over and over."
)
@media_options
@follow_option("transfer", "When they send us elsewhere")
@account_options
@control_option
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    answer: str | None,
    aor: str | None,
    no_register: bool,
    max_calls: int | None,
    ready_file: Path | None,
    allow: tuple[str, ...],
    answer_after: float | None,
    on_call: str | None,
    allow_anonymous: bool,
    early_media: bool,
    control: Path | None,
    **said: Any,
) -> int:
    """Register and wait for calls; with --timeout, leave when none came in that time.

    On a terminal keys command the calls: a answers, r rejects, h hangs up, digits are sent, and ? lists all of them.
    """

    async def body(run: Run) -> Outcome:
        _check_folder(ready_file)
        ring = said.pop("ring_timeout") or RING_S
        plan, chooser = _who_decides(answer, on_call, answer_after, allow, ring)
        talk = Talk.wanted(run, said)
        account = _account(run, aor, no_register, said)
        run.ends_with_reader = True
        direct = no_register or not account.register  # then there is no server of ours that calls could come through
        talk.checked(account, direct=direct)
        engine = _taking_calls(from_anybody=direct or allow_anonymous)
        port, there = said.pop("port"), person_there(run)
        desk = CallDesk(run, plan, talk, limit=max_calls, ring=ring, chooser=chooser, early=early_media, keys=there)
        async with (
            run.agent([account], engine_config=engine, bind_port=0 if direct else port, trace=there) as agent,
            run.controlled(agent, control),
        ):
            phone = Phone(run, agent, talk, leave=desk.stop)
            agent.account(account.name).incoming = agent.on_incoming = desk.incoming  # on_incoming: he named no Contact
            if direct:
                await _open(agent, port)
            else:
                run.reload_when_hung_up(agent, lambda: [talk.checked(_account(run, aor, no_register, said))])
                await _bind(run, agent, account, retry_now=said["retry_now"])
            await _say_ready(run, ready_file)
            async with audible(agent, talk.tones) as desk.tones, phone.at_hand(f"listening as {account.aor}"):
                await desk.serve(run.options.timeout)
        return desk.outcome()

    return run_verb("listen", options, body)


def _who_decides(
    answer: str | None, on_call: str | None, answer_after: float | None, allow: tuple[str, ...], ring: float
) -> tuple[AnswerPlan, Chooser | None]:
    """What ``--answer``, ``--on-call`` and ``--answer-after`` come to.  Raises ConfigError where they contradict."""
    if answer is not None and on_call is not None:
        raise ConfigError("--answer and --on-call both decide about calls", hint="leave one of them out")
    if answer_after is not None and answer_after >= ring:
        raise ConfigError(
            f"--answer-after {answer_after:g} is never: it rings for {ring:g} s", hint="--ring-timeout S rings longer"
        )
    plan = AnswerPlan(answer or ("auto" if on_call or answer_after else "ask"), allow)
    chooser: Chooser | None = None if on_call is None else CallProgram(on_call).decide
    return plan, chooser if answer_after is None else after(answer_after, chooser)


async def _bind(run: Run, agent: UserAgent, account: AccountConfig, *, retry_now: bool) -> None:
    async with run.patience(run.options.timeout, f"{account.registrar} did not answer"):
        await register(run, agent, account, retry_now=retry_now)


async def _open(agent: UserAgent, port: int) -> None:
    """Listen for everybody, by UDP and TCP, on *port*; 0 takes one that both have free."""
    try:
        await agent.endpoint.listen_both("0.0.0.0", port)  # noqa: S104  # calls come from anywhere
    except NetworkError as error:
        why = str(error).removeprefix("connect: ")
        raise NetworkError(why, hint="choose another: --port N") from error.__cause__


def _account(run: Run, aor: str | None, no_register: bool, said: dict[str, Any]) -> AccountConfig:
    if no_register and aor is None and run.options.account is None and not run.load_config().accounts:
        return run.adopt(listener(), **said)
    return run.account(aor, **said)


async def _say_ready(run: Run, ready_file: Path | None) -> None:
    run.ready()
    if ready_file is not None:
        await run.in_thread(partial(_write_ready, ready_file, run.readiness()))


def _taking_calls(*, from_anybody: bool) -> EngineConfig:
    from sipcli.sip.profile import EngineConfig  # not needed to say what --help says

    return EngineConfig(accept_calls="any" if from_anybody else "bound")


def _check_folder(path: Path | None) -> None:
    """Raises ConfigError where *path* could not be made, before anybody is told of us."""
    if path is None:
        return
    folder = path.parent
    if not folder.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}", hint="make it, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write {path}: {folder} is not yours to write", hint="name another file")


def _write_ready(path: Path, fields: dict[str, Any]) -> None:
    """The ``ready`` event as JSON, complete when the file appears: written beside it, and moved there."""
    text = json.dumps({"event": "ready", **fields}) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # the draft's name says nothing to anybody
