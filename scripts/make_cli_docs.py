"""Writes docs/cli.md, the reference of the command line, from the commands themselves.

``python scripts/make_cli_docs.py`` writes, ``--check`` only says whether the file is what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "providers")]

from sipcli.cli.exits import ExitStatus  # noqa: E402
from sipcli.cli.main import VERBS, cli  # noqa: E402
from sipcli.cli.parameters import GlobalOptions, global_options  # noqa: E402

TARGET = HERE / "docs" / "cli.md"

HEAD = """\
# The command line

Written from the program itself by `scripts/make_cli_docs.py`; `sipcli VERB --help` says the same.

Rules that hold for every verb: stdout is data, stderr is for people, secrets are typed on the terminal (`/dev/tty`) and
nowhere else. `--json` prints one object per line and nothing else, the last of them always `result`, also when it
fails ([events](events.md)). The exit status is the result of the verb. `^C` at a prompt abandons that challenge;
anywhere else, or twice within two seconds, it hangs up, unregisters and leaves within two seconds; once more leaves at
once.
"""

STATUSES = {
    ExitStatus.OK: "done",
    ExitStatus.OTHER: "something else went wrong",
    ExitStatus.USAGE: "the command line or the configuration makes no sense",
    ExitStatus.REFUSED: "refused after our answer (401, 403, 407)",
    ExitStatus.NO_CREDENTIALS: "no credentials; abandoned by the person; a person took too long",
    ExitStatus.TIMEOUT: "no answer (408, 480, or a time-out)",
    ExitStatus.BUSY: "busy or declined (486, 600, 603)",
    ExitStatus.NETWORK: "network, DNS or TLS; a server failed (5xx); a call that was lost",
    ExitStatus.PROVIDER: "a provider failed, or was too slow",
    ExitStatus.PROTOCOL: "the peer broke the protocol",
    ExitStatus.EXPECTATION: "what was expected (`--expect`) did not hold; the request itself went well",
    ExitStatus.UNREACHABLE: "no such address (404, 484, 604)",
    ExitStatus.MEDIA: "no media in common (488, 606)",
    ExitStatus.HANGUP: "ended by SIGHUP",
    ExitStatus.INTERRUPTED: "ended by ^C",
    ExitStatus.TERMINATED: "ended by SIGTERM",
}

TAIL = """\
## Completion

```
eval "$(sipcli completion bash)"     # in ~/.bashrc
eval "$(sipcli completion zsh)"      # in ~/.zshrc, after compinit
sipcli completion fish > ~/.config/fish/completions/sipcli.fish
```
"""


def table(rows: list[tuple[str, str]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows), ""]


def options(parameters: list[click.Parameter], context: click.Context) -> list[tuple[str, str]]:
    """Option and help of each; a pipe inside a table cell must be escaped."""
    records = [record for parameter in parameters if (record := parameter.get_help_record(context)) and record[1]]
    return [(f"`{left}`".replace("|", "\\|"), right.replace("|", "\\|")) for left, right in records]


def section(name: str, command: click.Command, depth: int = 2) -> list[str]:
    """One verb, and the verbs below it."""
    context = click.Context(command, info_name=f"sipcli {name}")
    common = {option.name for option in global_options()}
    own = [parameter for parameter in command.params if parameter.name not in common]
    lines = [f"{'#' * depth} sipcli {name}", ""]
    if not isinstance(command, click.Group):
        pieces = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
        lines += ["```", f"sipcli {name} [OPTIONS] {pieces}".rstrip(), "```", ""]
    lines += [" ".join((command.help or "").split()), ""]
    rows = options(own, context)
    if rows:
        lines += table(rows)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            lines += section(f"{name} {inner}", found, depth + 1)
    return lines


def document() -> str:
    context = click.Context(cli, info_name="sipcli", obj=GlobalOptions())
    lines = [HEAD, "| verb | |", "|---|---|"]
    lines += [f"| [`{name}`](#sipcli-{name}) | {line} |" for name, (_, line) in VERBS.items()]
    lines += ["", "## Options of every verb", "", "Before the verb or after it.", ""]
    lines += table(options(global_options(), context))
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        lines += section(name, command)
    lines += ["## Exit status", "", *table([(f"{int(status)}", words) for status, words in STATUSES.items()]), TAIL]
    return "\n".join(lines)


def main() -> int:
    text = document()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.relative_to(HERE)} is out of date: run python scripts/make_cli_docs.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
