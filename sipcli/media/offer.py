"""One audio stream by offer and answer: RFC 3264, with the payload types of RFC 3551 and RFC 7587.

Knows no dialog: bytes come in, bytes and an :class:`Agreement` go out. What cannot be agreed on
is ``MediaFailed`` with code 488 (RFC 3261 section 13.3.1.3), also when the peer's SDP is malformed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypedDict

from sipcli.errors import LocalProtocolError, MediaFailed, ParseError
from sipcli.media.agreement import COMFORT_NOISE, PTIME_MS, Address, Agreement, direction_for, mirrored, receives, sends
from sipcli.media.codecs import Codec, choose
from sipcli.media.fingerprint import DtlsTerms
from sipcli.media.formats import PayloadTypes, codec_lines, codecs_of, event_for, event_lines, event_types
from sipcli.media.iceside import IceSide
from sipcli.media.keying import Keying, Keys
from sipcli.media.rtcpxr import WANTED, wanted_by
from sipcli.media.sdes import KeyPolicy, SrtpKeys, SrtpPolicy
from sipcli.media.sdp import (
    UNBOUNDED,
    Attribute,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    SessionDescription,
    address_family,
    parse_sdp,
)

__all__ = ["Negotiator"]


class Negotiator:
    """The offer/answer state of one audio stream between two parties.

    *rtp* is the address we receive at, *rtcp_port* where its RTCP goes. After each
    :meth:`answer` or :meth:`accept_answer`, :attr:`agreement` says what holds now;
    a failure leaves it as it was.
    """

    def __init__(
        self,
        *,
        rtp: Address,
        rtcp_port: int | None = None,
        codecs: Sequence[str] | None = None,
        session_id: int,
        events: bool = True,
        srtp: SrtpPolicy = "off",
        srtp_keys: KeyPolicy = "sdes",
        secure: bool = True,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._host, self._port = rtp
        self._origin = Connection.of(rtp[0])
        self._rtcp_port = rtcp_port if rtcp_port is not None else self._port + 1
        self._codecs = choose(codecs)
        self._events = events
        self._session_id = session_id
        self.keying = Keying(srtp, srtp_keys, secure=secure, random=random)
        self._local: SessionDescription | None = None
        self._types = PayloadTypes()
        self._index = 0
        self._agreed_hold = False
        self.hold = False
        self.ice = IceSide(random)
        self.agreement: Agreement | None = None

    def move(self, rtp: Address, rtcp_port: int) -> None:
        """Receive elsewhere, from the next offer or answer on; who we are (``o=``) stays the same (RFC 3264 8)."""
        self._host, self._port = rtp
        self._rtcp_port = rtcp_port

    # -- our side asks ------------------------------------------------------

    def offer(self) -> bytes:
        """A new offer; set :attr:`hold` before. The media lines of an earlier exchange keep their places."""
        kept = () if self._local is None else self._local.media
        media = [replace(line, port=0, connection=None, attributes=()) for line in kept]
        ours = self._offered_media()
        if media:
            media[self._index] = ours
        else:
            media = [ours]
        return self._publish(tuple(media))

    def _offered_media(self) -> MediaDescription:
        formats, lines = [], []
        for codec in self._codecs:
            formats.append(str(number := self._types.of_codec(codec)))
            lines += codec_lines(codec, number)
        clocks = {codec.clock_rate for codec in self._codecs}
        if 8000 in clocks:
            formats.append(str(COMFORT_NOISE))
        for clock in sorted(clocks) if self._events else ():
            formats.append(str(number := self._types.of_events(clock)))
            lines += event_lines(number, clock)
        # RFC 3264 section 8.4: hold what is held from the other side, too, and it is inactive.
        held_by_peer = self.agreement is not None and not sends(self.agreement.direction) and not self._agreed_hold
        direction = direction_for(sending=not (self.hold and held_by_peer), receiving=not self.hold)
        protocol, keys = self.keying.offered(self.agreement)
        lines += [WANTED, *keys, *self.ice.offered(self.agreement)]
        return self._media(protocol, tuple(formats), lines, direction, mux=True)

    def accept_answer(self, answer: bytes) -> Agreement:
        """The answer to our last offer; again when a later response carries another one (RFC 3261 section 13.2.1)."""
        if self._local is None:
            raise LocalProtocolError("an SDP answer came, but nothing was offered")
        description = _parse(answer)
        offered = self._local.media[self._index]
        if len(description.media) != len(self._local.media):
            raise _failed(f"the answer has {len(description.media)} media lines, the offer {len(self._local.media)}")
        media = description.media[self._index]
        if media.rejected or media.kind != offered.kind:
            raise _failed("the peer refused our audio")
        if media.protocol != offered.protocol:
            raise _failed(f"the answer speaks {media.protocol}, the offer {offered.protocol}")
        remote = self._remote_of(description, media)
        theirs = self._codecs_of(media, named_by=offered)
        if not theirs:
            raise _failed("no codec in common")
        keys = self.keying.chosen(description, media, offered=offered, remote=remote, before=self.agreement)
        self._types.note(media, named_by=offered)
        send_type, codec = next(iter(theirs.items()))
        event, clock = event_for(codec, event_types(media, named_by=offered))
        allowed = self._local.direction_of(offered)
        wanted = mirrored(description.direction_of(media))
        mux = offered.has("rtcp-mux") and _muxable(media)
        ice = self.ice.hear(description, media, mux=mux, before=self.agreement)
        self._agreed_hold = self.hold
        self.agreement = Agreement(
            codec=codec,
            send_type=send_type,
            receive_types={**theirs, **self._codecs_of(offered)},
            send_format=media.parameters_of(send_type),
            send_event_type=event,
            send_event_clock=clock,
            takes_noise=_takes_noise(codec, media),
            receive_event_types={**event_types(offered), **event_types(media)},
            remote=remote,
            remote_rtcp=_rtcp_of(remote, media, mux=mux),
            rtcp_mux=mux,
            **_agreed(keys),
            extended=wanted_by(description, media),
            ice=ice,
            nowhere=_is_nowhere(description, media),
            direction=direction_for(
                sending=sends(allowed) and sends(wanted), receiving=receives(allowed) and receives(wanted)
            ),
        )
        self.ice.settle()
        return self.agreement

    def withdraw(self) -> None:
        """Our last offer was refused (488, 491): what was agreed before still holds (RFC 3261 section 14.1)."""
        self.hold = self._agreed_hold
        self.ice.withdraw()

    # -- the peer asks ------------------------------------------------------

    def answer(self, offer: bytes) -> bytes:
        """The answer to *offer*: one codec, the offerer's favourite among ours; every other media line is refused."""
        description = _parse(offer)
        index = self._choose(description)
        if index is None:
            if self.agreement is None or not all(media.rejected for media in description.media):
                raise _failed(self.keying.objection(description) or "no codec in common")
            self.agreement = replace(self.agreement, direction="inactive")
            return self._publish(tuple(_refused(media) for media in description.media), description.times)
        media = description.media[index]
        agreement, keys = self._agree_on(description, media)
        lines = [_refused(other) for other in description.media]
        lines[index] = self._answered_media(media, agreement, keys)
        self._index, self._agreed_hold, self.agreement = index, self.hold, agreement
        self._types.note(media)
        self.ice.settle()
        return self._publish(tuple(lines), description.times)

    def _choose(self, description: SessionDescription) -> int | None:
        usable = [i for i, media in enumerate(description.media) if self._usable(description, media)]
        if self._index in usable and self.agreement is not None:
            return self._index
        # A caller who would like to encrypt, and could do without, writes two lines; we like it, too.
        secure = (i for i in usable if self.keying.encrypts(description, description.media[i]))
        return next(secure, next(iter(usable), None))

    def _usable(self, description: SessionDescription, media: MediaDescription) -> bool:
        if media.kind != "audio" or media.rejected or not self.keying.takes(description, media, self.agreement):
            return False
        try:
            self._remote_of(description, media)
        except MediaFailed:
            return False
        return bool(self._codecs_of(media))

    def _agree_on(self, description: SessionDescription, media: MediaDescription) -> tuple[Agreement, list[Attribute]]:
        remote = self._remote_of(description, media)
        payload_type, codec = next(iter(self._codecs_of(media).items()))
        event, clock = event_for(codec, event_types(media) if self._events else {})
        offered = description.direction_of(media)
        mux = _muxable(media)
        keys, lines = self.keying.answered(description, media, remote=remote, before=self.agreement)
        return Agreement(
            codec=codec,
            send_type=payload_type,
            receive_types=self._codecs_of(media),
            send_format=media.parameters_of(payload_type),
            send_event_type=event,
            send_event_clock=clock,
            takes_noise=_takes_noise(codec, media),
            receive_event_types=event_types(media),
            remote=remote,
            remote_rtcp=_rtcp_of(remote, media, mux=mux),
            rtcp_mux=mux,
            **_agreed(keys),
            extended=wanted_by(description, media),
            ice=self.ice.hear_offer(description, media, mux=mux, before=self.agreement),
            nowhere=_is_nowhere(description, media),
            direction=direction_for(
                sending=receives(offered) and remote is not None, receiving=sends(offered) and not self.hold
            ),
        ), lines

    def _answered_media(self, media: MediaDescription, agreement: Agreement, keys: list[Attribute]) -> MediaDescription:
        codec = agreement.codec
        formats = [str(agreement.send_type)]
        lines = codec_lines(codec, agreement.send_type)
        if agreement.takes_noise:
            formats.append(str(COMFORT_NOISE))
        event = agreement.send_event_type
        if event is not None:
            formats.append(str(event))
            lines += event_lines(event, agreement.send_event_clock)
        # RFC 3611 section 5.2: who wants these of us may be asked for them.
        lines += [WANTED] if agreement.extended else []
        lines += [*keys, *self.ice.answered(agreement)]
        return self._media(media.protocol, tuple(formats), lines, agreement.direction, mux=agreement.rtcp_mux)

    # -- both ---------------------------------------------------------------

    def _media(
        self, protocol: str, formats: tuple[str, ...], lines: list[Attribute], direction: Direction, *, mux: bool
    ) -> MediaDescription:
        lines = [*lines, Attribute("ptime", str(PTIME_MS))]
        (host, port), rtcp = self._default
        if rtcp != (host, port + 1):
            # RFC 3605 section 2.1
            where = "" if rtcp[0] == host else f" {Connection.of(rtcp[0])}"
            lines.append(Attribute("rtcp", f"{rtcp[1]}{where}"))
        if mux:
            lines.append(Attribute("rtcp-mux"))  # RFC 5761 section 5.1.1
        lines.append(Attribute(direction))
        return MediaDescription(kind="audio", port=port, protocol=protocol, formats=formats, attributes=tuple(lines))

    @property
    def _default(self) -> tuple[Address, Address]:
        """Where RTP and RTCP come to us, for who does no ICE."""
        ours, local = ((self._host, self._port), (self._host, self._rtcp_port)), self.ice.local
        if local is None:
            return ours
        return local.default(1) or ours[0], local.default(2) or local.default(1) or ours[1]

    def _publish(self, media: tuple[MediaDescription, ...], times: tuple[tuple[str, str], ...] = ()) -> bytes:
        """*times*: those of the offer, which the answer has to repeat (RFC 3264 section 6)."""
        connection = Connection.of(self._default[0][0])
        version = 1 if self._local is None else self._local.origin.version
        description = SessionDescription(
            origin=Origin(self._session_id, version, self._origin),
            connection=connection,
            others=times or UNBOUNDED,
            media=media,
        )
        if self._local is not None and description != self._local:
            # RFC 3264 section 8: the version grows by one when, and only when, something changed.
            description = description.with_version(version + 1)
        self._local = description
        return description.to_bytes()

    def _remote_of(self, description: SessionDescription, media: MediaDescription) -> Address | None:
        connection = description.connection_of(media)
        if connection is None:
            raise _failed("the peer's audio has no address (c=)")
        if connection.on_hold:
            return None
        host = connection.address.partition("/")[0]
        family = address_family(host)
        if family is not None and family != address_family(self._host):
            raise _failed(f"the peer's audio is at {host}, which cannot be reached from {self._host}")
        return (host, media.port) if family is not None else None

    def _codecs_of(self, media: MediaDescription, *, named_by: MediaDescription | None = None) -> dict[int, Codec]:
        return codecs_of(media, self._codecs, named_by=named_by)


