"""G.722 at 64 kbit/s: wide band for the price of G.711 (ITU-T G.722, RFC 3551 section 4.5.2; extra ``sipcli[hd]``)."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

from sipcli.media.codecs.base import Codec
from sipcli.media.tone import pcm_of, samples_of

__all__ = ["G722", "G722Decoder", "G722Encoder", "missing"]

G722 = Codec("G722", 9, clock_rate=8000, sample_rate=16000)

_RATE, _BITS = 16000, 64000


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    return "" if importlib.util.find_spec("G722") is not None else "the package G722 (pip install 'sipcli[hd]')"


def _machine() -> Any:
    module: Any = importlib.import_module("G722")
    return module.G722(_RATE, _BITS, use_numpy=False)


class G722Encoder:
    """Two samples become one octet."""

    def __init__(self) -> None:
        self._machine = _machine()

    def encode(self, pcm: bytes) -> bytes:
        return bytes(self._machine.encode(samples_of(pcm)))

    def expect_loss(self, percent: float) -> None:
        pass


class G722Decoder:
    """One octet becomes two samples."""

    def __init__(self) -> None:
        self._machine = _machine()

    def decode(self, payload: bytes) -> bytes:
        return pcm_of(self._machine.decode(payload))

    def samples_in(self, payload: bytes) -> int:
        return 2 * len(payload)

    def conceal(self, samples: int, following: bytes | None) -> bytes | None:
        return None  # its predictors go on from where they were; the pitch period is repeated as for G.711
