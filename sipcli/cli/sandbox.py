"""``sipcli sandbox``: the embedded SIP server on loopback, challenging as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from sipcli.cli.parameters import GlobalOptions, Seconds, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.errors import NetworkError, TlsError

__all__ = ["command"]

_NUMBERS = ("echo", "music", "ivr", "busy", "ring")
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@verb("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="UDP and TCP; 0 takes a free one.")
@click.option("--realm", "realms", multiple=True, metavar="REALM", help="Ask for this realm; may be given twice.")
@click.option(
    "--proxy-realm", "proxy_realms", multiple=True, metavar="REALM", help="Ask for this one as a proxy would."
)
@click.option(
    "--algorithm", "algorithms", multiple=True, metavar="NAME", help="MD5, SHA-256, SHA-512-256; in this order."
)
@click.option("--nonce-lifetime", type=Seconds(), metavar="S", help="How long a nonce lives.")
@click.option("--stale-rounds", type=click.IntRange(min=0), metavar="N", help="Call N good answers stale first.")
@click.option("--delay", type=Seconds(), metavar="S", help="Wait before every final answer.")
@click.option("--cert", "cert_file", type=_FILE, metavar="FILE", help="Listen on TLS, too, with this certificate.")
@click.option("--key", "key_file", type=_FILE, metavar="FILE", help="The key of the certificate.")
@click.pass_obj
def command(options: GlobalOptions, /, **said: Any) -> int:
    """A SIP server on loopback: a registrar that challenges, and numbers that answer.

    Users: alice (password wonderland) and bob (builder).  Numbers: echo, music, ivr, busy, ring.
    """

    async def body(run: Run) -> Outcome:
        from sipcli.sandbox import Sandbox, SandboxConfig

        run.ends_with_reader = True
        wanted = {key: value for key, value in said.items() if value not in (None, ())}
        async with AsyncExitStack() as stack:
            with _listening_at(said["host"]):
                sandbox = await stack.enter_async_context(Sandbox(SandboxConfig(**wanted)))
            host, port = sandbox.address()
            listen = [{"transport": name, "host": host, "port": port} for name in ("udp", "tcp")]
            if said["cert_file"] is not None:
                listen.append({"transport": "tls", "host": host, "port": sandbox.address("tls")[1]})
            run.event("ready", run.readiness() | {"listen": listen})
            run.console.data("listening on " + ", ".join(f"{at['transport']} {host}:{at['port']}" for at in listen))
            for name, password in sandbox.config.users.items():
                run.console.data(f"user {name}, password {password}: sipcli register {sandbox.uri(name)}")
            run.console.data("numbers: " + ", ".join(sandbox.uri(number) for number in _NUMBERS))
            if run.options.timeout is not None:
                await asyncio.sleep(run.options.timeout)
                return Outcome("served", more={"requests": len(sandbox.requests())})
            await asyncio.Event().wait()
        return Outcome("served")

    return run_verb("sandbox", options, body)


@contextmanager
def _listening_at(host: str) -> Iterator[None]:
    """What keeps us from it is said with its next step."""
    try:
        yield
    except TlsError:
        raise
    except (NetworkError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).removeprefix("connect: ")
        raise NetworkError(
            f"the sandbox cannot listen on {host}: {why}", hint="choose another: --port N, or --host ADDRESS"
        ) from None
