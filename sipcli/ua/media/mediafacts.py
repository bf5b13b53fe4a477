"""What is told of a media session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from sipcli.media.agreement import PTIME_MS, Address, Agreement
from sipcli.media.stream import AudioStream

if TYPE_CHECKING:
    from sipcli.ua.media.icemedia import IceMedia

__all__ = ["MediaFacts", "MediaState", "facts_of"]

MediaState: TypeAlias = Literal["negotiated", "flowing", "silent", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What the ``media`` event says of a session."""

    codec: str | None
    rate: int | None
    ptime_ms: int
    local: Address
    remote: Address | None
    latched: bool
    """The peer's packets come from elsewhere than its SDP says, and ours follow them."""
    srtp: str | None = None
    """The suite that encrypts, None where nothing does."""
    srtp_keys: Literal["sdes", "dtls"] | None = None
    """How its keys were agreed on."""
    srtp_verified: bool | None = None
    """The signalling that vouches for the peer's keys was over TLS; None where nothing is encrypted."""
    ice: str | None = None
    """How the audio found its way: ``host``, ``srflx``, ``prflx``, ``relay``, or how far that is; None without ICE."""


def facts_of(
    stream: AudioStream, agreement: Agreement | None, local: Address, ice: IceMedia | None, *, secure: bool
) -> MediaFacts:
    """*secure*: the signalling is over TLS."""
    return MediaFacts(
        codec=None if agreement is None else agreement.codec.name,
        rate=None if agreement is None else agreement.codec.sample_rate,
        ptime_ms=PTIME_MS,
        local=local,
        remote=stream.latch.destination,
        latched=stream.latch.learnt,
        srtp=stream.protection.suite,
        srtp_keys=None if agreement is None else agreement.keys_by,
        srtp_verified=None if stream.protection.suite is None else secure,
        ice=None if ice is None else ice.way,
    )
