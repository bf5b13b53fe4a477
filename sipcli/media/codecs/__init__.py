"""Codecs: what SDP calls them, and the machines that turn 20 ms of PCM into a payload and back.

A :class:`~sipcli.media.codecs.base.Codec` is a value that offers and answers speak of; encoders and decoders
hold state and belong to one stream.  What needs a library is imported when a machine is made, never before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sipcli.errors import ConfigError
from sipcli.media.codecs import g722, opus
from sipcli.media.codecs.base import Codec, Decoder, Encoder, Format
from sipcli.media.codecs.plain import G711Decoder, G711Encoder, L16Decoder, L16Encoder

__all__ = ["CODECS", "DEFAULT", "Codec", "Decoder", "Encoder", "Format", "choose", "make_decoder", "make_encoder"]

CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "OPUS": opus.OPUS,
        "G722": g722.G722,
        "PCMU": Codec("PCMU", 0),
        "PCMA": Codec("PCMA", 8),
        # RFC 3551 section 4.5.11; the static types 10 and 11 are 44.1 kHz, which nobody calls with.
        "L16": Codec("L16", 97, clock_rate=16000, sample_rate=16000),
    }
)
"""By the names that the configuration and ``--codec`` use."""

DEFAULT = ("OPUS", "G722", "PCMU", "PCMA")
"""Offered in this order, less what this installation cannot do."""

_MISSING = {"OPUS": opus.missing, "G722": g722.missing}


def choose(names: Sequence[str] | None = None) -> tuple[Codec, ...]:
    """The codecs called *names*, in that order; None: those of :data:`DEFAULT` that work here.

    ConfigError for an unknown name, for none at all, and for one whose library is not installed.
    """
    if names is None:
        return tuple(CODECS[name] for name in DEFAULT if name not in _MISSING or not _MISSING[name]())
    chosen: dict[str, Codec] = {}
    for name in names:
        codec = CODECS.get(name.upper())
        if codec is None:
            raise ConfigError(f"no such codec: {name}", hint=f"there are {', '.join(CODECS).lower()}")
        what = _MISSING[codec.name]() if codec.name in _MISSING else ""
        if what:
            raise ConfigError(f"{codec.name} needs {what}", hint="leave it out of the codecs, or install it")
        chosen.setdefault(codec.name, codec)
    if not chosen:
        raise ConfigError("no codec is left to offer", hint=f"there are {', '.join(CODECS).lower()}")
    return tuple(chosen.values())


def make_encoder(codec: Codec, wanted: Format | None = None) -> Encoder:
    """A fresh encoder; *wanted* is what the peer's ``a=fmtp`` asks of it."""
    match codec.name:
        case "OPUS":
            return opus.OpusEncoder(wanted or {})
        case "G722":
            return g722.G722Encoder()
        case "L16":
            return L16Encoder()
        case "PCMU":
            return G711Encoder("PCMU")
        case "PCMA":
            return G711Encoder("PCMA")
    raise ConfigError(f"no such codec: {codec.name}")


def make_decoder(codec: Codec) -> Decoder:
    """A fresh decoder: one for each payload type of each source."""
    match codec.name:
        case "OPUS":
            return opus.OpusDecoder()
        case "G722":
            return g722.G722Decoder()
        case "L16":
            return L16Decoder()
        case "PCMU":
            return G711Decoder("PCMU")
        case "PCMA":
            return G711Decoder("PCMA")
    raise ConfigError(f"no such codec: {codec.name}")