class _Agreed(TypedDict):
    srtp: SrtpKeys | None
    dtls: DtlsTerms | None


def _agreed(keys: Keys) -> _Agreed:
    return {
        "srtp": keys if isinstance(keys, SrtpKeys) else None,
        "dtls": keys if isinstance(keys, DtlsTerms) else None,
    }


def _takes_noise(codec: Codec, media: MediaDescription) -> bool:
    """Type 13 stands for an rtpmap of 8 kHz, and may not be given another meaning (RFC 3389 section 4)."""
    return codec.clock_rate == 8000 and str(COMFORT_NOISE) in media.formats


def _is_nowhere(description: SessionDescription, media: MediaDescription) -> bool:
    connection = description.connection_of(media)
    return connection is not None and connection.on_hold


def _muxable(media: MediaDescription) -> bool:
    """RFC 5761 section 4: on a shared port, payload types 64 to 95 would look like RTCP."""
    return media.has("rtcp-mux") and not any(text in media.formats for text in map(str, range(64, 96)))


def _rtcp_of(remote: Address | None, media: MediaDescription, *, mux: bool) -> Address | None:
    if remote is None or mux:
        return remote
    words = (media.find("rtcp") or "").split()
    if words and words[0].isascii() and words[0].isdigit() and 0 < int(words[0][:6]) <= 65535:
        # RFC 3605: another port, and with three more words another address.
        host = words[3] if len(words) == 4 and address_family(words[3]) == address_family(remote[0]) else remote[0]
        return host, int(words[0])
    return (remote[0], remote[1] + 1) if remote[1] < 65535 else None


def _refused(media: MediaDescription) -> MediaDescription:
    """RFC 3264 section 6: port zero, the rest of the line as offered."""
    return MediaDescription(kind=media.kind, port=0, protocol=media.protocol, formats=media.formats)


def _parse(data: bytes) -> SessionDescription:
    try:
        return parse_sdp(data)
    except ParseError as error:
        raise _failed(f"the peer's session description cannot be read: {error}") from error


def _failed(message: str) -> MediaFailed:
    return MediaFailed(message, code=488, reason="Not Acceptable Here")
