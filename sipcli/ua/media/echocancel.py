"""Echo cancellation by WebRTC's AEC3 (extra ``sipcli[aec]``, imported when a sound card wants it).

Why this library: docs/decisions/0121.
"""

from __future__ import annotations

import importlib.util
from functools import cache

from sipcli.errors import ConfigError
from sipcli.media.echo import EchoCanceller, EchoPolicy

__all__ = ["canceller_for", "check_echo", "missing"]

_LONGEST_DELAY_MS = 500
"""AEC3 looks for an echo no further back; a card that claims more is not believed."""


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    there = all(importlib.util.find_spec(name) is not None for name in ("pywebrtc_audio", "numpy"))
    return "" if there else "the package pywebrtc-audio (pip install 'sipcli[aec]')"


def check_echo(policy: EchoPolicy) -> None:
    """Raise ConfigError where echoes must be cancelled and cannot be."""
    if policy == "required" and missing():
        raise ConfigError(f"echo cancellation needs {missing()}", hint="install it, or use a headset")


def canceller_for(policy: EchoPolicy, rate: int, delay_s: float) -> EchoCanceller | None:
    """For a card of *rate* Hz that is heard again *delay_s* after it was given something, at least; None: do without.

    ConfigError where it is required and cannot be, or is installed and does not load.
    """
    check_echo(policy)
    if policy == "off" or missing():
        return None
    try:
        return _Aec3(rate, delay_s)
    except ImportError as error:
        raise ConfigError(
            f"echo cancellation cannot be loaded: {error}",
            hint="pip install --force-reinstall pywebrtc-audio; or do without: --echo-cancellation off",
        ) from error


class _Aec3:
    """Ten-millisecond frames and the delay's search are the library's affair; it starts no thread."""

    def __init__(self, rate: int, delay_s: float) -> None:
        import numpy as np
        from pywebrtc_audio import AudioProcessor

        self._np = np
        delay_ms = max(0, min(_LONGEST_DELAY_MS, round(1000 * delay_s)))
        self._processor = AudioProcessor(sample_rate=rate, echo_cancellation=True, stream_delay_ms=delay_ms)

    def cancel(self, captured: bytes, played: bytes) -> bytes:
        near, far = (self._np.frombuffer(pcm, "<i2").astype("=i2", copy=False) for pcm in (captured, played))
        return bytes(self._processor.process(near, far).astype("<i2", copy=False).tobytes())
