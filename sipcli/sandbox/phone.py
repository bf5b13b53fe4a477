"""The sandbox's phone: answers ``echo``, ``music`` and ``ivr``, and calls users; one media session a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from sipcli.errors import LocalProtocolError, MediaFailed, NetworkError, ParseError
from sipcli.media.quality import MediaReport
from sipcli.sandbox.server import SandboxEngine
from sipcli.sip.calls.answer import IncomingCall
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.events import (
    AnyCall,
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallIncoming,
    CallReferred,
    CallReoffered,
    Event,
    MessageReceived,
)
from sipcli.sip.syntax.message import Response
from sipcli.ua.media.audiospec import AudioSpec, Echo, Melody, Null
from sipcli.ua.media.media_io import MediaSession

__all__ = ["CallRecord", "Phone"]

_log = logging.getLogger(__name__)

SILENCE: Final = 20.0
"""Seconds without RTP and RTCP of a caller who sent some, after which he is asked whether he is still there."""
_AUDIO: Final[Mapping[str, AudioSpec]] = {"echo": Echo(), "music": Melody(), "ivr": Null()}


@dataclass(slots=True)
class CallRecord:
    """One call to an extension, or to a user (then *extension* is theirs).

    *digits* is the DTMF that came; *report* is there once the call has ended,
    and *code* is what it ended with, if with a response.
    """

    extension: str
    sip_call_id: str
    digits: str = ""
    answered: bool = False
    ended: bool = False
    code: int | None = None
    report: MediaReport | None = None


class Phone:
    """Answers what the engine tells.  Everything on one loop; *turn* is the endpoint's flushing context."""

    def __init__(self, host: str, turn: Callable[[], AbstractContextManager[object]], engine: SandboxEngine) -> None:
        self._host = host
        self._turn = turn
        self._engine = engine
        self._media: dict[str, MediaSession] = {}
        self._looks: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._records: dict[str, CallRecord] = {}
        self._placed: dict[str, OutgoingCall] = {}
        self.records: list[CallRecord] = []

    def on_event(self, event: Event) -> None:
        match event:
            case CallIncoming(call):
                self._spawn(self._answer(call))
            case CallConfirmed(call, sdp):
                self._confirm(call, sdp)
            case CallReoffered(call, offer, _):
                self._answer_again(call, offer)
            case CallReferred(_, referral):
                referral.refuse()
            case CallAnswered(call, sdp):
                self._go_ahead(call, sdp)
            case CallEnded(call, code=code):
                self._spawn(self._finish(call, code))
            case MessageReceived(_, request, _) if request.uri.user == "echo":
                self._return_message(request.from_.sip_uri.user_text, request.body, request.content_type)
            case _:
                pass

    async def place(self, user: str, audio: AudioSpec | str) -> CallRecord:
        """Call a registered user.  LocalProtocolError when nobody is bound."""
        media = MediaSession(audio=audio, host=self._host)
        await media.open()
        try:
            with self._turn():
                call = self._engine.call_user(user, media.offer())
                self._media[call.id] = media
                record = self._records[call.id] = CallRecord(user, call.sip_call_id)
        except BaseException:
            await media.close()
            raise
        self._placed[call.sip_call_id] = call
        self.records.append(record)
        return record

    def hang_up(self, record: CallRecord) -> None:
        """End a call that :meth:`place` made."""
        with self._turn():
            self._placed[record.sip_call_id].hangup()

    async def close(self) -> None:
        """Stop every call's audio; the calls themselves end with the engine."""
        for look in self._looks.values():
            look.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for media in self._media.values():
            await media.close()
        self._media.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the sandbox's phone failed", exc_info=error)

    # -- a call -----------------------------------------------------------------------------------

    async def _answer(self, call: IncomingCall) -> None:
        extension = call.invite.uri.user_text
        record = self._records[call.id] = CallRecord(extension, call.sip_call_id)
        self.records.append(record)
        media = MediaSession(
            audio=_AUDIO[extension],
            host=self._host,
            on_dtmf=lambda digit, _: self._on_digit(call, record, digit),
        )
        self._media[call.id] = media
        try:
            await media.open()
            sdp = media.offer() if call.offer is None else media.answer(call.offer)
            with self._turn():
                call.accept(sdp)
        except LocalProtocolError:
            return  # the caller left meanwhile: CallEnded closes the media
        except (MediaFailed, NetworkError) as error:
            _log.info("%s cannot be answered: %s", call, error)
            with self._turn():
                call.reject(488)
            return
        record.answered = True
        if call.offer is not None:
            self._talk(call, media)

    def _confirm(self, call: IncomingCall, sdp: bytes | None) -> None:
        """The ACK; after a late offer it brings the answer (RFC 3261 section 13.2.1)."""
        media = self._media.get(call.id)
        if media is None or call.offer is not None:
            return
        try:
            media.accept_answer(sdp or b"")
            self._talk(call, media)
        except MediaFailed:
            with self._turn():
                call.hangup()

    def _talk(self, call: AnyCall, media: MediaSession) -> None:
        media.start()
        self._look_later(call, media)

    def _look_later(self, call: AnyCall, media: MediaSession) -> None:
        self._looks[call.id] = asyncio.get_running_loop().call_later(SILENCE, self._look, call, media)

    def _look(self, call: AnyCall, media: MediaSession) -> None:
        """Who was killed says no good-bye: whoever fell silent is asked.  The core ends a call that nobody knows."""
        if call.over:
            return
        heard_at = media.heard_at
        if media.listens and heard_at is not None and heard_at < asyncio.get_running_loop().time() - SILENCE:
            with self._turn():
                call.requests.send("OPTIONS", on_done=lambda response, _: self._leave(call, response))
        self._look_later(call, media)

    def _leave(self, call: AnyCall, response: Response | None) -> None:
        if response is None and not call.over:  # on loopback there is no network that could be at fault
            with self._turn():
                call.hangup()

    def _answer_again(self, call: AnyCall, offer: bytes | None) -> None:
        media = self._media.get(call.id)
        with self._turn():
            try:
                if media is None:
                    call.reject_reinvite(488)
                else:
                    call.answer_reinvite(media.offer() if offer is None else media.answer(offer))
            except MediaFailed:
                call.reject_reinvite(488)

    def _go_ahead(self, call: OutgoingCall, sdp: bytes | None) -> None:
        """A user has answered."""
        media, record = self._media.get(call.id), self._records.get(call.id)
        if media is None or record is None:
            return
        try:
            media.accept_answer(sdp or b"")
            self._talk(call, media)
            record.answered = True
        except MediaFailed:
            with self._turn():
                call.hangup()

    async def _finish(self, call: AnyCall, code: int | None) -> None:
        media = self._media.pop(call.id, None)
        record = self._records.pop(call.id, None)
        if (look := self._looks.pop(call.id, None)) is not None:
            look.cancel()
        if media is not None:
            await media.close()
        if record is not None:
            record.ended, record.code = True, code
            record.report = media.report() if media is not None else None

    def _on_digit(self, call: AnyCall, record: CallRecord, digit: str) -> None:
        record.digits += digit
        media = self._media.get(call.id)
        if record.extension == "ivr" and media is not None:
            self._spawn(self._repeat(media, digit))

    @staticmethod
    async def _repeat(media: MediaSession, digit: str) -> None:
        await media.dtmf(digit)

    def _return_message(self, user: str, body: bytes, content_type: str) -> None:
        """A MESSAGE to ``echo`` comes back to its sender, if they are registered."""
        with self._turn():
            try:
                self._engine.message_user(user, body, content_type)
            except (LocalProtocolError, ParseError):
                _log.debug("nobody to return a message to")
