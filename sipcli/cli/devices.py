"""``sipcli devices``: audio inputs and outputs, if the extra that knows them is installed."""

from __future__ import annotations

from typing import Any

from sipcli.cli.parameters import GlobalOptions, verb
from sipcli.cli.runtime import Outcome, Run, run_verb

__all__ = ["command", "find_devices"]

import click


@verb("devices")
@click.pass_obj
def command(options: GlobalOptions) -> int:
    """Audio inputs and outputs, as --audio device:NAME takes them."""

    async def body(run: Run) -> Outcome:
        devices, why = await run.in_thread(find_devices)
        for device in devices:
            ways = "/".join(filter(None, ["in" if device["inputs"] else "", "out" if device["outputs"] else ""]))
            run.console.data(f"{device['name']:<48} {ways:<7} {device['rate']} Hz{'  (default)' * device['default']}")
        return Outcome("listed" if devices else "none", why or "", more={"devices": devices})

    return run_verb("devices", options, body)


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
            "name": device.name,
            "inputs": device.inputs,
            "outputs": device.outputs,
            "rate": device.rate,
            "default": device.default_input or device.default_output,
        }
        for device in found
    ]
    return devices, None
