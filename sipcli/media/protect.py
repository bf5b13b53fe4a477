"""Whether a stream goes out in clear, encrypted, or - until there are keys - not at all."""

from __future__ import annotations

from sipcli.media.agreement import Agreement
from sipcli.media.fingerprint import DtlsTerms
from sipcli.media.sdes import SrtpKeys
from sipcli.media.srtp import SrtpGuard

__all__ = ["Protection"]


class Protection:
    """:meth:`configure` at every agreement; :meth:`key` when a handshake has made keys.

    Where DTLS was agreed on nothing is sent or believed before it has: there is no way from here to plain RTP.
    """

    def __init__(self) -> None:
        self._terms: DtlsTerms | None = None
        self._rtp: SrtpGuard | None = None
        self._rtcp: SrtpGuard | None = None
        self._mux = False
        self._refused_before = 0

    def configure(self, agreement: Agreement) -> None:
        """What holds from now on; the same keys, or the same association, go on with their numbers."""
        before, self._terms, self._mux = self._terms, agreement.dtls, agreement.rtcp_mux
        if agreement.dtls is not None:
            if agreement.dtls != before:
                self._drop()
        elif agreement.srtp is None:
            self._drop()
        elif self._rtp is None or before is not None:
            self._drop()
            self._rtp = self._rtcp = SrtpGuard(agreement.srtp)
        else:
            self._rtp.rekey(agreement.srtp)

    def key(self, keys: SrtpKeys, *, rtcp: bool = False) -> None:
        """What a handshake came to; *rtcp*: the one of the port for RTCP alone (RFC 5764 section 5.1.2)."""
        guard = SrtpGuard(keys)
        if rtcp:
            self._rtcp = guard
        else:
            self._rtp = guard
            if self._mux:
                self._rtcp = guard

    def _drop(self) -> None:
        self._refused_before = self.refused
        self._rtp = self._rtcp = None

    @property
    def waiting(self) -> bool:
        """There will be keys, and there are none yet."""
        return self._terms is not None and self._rtp is None

    @property
    def suite(self) -> str | None:
        """What encrypts now; None where nothing does."""
        return None if self._rtp is None else self._rtp.keys.suite

    @property
    def refused(self) -> int:
        """Packets that did not prove to be the peer's; 0 without SRTP, which alone can tell."""
        guards = {id(guard): guard for guard in (self._rtp, self._rtcp) if guard is not None}
        return self._refused_before + sum(guard.refused for guard in guards.values())

    def protect(self, packet: bytes, *, rtcp: bool = False) -> bytes | None:
        """What goes on the wire; None: nothing may, yet."""
        guard = self._rtcp if rtcp else self._rtp
        if guard is not None:
            return guard.protect(packet, rtcp=rtcp)
        return packet if self._terms is None else None

    def unprotect(self, packet: bytes, *, rtcp: bool = False) -> bytes | None:
        """What the peer said; None if it was not the peer, or nobody can tell yet."""
        guard = self._rtcp if rtcp else self._rtp
        if guard is not None:
            return guard.unprotect(packet, rtcp=rtcp)
        return packet if self._terms is None else None
