"""What an offer and its answer come to (RFC 3264), for those who carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from sipcli.media.candidates import PeerIce
from sipcli.media.codecs import Codec, Format
from sipcli.media.fingerprint import DtlsTerms
from sipcli.media.sdes import SrtpKeys
from sipcli.media.sdp import Direction

__all__ = ["COMFORT_NOISE", "PTIME_MS", "Address", "Agreement", "direction_for", "mirrored", "receives", "sends"]

Address = tuple[str, int]

PTIME_MS = 20
COMFORT_NOISE = 13
"""RFC 3389: what those who fall silent send instead, at 8 kHz."""

_SENDS = {"sendrecv": True, "sendonly": True, "recvonly": False, "inactive": False}
_RECEIVES = {"sendrecv": True, "sendonly": False, "recvonly": True, "inactive": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What an offer and its answer come to, seen from our side.

    *send_type* and *send_event_type* are the peer's payload types, *send_format* what his ``a=fmtp`` asks of
    our encoder; *receive_types* may arrive, and *receive_event_types*, each with its clock in Hz. *remote* is
    None where nothing can be sent: the peer named no address (*nowhere*: ``c=0.0.0.0``), or a host name, which
    only its packets can tell.
    """

    codec: Codec
    send_type: int
    receive_types: Mapping[int, Codec]
    send_event_type: int | None
    receive_event_types: Mapping[int, int]
    remote: Address | None
    remote_rtcp: Address | None
    rtcp_mux: bool
    direction: Direction
    nowhere: bool = False
    send_format: Format = field(default_factory=lambda: MappingProxyType({}))
    send_event_clock: int = 8000
    takes_noise: bool = False
    """The peer hears comfort noise (RFC 3389), and the codec is of its clock."""
    srtp: SrtpKeys | None = None
    """Keys that were in the SDP."""
    dtls: DtlsTerms | None = None
    """Keys are agreed on beside the audio; without either nothing is encrypted."""
    ice: PeerIce | None = None
    """None: the audio goes to *remote*; else wherever the checks find a way."""

    extended: frozenset[str] = frozenset()
    """What the peer wants in extended reports: ``rcvr-rtt``, ``voip-metrics`` (RFC 3611 section 5.1)."""

    @property
    def keys_by(self) -> Literal["sdes", "dtls"] | None:
        """How the keys are agreed on; None: there are none."""
        return "dtls" if self.dtls is not None else "sdes" if self.srtp is not None else None

    @property
    def may_send(self) -> bool:
        return _SENDS[self.direction] and self.remote is not None

    @property
    def may_receive(self) -> bool:
        return _RECEIVES[self.direction]


def sends(direction: Direction) -> bool:
    return _SENDS[direction]


def receives(direction: Direction) -> bool:
    return _RECEIVES[direction]


def direction_for(*, sending: bool, receiving: bool) -> Direction:
    if sending:
        return "sendrecv" if receiving else "sendonly"
    return "recvonly" if receiving else "inactive"


def mirrored(direction: Direction) -> Direction:
    """The same stream seen from the other end (RFC 3264 section 6.1)."""
    return direction_for(sending=_RECEIVES[direction], receiving=_SENDS[direction])
