"""The shell around a stream's DTLS handshakes: its datagrams, its timer, and where the keys go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from sipcli.errors import MediaFailed
from sipcli.media.agreement import Address, Agreement
from sipcli.media.demux import Kind
from sipcli.media.handshake import Handshakes
from sipcli.media.keying import Keying
from sipcli.media.sdes import SrtpKeys
from sipcli.media.stream import AudioStream, Datagram
from sipcli.ua.media.mediafacts import MediaState
from sipcli.ua.media.rtp_sockets import Diverted

__all__ = ["DtlsDriver", "Way"]

_UNVERIFIED = (
    "srtp-unverified",
    "the audio is encrypted, but who with is not proven: the fingerprint came over signalling without TLS",
)
"""A warning's code and text: RFC 5763 section 8."""


class Way(Protocol):
    """How datagrams come and go: the sockets, or a path that ICE found."""

    def divert(self, kind: Kind, received: Diverted) -> None: ...

    def send(self, datagrams: Iterable[Datagram]) -> None: ...


class DtlsDriver:
    """Made before the first offer: a ClientHello may come before the answer that explains it (RFC 5763 section 5).

    *on_state* is told ``negotiated`` when the audio may flow, *on_failed* when it never will. *secure*: the signalling
    is over TLS; without it *warn(code, text)* hears that nobody vouches for the other side.
    """

    def __init__(
        self,
        stream: AudioStream,
        way: Way,
        clock: Callable[[], float],
        on_state: Callable[[MediaState], None],
        on_failed: Callable[[MediaFailed], None] | None,
        warn: Callable[[str, str], None],
        *,
        secure: bool,
    ) -> None:
        self._stream, self._way, self._clock = stream, way, clock
        self._on_state, self._on_failed, self._warn = on_state, on_failed, warn
        self._secure = secure
        self._loop = asyncio.get_running_loop()
        self._handshakes = Handshakes()
        self._timer: asyncio.TimerHandle | None = None
        self._known: dict[bool, SrtpKeys] = {}
        self._failed = False
        self._closed = False
        way.divert("dtls", self._receive)

    def apply(self, agreement: Agreement, keying: Keying, remote: Address | None, remote_rtcp: Address | None) -> None:
        """Shake hands as *agreement* says with who is at *remote*; the same association as before goes on there."""
        if agreement.dtls is None:
            return
        rtcp, now = None if agreement.rtcp_mux else remote_rtcp, self._clock()
        if self._handshakes.begin(agreement.dtls, keying.identity, remote, rtcp, now):
            self._known.clear()
            self._failed = False
        elif remote is not None:
            self._handshakes.move(remote, rtcp, now)
        self._pump()

    def hurry(self) -> None:
        """See :meth:`Handshakes.hurry`."""
        self._handshakes.hurry(self._clock())
        self._pump()

    def close(self) -> None:
        """Say good-bye and be quiet; the sockets are still open."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._handshakes.close()
        self._way.send(self._handshakes.take())

    def _receive(self, data: bytes, source: Address, rtcp: bool) -> None:
        if not self._closed:
            self._handshakes.receive(data, source, self._clock(), rtcp=rtcp)
            self._pump()

    def _wake(self) -> None:
        self._handshakes.wake(self._clock())
        self._pump()

    def _pump(self) -> None:
        """Send what is to be sent, tell what has become of it, and be here again when something is due."""
        self._way.send(self._handshakes.take())
        self._take_keys()
        if self._handshakes.failure and not self._failed:
            self._failed = True
            self._give_up(self._handshakes.failure)
        if self._timer is not None:
            self._timer.cancel()
        due = None if self._closed or self._failed else self._handshakes.due_in(self._clock())
        self._timer = None if due is None else self._loop.call_later(due, self._wake)

    def _take_keys(self) -> None:
        for rtcp in (False, True):
            keys = self._handshakes.keys(rtcp=rtcp)
            if keys is None or rtcp in self._known:
                continue
            self._known[rtcp] = keys
            self._stream.protection.key(keys, rtcp=rtcp)
            if not rtcp:
                if self._handshakes.proven is not None:
                    self._stream.latch.learn(self._handshakes.proven)
                self._on_state("negotiated")
                if not self._secure:
                    self._warn(*_UNVERIFIED)

    def _give_up(self, why: str) -> None:
        if self._on_failed is not None:
            self._on_failed(MediaFailed(f"call: {why}", code=488))
        else:
            self._warn("srtp-failed", why)
