"""A program that asks one secret as sipcli does, for tests that drive it through a pseudo-terminal.

``python -m tests.support.asker`` prints ``got N HASH`` (octets, SHA-256), or how it failed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys

from sipcli.cli.parameters import GlobalOptions
from sipcli.cli.runtime import Outcome, Run
from sipcli.cli.terminal import TtyTerminal
from sipcli.credentials import CancelSignal


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--cancel-after", type=float)
    parser.add_argument("--news-after", type=float, help="something happens while the prompt stands open")
    parser.add_argument("--keys", action="store_true", help="read hot-keys before and after")
    parser.add_argument("--shown", action="store_true", help="what is typed may be seen")
    arguments = parser.parse_args()

    async def body(run: Run) -> Outcome:
        terminal = run.terminal
        assert isinstance(terminal, TtyTerminal)
        cancel, stop = CancelSignal(), CancelSignal()
        loop = asyncio.get_running_loop()
        pressed = asyncio.Event()

        def on_key(key: str) -> None:
            run.console.data(f"key {key}")
            pressed.set()

        if arguments.keys:
            terminal.start_keys(lambda key: loop.call_soon_threadsafe(on_key, key), stop)
        run.console.data("begun")
        if arguments.keys:
            await pressed.wait()  # the first key opens the prompt
        await asyncio.sleep(arguments.delay)
        if arguments.cancel_after is not None:
            loop.call_later(arguments.cancel_after, cancel.set)
        if arguments.news_after is not None:
            loop.call_later(arguments.news_after, run.console.say, "news")
        secret = await run.in_thread(
            lambda: terminal.ask("Secret: ", secret=not arguments.shown, cancel=cancel, timeout=arguments.timeout)
        )
        octets = secret.reveal()
        run.console.data(f"got {len(octets)} {hashlib.sha256(octets).hexdigest()[:16]}")
        if arguments.keys:
            await asyncio.sleep(30)
        return Outcome("asked")

    return Run("ask", GlobalOptions()).execute(body)


if __name__ == "__main__":
    sys.exit(main())
