"""Which sound cards a run uses: what the command line says, else ``[audio]`` of the configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sipcli.errors import ConfigError, SipcliError

if TYPE_CHECKING:
    from sipcli.cli.runtime import Run
    from sipcli.config import AudioConfig
    from sipcli.media.echo import EchoPolicy
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.tones import CallTones, ToneSettings
    from sipcli.ua.media.audiospec import AudioSpec

__all__ = ["audible", "configured", "wanted_tones", "without_echo"]


def configured(audio: AudioSpec, config: AudioConfig) -> AudioSpec:
    """*audio*; ``device`` without a name is the one of the configuration."""
    from sipcli.ua.media.audiospec import Device

    return Device(config.input, config.output) if audio == Device() else audio


def without_echo(run: Run, audio: AudioSpec, config: AudioConfig, said: dict[str, Any]) -> AudioSpec:
    """*audio* as ``--echo-cancellation`` wants it, taken out of *said*; a warning where that lacks something."""
    from sipcli.ua.media.audiospec import Device
    from sipcli.ua.media.echocancel import missing

    policy: EchoPolicy = said.pop("echo_cancellation") or config.echo_cancellation
    if not isinstance(audio, Device):
        return audio
    if policy == "auto" and missing():
        words = (
            f"whoever you talk to may hear himself in your loudspeaker: to prevent it takes {missing()}, or a headset"
        )
        run.event("warning", {"code": "echo-not-cancelled", "message": words})
    return replace(audio, echo=policy)


def wanted_tones(audio: AudioSpec, config: AudioConfig, said: dict[str, Any]) -> ToneSettings | None:
    """From ``--tones --ring-device --ring-file``, which are taken out of *said*; None: nobody would hear them.

    Raises ConfigError where the bell could not ring.
    """
    from sipcli.ua.calls.tones import ToneSettings
    from sipcli.ua.media.audiospec import Device
    from sipcli.ua.media.ringfile import FileSound

    plan = said.pop("tones") or config.tones
    flags = [flag for flag in ("--ring-device", "--ring-file") if said.get(flag[2:].replace("-", "_"))]
    named, file = said.pop("ring_device", None) or config.ring_device, said.pop("ring_file", None) or config.ring_file
    if not isinstance(audio, Device) and flags:
        raise ConfigError(
            f"{' and '.join(flags)} rings at a sound card, and --audio names none",
            hint="add --audio device, or leave it out",
        )
    if not isinstance(audio, Device) or plan == "off":
        return None
    if named is not None:
        from sipcli.ua.media.sound import find_device

        find_device(named, listens=False)
    if file is not None:
        FileSound(file).close()
    return ToneSettings(plan=plan, bell=audio if named is None else Device(named), file=file)


@asynccontextmanager
async def audible(agent: UserAgent, settings: ToneSettings | None) -> AsyncIterator[CallTones]:
    """The telephone's own tones meanwhile; those of a call that failed are heard to their end, unless we are to go."""
    from sipcli.ua.calls.tones import CallTones

    tones = CallTones(agent, settings)
    try:
        try:
            yield tones
        except SipcliError:
            await tones.faded()
            raise
        await tones.faded()
    finally:
        await tones.close()
