"""A media session's ICE: what the path is told of offers and answers, and the stream of the path (RFC 8839)."""

from __future__ import annotations

from collections.abc import Callable

from sipcli.errors import MediaFailed
from sipcli.media.agreement import Address, Agreement
from sipcli.media.iceside import IceSide
from sipcli.media.stream import AudioStream
from sipcli.ua.media.ice import IcePath, IceState
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.rtp_sockets import Received

__all__ = ["IceMedia"]


class IceMedia:
    """Between one :class:`IcePath`, one negotiator's :class:`IceSide` and one stream.

    :attr:`path` is there at once, in the place of the sockets; :meth:`open` gathers. *on_change* hears of every state.
    """

    def __init__(
        self,
        settings: IceSettings,
        host: str,
        ports: range | None,
        on_rtp: Received,
        on_rtcp: Received,
        *,
        random: Callable[[int], bytes],
        on_change: Callable[[IceState], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._random, self._on_change = random, on_change
        self._settings = settings
        self._side: IceSide | None = None
        self._stream: AudioStream | None = None
        self._peer_knows_8445 = False
        self._over = False
        self.path = IcePath(host, ports, on_rtp, on_rtcp, settings=settings, on_state=self._changed, warn=warn)

    async def open(self, side: IceSide, stream: AudioStream) -> None:
        """Gather, a few seconds at most; *side* then has what goes into the SDP."""
        self._side, self._stream = side, stream
        side.required = self._settings.required
        side.local = await self.path.gather(self._random)
        if not side.local.candidates:
            raise MediaFailed("no relay for the audio, and ice = relay wants nothing else", code=488)

    async def restart(self, host: str | None = None) -> None:
        """The next offer asks for new checks; *host*: our new address.  NetworkError."""
        side = self._opened
        if host is not None:
            side.begin(await self.path.move(host, self._random))
        else:
            side.restart()

    def offered(self) -> None:
        """An offer is about to leave."""
        local = self._opened.local
        if local is not None and not self._over:
            self.path.expect(local)

    def agreed(self, agreement: Agreement, *, controlling: bool) -> None:
        """An exchange is complete; *controlling*: the offer was ours."""
        self._over = agreement.ice is None
        self._peer_knows_8445 = agreement.ice is not None and agreement.ice.ice2
        self.path.agree(self._opened.local, agreement.ice, controlling=controlling)
        if agreement.ice is None and self._stream is not None:
            self._stream.follow(None)

    @property
    def place(self) -> tuple[Address, Address] | None:
        """Where the peer's RTP and RTCP are; None while there is no path."""
        selected = self.path.selected
        if self.path.state != "connected" or not selected:
            return None
        return selected[0].remote.address, selected[-1].remote.address

    @property
    def way(self) -> str | None:
        """For the ``media`` event: ``host``, ``srflx``, ``prflx``, ``relay``; before, and after, that: the state."""
        if self.path.state == "plain":
            return None
        return self.path.selected[0].way if self.path.state == "connected" else self.path.state

    @property
    def update_due(self) -> bool:
        """An offer of ours should follow the checks."""
        return self._opened.update_due

    @property
    def _opened(self) -> IceSide:
        assert self._side is not None, "open() comes first"
        return self._side

    def _changed(self, state: IceState) -> None:
        stream, side = self._stream, self._side
        if state == "connected" and stream is not None and side is not None:
            selected = self.path.selected
            stream.follow(selected[0].remote.address, selected[-1].remote.address)
            side.select(selected, controlling=self.path.controlling, tell=not self._peer_knows_8445)
        self._on_change(state)
