"""What came at a media port: STUN, DTLS, TURN channels and RTP share one, told apart by the first octet (RFC 7983)."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Kind", "kind_of"]

Kind: TypeAlias = Literal["stun", "dtls", "channel", "rtp", "other"]
"""``rtp`` is RTP and RTCP, encrypted or not; ``channel`` TURN's ChannelData; ``other`` is nobody's (ZRTP, too)."""


def kind_of(data: bytes) -> Kind:
    """By RFC 7983 section 7.  It says whose the datagram would be, never that it is a good one; *data* may be empty."""
    first = data[0] if data else 255
    if 128 <= first <= 191:
        return "rtp"
    if 20 <= first <= 63:
        return "dtls"
    if first <= 3:
        return "stun"
    return "channel" if 64 <= first <= 79 else "other"
