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
    """What PortAudio finds, and a sentence when there is nothing to be found.  ALSA's own chatter is kept quiet."""
    try:
        with quiet_stderr():
            import sounddevice
    except ImportError:
        return [], "no sound card is needed; to use one, install the extra: pip install 'sipcli[audio]'"
    except OSError as error:  # the library is there, PortAudio is not
        return [], f"PortAudio is missing ({error}); on Debian: apt install libportaudio2"
    try:
        with quiet_stderr():
            found = sounddevice.query_devices()
            defaults = set(sounddevice.default.device)
    except Exception as error:  # PortAudioError of whatever kind: no host API, no server
        return [], f"PortAudio finds nothing here ({error})"
    devices = [
        {
            "name": str(device["name"]),
            "inputs": int(device["max_input_channels"]),
            "outputs": int(device["max_output_channels"]),
            "rate": int(device["default_samplerate"]),
            "default": index in defaults,
        }
        for index, device in enumerate(found)
    ]
    return (
        devices,
        None if devices else "this machine has no sound card, and none is needed: --audio null is the default",
    )


def quiet_stderr() -> Any:
    """libasound writes to descriptor 2 whatever Python says: it is pointed at /dev/null meanwhile."""
    import contextlib
    import os

    @contextlib.contextmanager
    def quiet() -> Any:
        kept = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)

    return quiet()
