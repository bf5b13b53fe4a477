"""The audio of a call, opened before the call exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.errors import MediaFailed, ParseError
from sipcli.media.sdp import address_family, parse_sdp
from sipcli.sip.flow import ENCRYPTED
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.media.icesettings import ice_for
from sipcli.ua.media.media_io import MediaSession
from sipcli.ua.media.srtpsettings import srtp_for
from sipcli.ua.net.localhost import source_towards
from sipcli.ua.net.resolve import settled

if TYPE_CHECKING:
    from sipcli.sip.calls.answer import IncomingCall
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.media.audiospec import AudioSpec

__all__ = ["MediaHooks", "again", "host_for", "open_incoming", "open_media", "settings_for", "speaks_tls"]


class MediaHooks:
    """What a media session calls, before and after its call exists."""

    def __init__(self) -> None:
        self._call: Call | None = None
        self._said: list[tuple[str, str]] = []

    @property
    def call(self) -> Call | None:
        return self._call

    @call.setter
    def call(self, call: Call) -> None:
        """The call exists now, and is told what was said before."""
        self._call = call
        said, self._said = self._said, []
        for code, message in said:
            call.teller.warning(code, message)

    def digit(self, digit: str, duration_ms: int) -> None:
        if self.call is not None:
            self.call.digits.hear(digit, duration_ms)

    def state(self, state: str) -> None:
        if self.call is not None:
            self.call.teller.media(state)

    def warning(self, code: str, message: str) -> None:
        if self.call is not None:
            self.call.teller.warning(code, message)
        else:
            self._said.append((code, message))

    def ice(self, state: str) -> None:
        if self.call is not None:
            self.call.ice.hear(state)

    def failed(self, error: MediaFailed) -> None:
        if self.call is not None:
            self.call.give_up(error)


async def open_incoming(
    call: Call, core: IncomingCall, say: Callable[[bytes], None], media: MediaSession | None, audio: dict[str, Any]
) -> bytes:
    """Open our audio of an incoming call, *say* it to the caller in a turn, and begin; returns our SDP.

    *media* is a session of the program's own, open already.  Raises MediaFailed when there is no common codec; the
    caller then got 488.
    """
    hooks = MediaHooks()
    flow = core.dialog.flow if core.dialog is not None else None
    if media is None:
        settings = settings_for(call.account, audio, secure=flow is not None and flow.encrypted)
        here = flow.local[0] if flow is not None else "127.0.0.1"
        media = await open_media(hooks, host_for(core.offer, here), **settings)
    try:
        sdp = media.offer() if core.offer is None else media.answer(core.offer)
        with call.agent.turn():
            say(sdp)
            call.attach(media, hooks)
            call.wishes = audio
    except BaseException as error:
        await media.close()
        if isinstance(error, MediaFailed):
            call.reject(488)
        raise
    if core.offer is not None:
        media.start()
    return sdp


def host_for(offer: bytes | None, here: str) -> str:
    """Our address for the audio of a call that came in at *here*: that one, unless *offer* wants the other family.

    A proxy may have joined IPv4 and IPv6, and whoever has both takes audio by either (RFC 6157 section 4).
    """
    try:
        description = parse_sdp(offer or b"")
    except ParseError:
        return here
    for media in description.media:
        connection = description.connection_of(media)
        if media.kind == "audio" and media.port and connection is not None and not connection.on_hold:
            if address_family(connection.address) in (None, address_family(here)):
                return here
            return source_towards(connection.address, media.port) or here
    return here


def settings_for(account: Account | None, audio: dict[str, Any], *, secure: bool) -> dict[str, Any]:
    """*audio*, with the account's codecs, SRTP and ICE where nothing else was said.

    *secure*: the signalling is over TLS.  Raises ConfigError where SRTP or ICE is required and cannot be.
    """
    settings = dict(audio)
    settings.pop("dtmf_mode", None)  # the call's own affair: INFO is no audio
    if account is not None:
        settings.setdefault("codecs", account.config.codecs)
        settings.setdefault("silence_suppression", account.config.silence_suppression)
    settings |= srtp_for(None if account is None else account.config, settings, secure=secure)
    settings["ice"] = ice_for(account, settings.get("ice"))
    return settings


def again(audio: dict[str, Any]) -> dict[str, Any]:
    """*audio* for the call that takes this one's place: the same, recorded beside it (``rx.wav``, ``rx-2.wav``…)."""
    record = audio.get("record")
    if record is None:
        return dict(audio)
    path = Path(record)
    name, dash, number = path.stem.rpartition("-")
    counted = bool(dash) and number.isdecimal() and len(number) < 4
    stem = f"{name}-{int(number) + 1}" if counted else f"{path.stem}-2"
    return {**audio, "record": path.with_stem(stem)}


def speaks_tls(agent: UserAgent, account: Account | None, target: SipUri) -> bool:
    """Will a call to *target* leave over TLS?  What DNS has yet to choose is taken for readable (T10)."""
    hop, flow = agent.engine.way_to(None if account is None else account.name, target)
    return (settled(hop) if flow is None else flow.transport) in ENCRYPTED


async def open_media(
    hooks: MediaHooks, host: str, *, audio: AudioSpec | str | None = None, record: Path | str | None = None, **more: Any
) -> MediaSession:
    media = MediaSession(
        audio="null" if audio is None else audio,
        record=record,
        host=host,
        on_dtmf=hooks.digit,
        on_state=hooks.state,
        on_warning=hooks.warning,
        on_ice=hooks.ice,
        on_failed=hooks.failed,
        **more,
    )
    await media.open()
    return media
