#!/usr/bin/env python3
"""A menu by telephone: 1 plays a low tone, 2 a high one, 0 hangs up; three beeps ask for a key.

    python examples/dtmf_menu.py           # the default account of your configuration

A key cuts short whatever plays; nobody who knows the menu has to hear it out.
"""

from __future__ import annotations

import asyncio
import math
import sys
from array import array

from sipcli import Call, SipcliError, UserAgent, load_config

TONES = {"1": 350, "2": 1200}
PATIENCE = 5.0
"""Seconds for a key; after three prompts without one we hang up."""


def sine(hz: int, seconds: float, rate: int) -> bytes:
    return array("h", (int(8000 * math.sin(math.tau * hz * n / rate)) for n in range(int(seconds * rate)))).tobytes()


def beeps(rate: int) -> bytes:
    return (sine(660, 0.1, rate) + bytes(2 * (rate // 10))) * 3


async def play_and_ask(call: Call, pcm: bytes) -> str | None:
    """The key that is pressed while *pcm* plays, or in good time after it."""
    playing = asyncio.create_task(call.audio.write(pcm))
    digit = await call.digits.get(timeout=PATIENCE)
    call.audio.clear()
    await playing
    return digit


async def menu(call: Call) -> None:
    await call.accept()
    prompt = beeps(call.audio.rate)
    pcm, left = prompt, 3
    while left and not call.is_over:
        digit = await play_and_ask(call, pcm)
        if digit == "0":
            break
        left = left - 1 if digit is None else 3
        pcm = sine(TONES[digit], 2.0, call.audio.rate) if digit in TONES else prompt
    await call.hangup()


async def main() -> None:
    async with UserAgent(load_config(), on_incoming=menu) as agent, agent.account().registered():
        print("the menu is there; ^C ends it", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
    except SipcliError as error:  # no account, no server, a wrong password: one sentence, and the next step
        sys.exit(f"{error}; {error.hint}" if error.hint else str(error))
