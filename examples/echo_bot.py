#!/usr/bin/env python3
"""Answers every call and says back what it hears.

python examples/echo_bot.py            # the default account of your configuration
"""

from __future__ import annotations

import asyncio
import sys

from sipcli import Call, SipcliError, UserAgent, load_config


async def answer(call: Call) -> None:
    await call.accept()
    async for frame in call.audio:  # 20 ms of 16-bit PCM, call.audio.rate samples a second
        await call.audio.write(frame)


async def main() -> None:
    async with UserAgent(load_config(), on_incoming=answer) as agent, agent.account().registered():
        print("the echo bot is there; ^C ends it", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
    except SipcliError as error:  # no account, no server, a wrong password: one sentence, and the next step
        sys.exit(f"{error}; {error.hint}" if error.hint else str(error))
