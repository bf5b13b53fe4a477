"""The options every verb knows, accepted before and after it, and the types that their values have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = [
    "GlobalOptions",
    "Seconds",
    "Verb",
    "VerbGroup",
    "account_options",
    "control_option",
    "follow_option",
    "media_options",
    "verb",
]


class Seconds(click.ParamType):  # type: ignore[type-arg]  # click 8.2 knows no argument here
    """A time span, ``2``, ``2.5`` or ``2s``: more than nothing, and not for ever."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value.removesuffix("s") if isinstance(value, str) else value)
        except ValueError:
            self.fail(f"“{value}” is no number of seconds", param, ctx)
        if not 0 < seconds < 1e9:  # nan is neither
            self.fail(f"{value} seconds cannot be waited", param, ctx)
        return seconds


_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(slots=True)
class GlobalOptions:
    """What was said before the verb and after it, taken together; after the verb wins."""

    config: Path | None = None
    account: str | None = None
    json: bool = False
    no_input: bool = False
    verbose: int = 0
    trace: Path | None = None
    keylog: Path | None = None
    ladder: bool = False
    ca: Path | None = None
    timeout: float | None = None
    max_wait: float | None = None
    color: str = "auto"

    def take(self, context: click.Context) -> None:
        """Move our options out of *context*, so that the verb's function gets only its own."""
        for option in fields(self):
            value = context.params.pop(option.name, None)
            given = context.get_parameter_source(option.name) not in (ParameterSource.DEFAULT, None)
            if option.name == "verbose":
                self.verbose += value or 0
            elif given:
                setattr(self, option.name, value)


