"""``sipcli message``: one text message (RFC 3428)."""

from __future__ import annotations

import os
from typing import Any

import click

from sipcli.cli.parameters import GlobalOptions, account_options, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.shaping import header_option
from sipcli.cli.who import target_uri
from sipcli.errors import ConfigError

__all__ = ["command"]

_LARGEST = 60_000
"""Octets.  RFC 3428 section 8 wants 1300 over UDP; the core changes to TCP above that (RFC 3261 section 18.1.1)."""


@verb("message")
@click.argument("target")
@click.argument("text", required=False)
@click.option("--from", "sender", metavar="AOR", help="Who sends: an address, or an account's name.")
@header_option("MESSAGE")
@account_options
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    target: str,
    text: str | None,
    sender: str | None,
    headers: tuple[tuple[str, str], ...],
    **said: Any,
) -> int:
    """Send TEXT to TARGET; without TEXT, or with -, what stdin holds."""

    async def body(run: Run) -> Outcome:
        account = run.account(sender, **said)
        uri = target_uri(target, account)
        words = await run.in_thread(_read_stdin) if text is None or text == "-" else _judged(os.fsencode(text))
        async with run.agent([account]) as agent, run.patience(run.options.timeout, f"{uri} did not answer"):
            await agent.account(account.name).message(uri, words, headers=headers)
        return Outcome("sent", f"sent to {uri}")

    return run_verb("message", options, body)


def _read_stdin() -> str:
    octets = b""
    # The descriptor, not sys.stdin: a thread that holds its lock while we leave would make Python abort.
    while (block := os.read(0, _LARGEST + 1)) != b"":
        octets += block
        if len(octets) > _LARGEST:
            break
    return _judged(octets).removesuffix("\n")


def _judged(octets: bytes) -> str:
    """The text that they are.  Raises ConfigError where they are none, or too many."""
    if len(octets) > _LARGEST:
        raise ConfigError(f"a message may have {_LARGEST} octets, and this is longer", hint="send it in parts")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            "a message is text in UTF-8, and this is not", hint="convert it: iconv -f latin1 -t utf-8"
        ) from None
    if not text.strip():
        raise ConfigError("there is nothing to send", hint="give the text as an argument, or on stdin")
    return text
