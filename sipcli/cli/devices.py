"""``sipcli devices``: audio inputs and outputs, if the extra that knows them is installed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from sipcli.cli.parameters import GlobalOptions, Seconds, verb
from sipcli.cli.runtime import Outcome, Run, run_verb

__all__ = ["command", "find_devices"]

_TEST_HZ = 440
_HOW_TO_NAME = (
    "in is a microphone, out a loudspeaker: --audio device:NAME for what is both, device:IN,OUT for two; "
    "a part of the name is enough"
)
_METERED = 10
"""Beats for one reading of the meter."""


@verb("devices")
@click.option(
    "--test",
    "test",
    is_flag=False,
    flag_value="",
    metavar="[NAME[,NAME]]",
    help="Play a tone, and meter the microphone.",
)
@click.option("--duration", type=Seconds(), default=5.0, show_default=True, metavar="S", help="How long --test takes.")
@click.pass_obj
def command(options: GlobalOptions, /, test: str | None, duration: float) -> int:
    """Audio inputs and outputs, as --audio device:NAME takes them, or device:MICROPHONE,LOUDSPEAKER."""

    async def body(run: Run) -> Outcome:
        if test is not None:
            return await _test(run, test or None, duration)
        devices, why = await run.in_thread(find_devices)
        for device in devices:
            ways = "/".join(filter(None, ["in" if device["inputs"] else "", "out" if device["outputs"] else ""]))
            run.console.data(
                f"{device['number']:>3}  {device['name']:<48} {ways:<7} {device['rate']} Hz"
                f"{'  (default)' * device['default']}"
            )
        if devices:
            run.console.say(_HOW_TO_NAME)
        return Outcome("listed" if devices else "none", why or "", more={"devices": devices})

    return run_verb("devices", options, body)


async def _test(run: Run, name: str | None, seconds: float) -> Outcome:
    """The device as a call would use it, beat by beat, for *seconds*.  ConfigError when it cannot be opened."""
    from sipcli.media.tone import FLOOR_DBFS, SAMPLE_RATE, Oscillator, dbfs, rms
    from sipcli.ua.media.cards import split_names
    from sipcli.ua.media.sound import DevicePort

    def warn(code: str, message: str) -> None:
        run.event("warning", {"code": code, "message": message})

    microphone, loudspeaker = split_names(name) if name else (None, None)
    port = await run.in_thread(lambda: DevicePort(microphone, warn, output=loudspeaker))
    oscillator, heard, loudest = Oscillator(_TEST_HZ), b"", FLOOR_DBFS
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        for beat in range(1, max(_METERED, round(seconds * 50)) + 1):
            port.write(oscillator.read())
            heard += port.read()
            if beat % _METERED == 0:
                level, heard = round(dbfs(rms(heard)), 1), b""
                loudest = max(loudest, level)
                run.event("level", {"device": name, "input_dbfs": level})
                if not run.options.json:
                    run.console.data(_meter(level, bars=sys.stdout.isatty()))
            await asyncio.sleep(max(0.0, start + beat / 50 - loop.time()))
    finally:
        port.close()
    words = f"a tone of {_TEST_HZ} Hz was played; " + (
        f"the microphone gave {loudest:g} dBFS at most" if loudest > FLOOR_DBFS else "the microphone gave nothing"
    )
    return Outcome("tested", words, more={"device": name, "loudest_dbfs": loudest, "rate": SAMPLE_RATE})


def _meter(level: float, *, bars: bool) -> str:
    """A line for one moment: a bar from -60 dBFS to 0 for a person, the number alone for a pipe."""
    if not bars:
        return f"{level:.1f}"
    full = max(0, min(30, round((level + 60) / 2)))
    return f"microphone |{'#' * full:<30}| {level:6.1f} dBFS"


def find_devices() -> tuple[list[dict[str, Any]], str | None]:
    """What PortAudio finds, and a sentence when there is nothing to be found."""
    from sipcli.errors import ConfigError
    from sipcli.ua.media.sound import list_devices

    try:
        found = list_devices()
    except ConfigError as error:
        return [], f"{error}, and no sound card is needed; to use one: {error.hint}"
    except Exception as error:  # PortAudioError of whatever kind: no host API, no server
        return [], f"PortAudio finds nothing here ({error})"
    if not found:
        return [], "this machine has no sound card, and none is needed: --audio null is the default"
    devices = [
        {
            "number": device.index,
            "name": device.name,
            "inputs": device.inputs,
            "outputs": device.outputs,
            "rate": device.rate,
            "default": device.default_input or device.default_output,
        }
        for device in found
    ]
    return devices, None
