"""The command ``sipcli``: finds the verb, loads only that, and turns what happened into an exit status."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from sipcli.cli import environment  # first: its clock starts the "ms" of every event
from sipcli.cli.parameters import GlobalOptions, VerbGroup

__all__ = ["VERBS", "cli", "main"]

VERBS: dict[str, tuple[str, str]] = {
    "register": ("sipcli.cli.register", "Bind an address, stay bound, print changes."),
    "call": ("sipcli.cli.call", "Place a call."),
    "listen": ("sipcli.cli.listen", "Register and wait for calls."),
    "message": ("sipcli.cli.message", "Send a text message (SIP MESSAGE)."),
    "subscribe": ("sipcli.cli.subscribe", "Be told of waiting messages, presence, or somebody's calls."),
    "options": ("sipcli.cli.options", "Ping a server or a phone."),
    "auth": ("sipcli.cli.auth", "Save, forget and test secrets, and answer who waits for one."),
    "ctl": ("sipcli.cli.ctl", "Command a running sipcli: hold, transfer, record, join, answer."),
    "status": ("sipcli.cli.status", "What running sipclis do, and who waits for a password."),
    "providers": ("sipcli.cli.providers", "Who could know your secrets, and whether they answer."),
    "accounts": ("sipcli.cli.accounts", "The accounts of the configuration."),
    "config": ("sipcli.cli.config_cmd", "Write, check, show the configuration."),
    "devices": ("sipcli.cli.devices", "Audio inputs and outputs."),
    "sandbox": ("sipcli.cli.sandbox", "A SIP server on loopback to play with."),
    "demo": ("sipcli.cli.demo", "See all of it work: no configuration, no network."),
    "doctor": ("sipcli.cli.doctor", "What works on this machine."),
    "completion": ("sipcli.cli.completion", "Completion for bash, zsh and fish."),
}
"""Verb: the module whose ``command`` it is, and its line in the help (so that ``--help`` loads no verb)."""


class LazyVerbs(VerbGroup):
    """A group that imports a verb's module when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, n=1)
            meant = f": did you mean “{close[0]}”?" if close else ""
            ctx.fail(f"there is no verb “{args[0]}”{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from sipcli import __version__

        click.echo(f"sipcli {__version__}")
        ctx.exit()


@click.group(
    "sipcli",
    cls=LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: sipcli demo.  Then: sipcli register sip:you@your.server",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """A softphone whose secrets come after the challenge: from your keychain, Vault, OAuth or yourself."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run sipcli and leave with the exit status of its verb."""
    environment.open_standard_streams()
    environment.forbid_core()
    given = sys.argv[1:] if arguments is None else arguments
    # What start-up makes stays, and the collector would walk it over and over: 11 ms of 200.  `Run` enables it again.
    gc.disable()
    try:
        status = _run(given)
    finally:
        gc.enable()
    sys.exit(_leave(status))


def _run(given: list[str]) -> int:
    stdout = sys.stdout
    try:
        result: Any = cli.main(args=given, prog_name="sipcli", standalone_mode=False, obj=GlobalOptions())
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        return _nothing_said(given, error)
    except click.ClickException as error:
        return _wrong_usage(given, error)
    except SystemExit as leave:
        # Click wraps stdout and leaves with 1 when a pipe breaks: `sipcli --help | head -1` has seen enough.
        return 0 if sys.stdout is not stdout else int(leave.code or 0)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:
        return _failed(given, error)
    return result if isinstance(result, int) else 0


def _wrong_usage(given: list[str], error: click.ClickException) -> int:
    """One sentence, and the last JSON line where JSON was asked for: a script must not have to read two formats."""
    from sipcli.cli.console import Console
    from sipcli.cli.exits import ExitStatus

    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else f"sipcli {_verb_of(given)}".rstrip()
    hint = f"try: {path} --help"
    console = Console(json=_wants_json(given))
    message = " ".join(error.format_message().split()).rstrip(".")  # click puts choices on lines of their own
    console.result(_verb_of(given), ExitStatus.USAGE, "usage", message[:1].lower() + message[1:], hint=hint)
    return ExitStatus.USAGE


def _nothing_said(given: list[str], error: click.exceptions.NoArgsIsHelpError) -> int:
    """Without a verb, people get the help as it is; programs get their one line."""
    from sipcli.cli.exits import ExitStatus

    if _wants_json(given):
        return _wrong_usage(given, click.UsageError("there is no verb", error.ctx))
    click.echo(error.format_message(), err=True)
    return ExitStatus.USAGE


def _failed(given: list[str], error: Exception) -> int:
    """What no verb caught: our own typed errors, a full disk, or a bug of ours."""
    from sipcli.cli.console import Console
    from sipcli.cli.failure import report_failure

    console = Console(json=_wants_json(given))
    return report_failure(console, _verb_of(given), error, verbose=_is_very_verbose(given))


def _wants_json(given: list[str]) -> bool:
    return "--json" in _before_dashes(given)


def _is_very_verbose(given: list[str]) -> bool:
    words = _before_dashes(given)
    return sum(w.count("v") if w.strip("v") == "-" else w == "--verbose" for w in words) >= 2


def _verb_of(given: list[str]) -> str:
    return next((word for word in given if word in VERBS), "")


def _before_dashes(given: list[str]) -> list[str]:
    return given[: given.index("--")] if "--" in given else given


def _leave(status: int) -> int:
    """Flush, once; a reader that has gone must not make Python print a complaint and leave with 120."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            except (OSError, ValueError):
                pass  # closed for good: nothing is left that could be printed
    return status


if __name__ == "__main__":
    main()
