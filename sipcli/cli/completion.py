"""``sipcli completion``: the lines a shell needs to complete verbs, options and account names."""

from __future__ import annotations

import click

from sipcli.cli.parameters import GlobalOptions, verb
from sipcli.cli.runtime import Outcome, Run, run_verb

__all__ = ["command"]

_INSTALL = {
    "bash": 'eval "$(sipcli completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(sipcli completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "sipcli completion fish > ~/.config/fish/completions/sipcli.fish",
}


@verb("completion", epilog="Install it with:  " + ";  ".join(_INSTALL.values()))
@click.argument("shell", type=click.Choice(sorted(_INSTALL)))
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the completion script of SHELL."""
    options: GlobalOptions = context.obj
    root = context.find_root().command

    async def body(run: Run) -> Outcome:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None
        script = kind(root, {}, "sipcli", "_SIPCLI_COMPLETE").source()
        run.console.data(script.rstrip("\n"))
        return Outcome("printed", more={"shell": shell, "script": script})

    return run_verb("completion", options, body)
