"""The shell around one audio stream: sockets, offers and answers, audio in and out, recording, PCM for programs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError, MediaFailed
from sipcli.media.agreement import Address, Agreement
from sipcli.media.codecs import choose
from sipcli.media.dtmf import check_digits
from sipcli.media.offer import Negotiator
from sipcli.media.quality import MediaReport
from sipcli.media.sdes import KeyPolicy, SrtpPolicy
from sipcli.media.stream import AudioStream
from sipcli.media.suppress import SilenceSuppressor
from sipcli.ua.media.audioend import AudioEnd
from sipcli.ua.media.audioport import AudioPort
from sipcli.ua.media.audiospec import AudioSpec, parse_audio
from sipcli.ua.media.beat import Beat
from sipcli.ua.media.dtls_io import DtlsDriver
from sipcli.ua.media.mediafacts import MediaFacts, MediaState, facts_of
from sipcli.ua.media.recorder import RecordMode
from sipcli.ua.media.rtp_sockets import RtpSockets

if TYPE_CHECKING:
    from sipcli.ua.media.ice import IcePath, IceState
    from sipcli.ua.media.icemedia import IceMedia
    from sipcli.ua.media.icesettings import IceSettings

__all__ = ["MediaSession"]

_log = logging.getLogger(__name__)

_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""


class MediaSession:
    """One call's audio.

    :meth:`open`; then :meth:`offer` and :meth:`accept_answer`, or :meth:`answer`; :meth:`start`; :meth:`close`.
    Negotiation raises ``MediaFailed`` and leaves what was agreed before. All of it on one event loop.

    PCM - of the audio port, the recording, :meth:`read` and :meth:`write` - has :attr:`rate` samples a second: that
    of the codec agreed on, or *rate* if one is given. *codecs*: names, in the order of preference; None: all that
    this installation can do.

    *srtp* says whether the audio is encrypted, *srtp_keys* how keys are agreed on, *secure* whether the signalling is
    over TLS: without it no key goes into an SDP.

    *silence_suppression*: a peer who hears comfort noise is sent that in place of our silence (RFC 3389).

    *host* is our address, as the peer shall see it. *on_dtmf(digit, duration_ms)*, *on_state(state)*,
    *on_warning(code, message)* and *on_failed(error)* (no keys came: nothing will be sent or heard) are called on
    the loop. *clock* and *random* are for tests.
    """

    def __init__(
        self,
        *,
        audio: AudioSpec | str = "null",
        record: Path | str | None = None,
        record_mode: RecordMode = "received",
        codecs: Sequence[str] | None = None,
        rate: int | None = None,
        srtp: SrtpPolicy = "off",
        srtp_keys: KeyPolicy = "sdes",
        secure: bool = True,
        silence_suppression: bool = False,
        ice: IceSettings | None = None,
        host: str = "127.0.0.1",
        ports: range | None = None,
        on_dtmf: Callable[[str, int], None] | None = None,
        on_state: Callable[[MediaState], None] | None = None,
        on_warning: Callable[[str, str], None] | None = None,
        on_failed: Callable[[MediaFailed], None] | None = None,
        on_ice: Callable[[IceState], None] | None = None,
        clock: Callable[[], float] | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.end = AudioEnd(parse_audio(audio) if isinstance(audio, str) else audio, rate, self._warn)
        """Our end of the audio."""
        self._record = None if record is None else Path(record)
        self._record_mode: RecordMode = record_mode
        self._codecs = None if codecs is None else choose(codecs)
        self._srtp: SrtpPolicy = srtp
        self._srtp_keys: KeyPolicy = srtp_keys
        self._secure = secure
        self._suppresses = silence_suppression
        self._host, self._ports = host, ports
        self._on_dtmf, self._on_state, self._on_warning, self._on_failed = on_dtmf, on_state, on_warning, on_failed
        self._ice_settings, self._on_ice = ice, on_ice
        self.ice: IceMedia | None = None
        """None: the audio goes where the SDP says."""
        self._given_clock, self._random = clock, random
        self._sockets: RtpSockets | IcePath | None = None
        self._local: Address | None = None
        self._negotiator: Negotiator | None = None
        self._stream: AudioStream | None = None
        self._dtls: DtlsDriver | None = None
        self._beat: Beat | None = None
        self._closed = False
        self.state: MediaState | None = None
        self.muted = False
        """Send silence instead of our audio."""
        self.unanswered = False
        """The call is not answered yet: nobody hears our microphone, though he may hear a file or a tone."""

    # -- life ---------------------------------------------------------------

    async def open(self) -> None:
        """Bind the ports, open the audio and the recording.  NetworkError, ConfigError; then nothing is left open."""
        if self._sockets is not None or self._closed:
            raise LocalProtocolError("a media session is opened once")
        self._clock = self._given_clock or asyncio.get_running_loop().time
        try:
            await self.end.open(self._record, self._record_mode)
            self._sockets = self._bind()
            self._local = self._host, self._sockets.local[1]
            self._negotiator = Negotiator(
                rtp=self._local,
                rtcp_port=self._sockets.rtcp_port,
                codecs=None if self._codecs is None else [codec.name for codec in self._codecs],
                session_id=int.from_bytes(self._random(8)) >> 1,
                srtp=self._srtp,
                srtp_keys=self._srtp_keys,
                secure=self._secure,
                random=self._random,
            )
            now = self._clock()
            self._stream = AudioStream(random=self._random, now=now, ntp_offset=time.time() + _NTP_EPOCH - now)
            if self._suppresses:
                self._stream.sender.suppressor = SilenceSuppressor()
            tell = (self.become, self._on_failed, self._warn)
            self._dtls = DtlsDriver(self._stream, self._sockets, self._clock, *tell, secure=self._secure)
            if self.ice is not None:
                await self.ice.open(self._negotiator.ice, self._stream)
        except BaseException:
            await self.close()
            raise

    def _bind(self) -> RtpSockets | IcePath:
        if self._ice_settings is None:
            return RtpSockets(self._host, self._ports, self._receive_rtp, self._receive_rtcp)
        from sipcli.ua.media.icemedia import IceMedia  # whoever does without ICE need not load it

        place = (self._host, self._ports, self._receive_rtp, self._receive_rtcp)
        self.ice = IceMedia(
            self._ice_settings, *place, random=self._random, on_change=self._path_changed, warn=self._warn
        )
        return self.ice.path

    def _path_changed(self, state: IceState) -> None:
        if state == "connected":
            self._shake_hands()
        if self._on_ice is not None:
            self._on_ice(state)

    def start(self) -> None:
        """Begin to send and to play; again, it does nothing."""
        if self._beat is not None or self._closed:
            return
        if self.agreement is None:
            raise LocalProtocolError("media cannot start before an offer and its answer")
        sockets, _, stream = self._opened
        self._beat = Beat(self, stream, sockets, self._clock, self._on_dtmf)
        self._shake_hands()

    async def close(self) -> None:
        """Say good-bye (RTCP BYE), close everything; again, it does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._beat is not None:
            self._beat.stop()
        if self._sockets is not None:
            if self._dtls is not None:
                self._dtls.close()
            if self._stream is not None:
                self._sockets.send(self._stream.farewell(self._clock()))
            self._sockets.close()
        self.end.close()
        if self.ice is not None:
            await self.ice.path.finish()
        if self.state is not None:
            self.become("stopped")

    # -- negotiation ----------------------------------------------------------

    @property
    def local(self) -> Address:
        """Where we receive RTP; known from :meth:`open` on."""
        if self._local is None:
            raise LocalProtocolError("the media session is not open")
        return self._local

    @property
    def agreement(self) -> Agreement | None:
        """What holds now; None before the first offer has its answer."""
        return None if self._negotiator is None else self._negotiator.agreement

    @property
    def listens(self) -> bool:
        """The other side was told that it may send, and the beat goes."""
        return self._beat is not None and self.agreement is not None and self.agreement.may_receive

    @property
    def heard_at(self) -> float | None:
        """When anything of the other side's came last, RTP or RTCP, on the loop's clock; None: never."""
        return None if self._stream is None else self._stream.heard_at

    @property
    def held(self) -> bool:
        """We hold the call, or want to."""
        return self._negotiator is not None and self._negotiator.hold

    @property
    def says_nothing(self) -> bool:
        """We send silence: muted, on hold, or by the microphone of a call that is not answered yet."""
        return self.muted or self.held or (self.unanswered and self.end.is_microphone)

    def offer(self, *, hold: bool | None = None) -> bytes:
        """An SDP offer; *hold* changes whether we hold, from this offer on."""
        negotiator = self._opened[1]
        if hold is not None:
            negotiator.hold = hold
        if self.ice is not None:
            self.ice.offered()
        return negotiator.offer()

    def accept_answer(self, answer: bytes) -> None:
        """The answer to our last offer; a later one to the same offer replaces it."""
        self._opened[1].accept_answer(answer)
        self._apply(offered=True)

    def answer(self, offer: bytes) -> bytes:
        """Our answer to *offer*, the first one or a later one."""
        answer = self._opened[1].answer(offer)
        self._apply(offered=False)
        return answer

    async def move(self, host: str) -> None:
        """Receive at *host* from now on; the next :meth:`offer` says so.  NetworkError: then nothing has moved."""
        sockets, negotiator, _ = self._opened
        if self._closed:
            raise LocalProtocolError("the media session is closed")  # nobody would close the new sockets
        if self.ice is not None:
            await self.ice.restart(host)
        elif isinstance(sockets, RtpSockets):
            sockets.move(host, self._ports)
        self._host, self._local = host, (host, sockets.local[1])
        negotiator.move(self._local, sockets.rtcp_port)

    def withdraw_offer(self) -> None:
        """Our offer was refused: what was agreed before still holds."""
        self._opened[1].withdraw()

    def _apply(self, *, offered: bool) -> None:
        _, negotiator, stream = self._opened
        if negotiator.agreement is not None:
            stream.configure(negotiator.agreement)
            if self.ice is not None:
                self.ice.agreed(negotiator.agreement, controlling=offered)
            self.end.tune(negotiator.agreement.codec.sample_rate)
            self._shake_hands()
            if not stream.protection.waiting:
                self.become("negotiated")

    def _shake_hands(self) -> None:
        """By DTLS, if that is what was agreed on: not before the other side can know it, and a path is there."""
        agreement = self.agreement
        if self._dtls is None or self._beat is None or agreement is None:
            return
        ice = None if agreement.ice is None else self.ice
        place = (agreement.remote, agreement.remote_rtcp) if ice is None else ice.place
        if place is not None:
            self._dtls.apply(agreement, self._opened[1].keying, *place)

    def answered(self) -> None:
        """The microphone may be heard; and whoever has not begun to shake hands soon never will."""
        self.unanswered = False
        if self._dtls is not None:
            self._dtls.hurry()

    @property
    def rate(self) -> int:
        """Samples a second of all PCM here; until there is an agreement, what it would be without one."""
        return self.end.rate

    @property
    def _opened(self) -> tuple[RtpSockets | IcePath, Negotiator, AudioStream]:
        if self._sockets is None or self._negotiator is None or self._stream is None:
            raise LocalProtocolError("the media session is not open")
        return self._sockets, self._negotiator, self._stream

    # -- what happens ---------------------------------------------------------

    def become(self, state: MediaState) -> None:
        """It is in *state* now: tell so."""
        self.state = state
        if self._on_state is not None:
            self._on_state(state)

    def _warn(self, code: str, message: str) -> None:
        if self._on_warning is not None:
            self._on_warning(code, message)
        else:
            _log.warning("%s", message)

    def _receive_rtp(self, data: bytes, source: Address, waited_s: float) -> None:
        if self._stream is not None:
            self._stream.receive_rtp(data, source, self._clock() - waited_s)

    def _receive_rtcp(self, data: bytes, source: Address, waited_s: float) -> None:
        if self._stream is not None:
            self._stream.receive_rtcp(data, source, self._clock() - waited_s)

    # -- for programs -----------------------------------------------------------

    async def dtmf(self, digits: str, *, inband: bool = False) -> str:
        """Send *digits* (``0-9 * # A-D``, a comma waits half a second); returns when they are out.

        ``rfc4733``; ``inband`` where that is wanted, or the peer takes no events. LocalProtocolError for another digit.
        """
        check_digits(digits)
        sender = self._opened[2].sender
        if self._beat is None:
            raise LocalProtocolError("DTMF cannot be sent before the media has started")
        via = sender.dial(digits, inband=inband)
        while not sender.dtmf_idle and not self._closed:
            await self.end.next_beat()
        return via

    def swap_port(self, port: AudioPort) -> AudioPort:
        """Speak and hear by *port* from the next beat on; the one until now is given back, open."""
        return self.end.swap_port(port)

    @property
    def recording(self) -> bool:
        return self.end.recorder is not None

    def record(self, path: Path | str, mode: RecordMode = "both") -> None:
        """Record from now on.  LocalProtocolError when that is done already, ConfigError about the file."""
        self.end.record(Path(path), mode)

    def stop_recording(self) -> bool:
        """End the recording, the file is whole then; False when there is none."""
        return self.end.stop_recording()

    async def write(self, pcm: bytes) -> None:
        """Send *pcm* (16 bit, little-endian, mono, at :attr:`rate`) in place of the source; waits at 200 ms."""
        await self.end.write(pcm)

    async def drain(self) -> None:
        """Return when all that was written is sent, or the session is closed."""
        await self.end.drain()

    def clear(self) -> None:
        """Forget what was written and is not sent yet."""
        self.end.clear()

    async def read(self) -> bytes | None:
        """The next 20 ms that were heard; None after :meth:`close`.  A reader a second behind loses the oldest."""
        return await self.end.read()

    def frames(self) -> AsyncIterator[bytes]:
        """Every 20 ms that are heard, until the session closes; each has ``2 * rate // 50`` octets."""
        return self.end.frames()

    # -- what it came to ----------------------------------------------------------

    def facts(self) -> MediaFacts:
        """For the ``media`` event."""
        return facts_of(self._opened[2], self.agreement, self.local, self.ice, secure=self._secure)

    def report(self, *, verdict: bool = True) -> MediaReport:
        """Counters, quality and (with *verdict*) what was heard; also after :meth:`close`, and before :meth:`open`."""
        if self._stream is None:
            return MediaReport()
        report = self.end.measured(self._stream.report(verdict=verdict))
        return report if self.ice is None else replace(report, strangers=report.strangers + self.ice.path.strangers)
