"""Encrypted media: RTP and RTCP in, SRTP and SRTCP out, and back (RFC 3711, RFC 7714), by libsrtp.

The extra ``sipcli[srtp]``; imported when a call has keys, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

from sipcli.media.sdes import SrtpKeys

__all__ = ["SrtpGuard", "missing"]

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": "SRTP_PROFILE_AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_PROFILE_AES128_CM_SHA1_32",
    "AEAD_AES_128_GCM": "SRTP_PROFILE_AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": "SRTP_PROFILE_AEAD_AES_256_GCM",
}
_LONGEST = 1500 - 164
"""What pylibsrtp takes, its own trailer included."""


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    return (
        ""
        if importlib.util.find_spec("pylibsrtp") is not None
        else "the package pylibsrtp (pip install 'sipcli[srtp]')"
    )


class SrtpGuard:
    """Both directions of one stream, any SSRC.  Sequence roll-over and replays are libsrtp's affair (RFC 3711 3.3)."""

    def __init__(self, keys: SrtpKeys) -> None:
        self.keys = keys
        self.refused = 0
        """Packets that were forged, replayed, or not encrypted at all."""
        self._srtp: Any = importlib.import_module("pylibsrtp")
        self._out = self._session(keys.ours, outbound=True)
        self._in = self._session(keys.theirs, outbound=False)

    def _session(self, master: bytes, *, outbound: bool) -> Any:
        policy = self._srtp.Policy
        direction = policy.SSRC_ANY_OUTBOUND if outbound else policy.SSRC_ANY_INBOUND
        profile = getattr(policy, _PROFILES[self.keys.suite])
        return self._srtp.Session(policy(key=master, ssrc_type=direction, srtp_profile=profile))

    def rekey(self, keys: SrtpKeys) -> None:
        """*keys* hold from now on.  A direction whose key stays goes on with its numbers.

        A roll-over counter that began anew under an old key would encrypt twice with
        one keystream (RFC 3711 section 9.1), and a replay window would let old packets in.
        """
        before, self.keys = self.keys, keys
        if (keys.suite, keys.ours) != (before.suite, before.ours):
            self._out = self._session(keys.ours, outbound=True)
        if (keys.suite, keys.theirs) != (before.suite, before.theirs):
            self._in = self._session(keys.theirs, outbound=False)

    def protect(self, packet: bytes, *, rtcp: bool = False) -> bytes:
        """What goes on the wire."""
        return bytes(self._out.protect_rtcp(packet) if rtcp else self._out.protect(packet))

    def unprotect(self, packet: bytes, *, rtcp: bool = False) -> bytes | None:
        """What the peer said; None, and counted, if it was not the peer, or if he said it before."""
        if len(packet) <= _LONGEST:
            try:
                return bytes(self._in.unprotect_rtcp(packet) if rtcp else self._in.unprotect(packet))
            except self._srtp.Error:
                pass
        self.refused += 1
        return None