def _accounts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Account names for shell completion; a broken configuration completes nothing."""
    from sipcli.config import load_config
    from sipcli.errors import ConfigError

    try:
        config = load_config(context.find_root().params.get("config"))
    except ConfigError:
        return []
    return [name for name in config.accounts if name.startswith(incomplete)]


def global_options() -> list[click.Parameter]:
    """Fresh option objects; click keeps state in them, so each command has its own."""
    file = click.Path(path_type=Path, dir_okay=False)
    return [
        click.Option(["--config"], type=file, metavar="FILE", help="Configuration file."),
        click.Option(
            ["--account"],
            metavar="NAME",
            shell_complete=_accounts,
            help="Which account: its name in the configuration, or an address.",
        ),
        click.Option(["--json"], is_flag=True, help="One JSON object per line on stdout, and nothing else."),
        click.Option(["--no-input"], is_flag=True, help="Never ask a person; fail instead."),
        click.Option(["-v", "--verbose"], count=True, help="Say more; -vv: every message, and tracebacks."),
        click.Option(
            ["--trace"],
            type=file,
            metavar="FILE",
            help="Write SIP messages (masked) as JSON lines; into FILE.pcap for sngrep and Wireshark.",
        ),
        click.Option(
            ["--keylog"], type=file, metavar="FILE", help="Add the keys of SIP over TLS to FILE, for Wireshark."
        ),
        click.Option(["--ladder"], is_flag=True, help="Draw what goes back and forth, with times."),
        click.Option(["--ca"], type=file, metavar="FILE", help="Certificates to trust instead of the system's."),
        click.Option(
            ["--timeout"], type=Seconds(), metavar="S", help="Give up after S seconds, not counting authentication."
        ),
        click.Option(["--max-wait"], type=Seconds(), metavar="S", help="How long a challenge may wait for its secret."),
        click.Option(
            ["--color"], type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour on stderr."
        ),
    ]


_GLOBAL_NAMES = frozenset(option.name for option in fields(GlobalOptions))


class _WithGlobals(click.Command):
    """Adds the global options, shows them apart in the help, and hands them over in ``ctx.obj``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(GlobalOptions).take(ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and record[1]:
                (common if parameter.name in _GLOBAL_NAMES else own).append(record)
        for title, records in (("Options", own), ("Options of every verb", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Verb(_WithGlobals):
    """A verb: a click command that knows the global options."""


class VerbGroup(_WithGlobals, click.Group):
    """A verb with verbs below it: ``sipcli auth save``."""

    command_class = Verb

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Whole sentences: click cuts them off at the width of one line."""
        listed = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in listed if command])


def verb(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Verb]:
    """Decorator: a function becomes a :class:`Verb`; its docstring is the help."""
    return click.command(name, cls=Verb, **settings)


def account_options(function: _F, *, expires: str = "How long to register for.") -> _F:
    """Who we are when the configuration does not say, or says otherwise.  *expires* is what that option means."""
    listed = (
        click.option(
            "--transport",
            type=click.Choice(["udp", "tcp", "tls", "ws", "wss"]),
            help="Instead of what DNS or the URI says.",
        ),
        click.option("--registrar", metavar="URI", help="Server to register with; default: the domain of the address."),
        click.option("--proxy", metavar="URI", help="Outbound proxy."),
        click.option("--username", metavar="NAME", help="For the password; default: the user part of the address."),
        click.option("--expires", type=click.IntRange(1, 2**32 - 1), metavar="S", help=expires),
        click.option("--password-file", metavar="FILE|-", help="Read the password from FILE, or from stdin."),
        click.option("--retry-now", is_flag=True, help="Do not wait until refused secrets are forgotten: try now."),
        click.option(
            "--insecure-any-realm", is_flag=True, help="Answer any realm of the account's own servers, this once."
        ),
        click.option("--save", is_flag=True, help="Keep the password in the keychain once the server has accepted it."),
    )
    for option in reversed(listed):  # decorators pile up from below
        function = option(function)
    return function


def control_option(function: _F) -> _F:
    """Which control socket, where it is not the usual one."""
    file = click.Path(path_type=Path, dir_okay=False)
    usual = "Control socket; usually $XDG_RUNTIME_DIR/sipcli/PID.sock."
    return click.option("--control", type=file, metavar="PATH", help=usual)(function)


def follow_option(name: str, what: str) -> Callable[[_F], _F]:
    """What to do when somebody sends us elsewhere: ``--transfer``, ``--redirect``."""
    choice = click.Choice(["refuse", "ask", "same-domain"])
    return click.option(f"--{name}", type=choice, help=f"{what}; otherwise as {name} in [policy] says.")


_PATH_OPTIONS = (
    click.option(
        "--srtp",
        type=click.Choice(["off", "optional", "required"]),
        help="Encrypted audio; optional where the account says nothing else.",
    ),
    click.option(
        "--srtp-keys",
        type=click.Choice(["sdes", "dtls", "any"]),
        help="Agree on its keys in the SDP (over TLS only), by DTLS, or as they ask; any where the account says "
        "nothing else.",
    ),
    click.option(
        "--ice",
        type=click.Choice(["off", "optional", "required", "relay"]),
        help="Find a path through NATs (ICE), or use a TURN server only; off where the account says nothing else.",
    ),
)
"""How the audio gets there: encrypted, and by which path."""


_DIGIT_OPTIONS = (
    click.option("--dtmf", metavar="DIGITS", help="Send these digits after the answer; a comma waits 0.5 s."),
    click.option(
        "--dtmf-mode",
        type=click.Choice(["auto", "auto_info", "info", "inband"]),
        help="As telephone events, and to who takes none as tones (auto) or by INFO (auto_info); INFO or tones "
        "always. auto where the account says nothing else.",
    ),
)
"""Digits, and how they go."""


def media_options(function: _F) -> _F:
    """What call and listen do with audio."""
    listed = (
        click.option(
            "--audio",
            metavar="SPEC",
            default="null",
            show_default=True,
            help="What they hear: tone[:HZ], echo, null, FILE (wav, flac, opus, mp3), device[:NAME[,NAME]], stdio.",
        ),
        click.option(
            "--tones",
            type=click.Choice(["eu", "uk", "us", "off"]),
            help="Ringing, busy and so on as heard there, with --audio device; otherwise as tones in [audio] says.",
        ),
        click.option(
            "--echo-cancellation",
            type=click.Choice(["off", "auto", "required"]),
            help="Take the loudspeaker out of the microphone, with --audio device; auto: where sipcli[aec] is. "
            "Otherwise as echo_cancellation in [audio] says.",
        ),
        click.option("--codec", metavar="NAME[,NAME]", help="Codecs, the dearest first: opus, g722, pcmu, pcma, l16."),
        *_PATH_OPTIONS,
        click.option(
            "--record",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Record what we hear: FILE.wav, or .flac, .opus, .mp3 by sipcli[files]; %c is the call's name.",
        ),
        click.option(
            "--record-mode",
            type=click.Choice(["received", "both"]),
            default="received",
            show_default=True,
            help="both: stereo, left what they hear, right what we hear.",
        ),
        *_DIGIT_OPTIONS,
        click.option("--duration", type=Seconds(), metavar="S", help="Hang up S seconds after the answer."),
        click.option(
            "--ring-timeout",
            type=Seconds(),
            metavar="S",
            help="Give up when it rings longer.",
        ),
    )
    for option in reversed(listed):
        function = option(function)
    return function
