"""A call as one awaits it: ringing, answered, held, over - and its audio (RFC 3261 sections 13 to 15, RFC 3264)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sipcli.errors import LocalProtocolError, MediaFailed, NoAnswer, SipcliError
from sipcli.media.quality import MediaReport
from sipcli.sip.calls.answer import IncomingCall
from sipcli.sip.calls.infopackage import info_headers, willing
from sipcli.sip.events import AnyCall, CallAnswered, CallEnded, CallLeaving, CallProgress
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.syntax.uri import NameAddr, SipUri, Uri
from sipcli.ua.calls.callaudio import CallAudio
from sipcli.ua.calls.callchange import SessionChanges, quiet_future
from sipcli.ua.calls.calldigits import CallDigits
from sipcli.ua.calls.callmedia import MediaHooks, open_incoming, open_media, settings_for, speaks_tls
from sipcli.ua.calls.callnotices import CallTeller
from sipcli.ua.calls.callreport import CallReport, CallTimes, why_lost, why_not, why_over
from sipcli.ua.calls.icecall import IceCare
from sipcli.ua.calls.vigil import Vigil
from sipcli.ua.media.media_io import MediaSession
from sipcli.ua.net.localhost import local_host
from sipcli.ua.notices import CallState, Side
from sipcli.ua.oneshot import RequestReport

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.conference import Conference

__all__ = ["Call", "CallReport"]

log = logging.getLogger(__name__)

HANGUP_WAIT = 2.0
"""Seconds that :meth:`Call.hangup` waits for the other side to confirm."""
STATS_EVERY = 10.0


class Call:
    """One call, in or out.  Made by ``account.call(target)``, or given to ``on_incoming``."""

    def __init__(self, agent: UserAgent, account: Account | None, core: AnyCall) -> None:
        loop = asyncio.get_running_loop()
        self.agent = agent
        self.account = account
        self.core = core
        self.media: MediaSession | None = None
        self.state: CallState = "ringing" if core.direction == "incoming" else "calling"
        self.on_dtmf: Callable[[str, int], None] | None = None
        self.audio = CallAudio(self)
        self.digits = CallDigits(self)
        self.conference: Conference | None = None
        self.changes = SessionChanges(agent, self)
        self.wishes: dict[str, Any] = {}  # the audio that was asked for; a call that takes our place gets the same
        self.trail: tuple[Uri, ...] = ()  # who sent us on, the first one first
        self.successor: Call | None = None  # the call that takes our place: we were sent on, or replaced
        self.teller = CallTeller(agent, self)
        self._early: bytes | None = None
        self._answer: Response | None = None
        self.ice = IceCare(self)
        self.vigil = Vigil(self)
        self._loop = loop
        self._times = CallTimes(loop)
        self._answered: asyncio.Future[None] = quiet_future(loop)
        self._over: asyncio.Future[CallReport] = quiet_future(loop)
        self._parting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._stats: asyncio.TimerHandle | None = None
        self._failure: SipcliError | None = None
        agent.add_call(self)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Short and ours: ``call1``."""
        return self.core.id

    @property
    def sip_call_id(self) -> str:
        return self.core.sip_call_id

    @property
    def direction(self) -> Literal["in", "out"]:
        return "in" if self.core.direction == "incoming" else "out"

    @property
    def remote(self) -> NameAddr:
        """The other side: display name and URI."""
        return self.core.remote

    @property
    def local(self) -> str:
        if self.account is not None:
            return str(self.account.aor)
        return self.core.invite.uri_text if isinstance(self.core, IncomingCall) else "sip:anonymous@anonymous.invalid"

    @property
    def request(self) -> Request:
        """Their INVITE.  Only of an incoming call."""
        return self._incoming.invite

    @property
    def is_up(self) -> bool:
        """It was answered, and is not over."""
        return self._times.is_up and not self.is_over

    @property
    def is_over(self) -> bool:
        return self.state == "ended"

    @property
    def muted(self) -> bool:
        """Does the other side not hear the person?  In a conference it goes on hearing the others."""
        if self.conference is not None:
            return self.conference.muted
        return self.media is not None and self.media.muted

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.direction} {self.state} {self.remote.uri}>"

    # --- outgoing ---------------------------------------------------------------------------------------------

    @classmethod
    async def dial(
        cls,
        agent: UserAgent,
        account: Account | None,
        target: SipUri,
        *,
        media: MediaSession | None = None,
        headers: Sequence[tuple[str, str]] = (),
        shared_auth: bool | None = None,
        late_offer: bool = False,
        **audio: Any,
    ) -> Call:
        """INVITE *target*.  *audio*: see :meth:`accept`; *media* is a session of the caller's own, open already.

        *late_offer*: the INVITE carries no SDP, the answer brings the offer (RFC 3261 section 13.2.1).
        *shared_auth* False: it authenticates by itself (docs/levels.md); None: as the account says.
        """
        hooks = MediaHooks()
        if media is None:
            settings = settings_for(account, audio, secure=speaks_tls(agent, account, target))
            media = await open_media(hooks, await local_host(agent, account, target), **settings)
        try:
            with agent.turn() as engine:
                name = None if account is None else account.name
                sdp = None if late_offer else media.offer()
                core = engine.invite(name, target, sdp, headers=headers, shared_auth=shared_auth)
                core.redirects = agent.transfers.may_be_redirected(account)
                call = cls(agent, account, core)
                call.attach(media, hooks)
                call.wishes = audio
                call.tell("calling")
        except BaseException:
            await media.close()
            raise
        return call

    async def answered(self, timeout: float | None = None) -> None:
        """Return when it is answered.  Raises the typed error if it is not; NoAnswer after *timeout*, hanging up."""
        try:
            await asyncio.wait_for(asyncio.shield(self._answered), timeout)
        except TimeoutError:
            await self.hangup()
            raise NoAnswer(f"call: nobody answered within {timeout:g} s") from None

    # --- incoming ---------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Tell that somebody calls."""
        self.tell("ringing")

    def ring(self, code: int = 180) -> None:
        """Tell the caller that it rings."""
        with self.agent.turn():
            self._incoming.ring(code)

    async def early(self, *, media: MediaSession | None = None, **audio: Any) -> None:
        """Let the caller hear us before we answer: 183 with SDP (RFC 3960).  :meth:`accept` goes on with that audio.

        It only rings where the caller takes no offer so early.  *audio*, and what is raised: see :meth:`accept`.
        """
        core = self._incoming
        if not core.takes_early_media:
            self.ring()
            return
        self._early = await open_incoming(self, core, partial(core.ring, 183), media, audio)
        self.tell("early", code=183)

    async def accept(self, *, media: MediaSession | None = None, **audio: Any) -> None:
        """Answer.  *audio*: the keywords of :class:`MediaSession`.

        Raises MediaFailed when there is no common codec; the caller then got 488.
        """
        core = self._incoming
        if self._early is None:
            await open_incoming(self, core, core.accept, media, audio)
        else:
            with self.agent.turn():
                core.accept(self._early)
        self._mark_up()
        self.tell("answered", code=200, reason="OK")

    def reject(self, code: int = 486, reason: str | None = None) -> None:
        """Refuse: 486 busy, 603 declined, 480 nobody there."""
        with self.agent.turn():
            self._incoming.reject(code, reason)

    @property
    def _incoming(self) -> IncomingCall:
        if not isinstance(self.core, IncomingCall):
            raise LocalProtocolError("this is an outgoing call")
        return self.core

    # --- in the call ------------------------------------------------------------------------------------------

    async def dtmf(self, digits: str) -> None:
        """Send *digits* (``0-9 * # A-D``, a comma waits) as *dtmf_mode* says; returns when they are out."""
        await self.digits.send(digits)

    async def send_request(
        self,
        method: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> RequestReport:
        """Send INFO, UPDATE, REFER, NOTIFY... inside the call.  Any final answer is a report, a refusal, too.

        Raises the typed error when nobody answers, or a challenge is not met.
        """
        done = await self.agent.oneshots.run(lambda _: self.core.request(method, headers, body, content_type))
        account = self.account
        name, story = (None, None) if account is None else (account.name, account.story(done.oneshot.exchange))
        return RequestReport.of(done, name, story)

    async def info(self, package: str, body: bytes = b"", content_type: str | None = None) -> RequestReport:
        """Send an INFO of *package* (RFC 6086).  Raises LocalProtocolError where the other side does not take it."""
        headers = info_headers(package, willing(self._answer or self.request))
        return await self.send_request("INFO", headers=headers, body=body, content_type=content_type)

    async def hold(self) -> None:
        """Stop the audio both ways (RFC 3264 section 8.4).  Raises MediaFailed when the other side refuses."""
        await self.changes.reoffer(hold=True)

    async def resume(self) -> None:
        """Go on after :meth:`hold`; where the other side holds, too, the call stays held, by them."""
        await self.changes.reoffer(hold=False)

    async def transfer(self, target: str | SipUri) -> int | None:
        """Send the other side to *target* (RFC 5589 section 6); the call is over when he is there.

        Returns the status he got; None: he left without a word.  Raises the typed error, and the call goes on.
        """
        uri = self.account.parse_target(target) if self.account is not None else SipUri.written(str(target))
        return await self.agent.transfers.ours.blind(self, uri)

    async def transfer_to(self, other: Call) -> int | None:
        """Join the other sides of this call and of *other* (section 7), as :meth:`transfer`; both are over then."""
        return await self.agent.transfers.ours.attended(self, other)

    async def hangup(self, *, timeout: float = HANGUP_WAIT) -> None:
        """End the call, whatever its state; returns when it is over, or after *timeout* seconds."""
        if not self.is_over:
            self._leave()
        try:
            await asyncio.wait_for(asyncio.shield(self._over), timeout)
        except (TimeoutError, SipcliError):
            pass

    async def finished(self) -> CallReport:
        """Return when the call is over.  Raises the typed error of a call that was never answered."""
        return await asyncio.shield(self._over)

    async def drop(self) -> None:
        """Be over now, whatever the other side says: the agent closes."""
        if not self.is_over:
            self._end(CallEnded(self.core, "local", why="closed: the user agent closes"))
        if self._ending is not None:
            await self._ending

    @property
    def session(self) -> MediaSession:
        """Its audio.  Raises LocalProtocolError before there is any."""
        if self.media is None:
            raise LocalProtocolError("the call has no audio yet")
        return self.media

    # --- what the core tells ----------------------------------------------------------------------------------

    def on_progress(self, event: CallProgress) -> None:
        if event.state != "trying":
            self._times.mark_sign(rings=event.response.status == 180)
        if event.sdp is not None:
            self.changes.hear(event.sdp, fatal=False)
        self.tell(event.state, code=event.response.status, reason=event.response.reason)

    def on_answered(self, event: CallAnswered) -> None:
        self._answer = event.response
        self._mark_up()
        if event.sdp is not None:
            self.changes.hear(event.sdp, fatal=True)
        elif self.session.agreement is None:
            self.give_up(MediaFailed("call: the answer has no SDP", code=488))
        self.tell("answered", code=event.response.status, reason=event.response.reason)
        if self._failure is None and not self._answered.done():
            self._answered.set_result(None)

    def on_leaving(self, event: CallLeaving) -> None:
        """Our BYE ends the session, not its answer (RFC 3261 section 15.1.1): who never answers hears nothing more."""
        self._times.mark_down()
        if self.media is not None and self._parting is None:
            self._parting = self._loop.create_task(self.media.close())

    def on_ended(self, event: CallEnded) -> None:
        self._end(event)

    # --- inside -----------------------------------------------------------------------------------------------

    def attach(self, media: MediaSession, hooks: MediaHooks) -> None:
        """*media* is the audio of this call."""
        self.media, media.unanswered = media, True
        hooks.call = self
        self._stats = self._loop.call_later(STATS_EVERY, self._tell_stats)

    def give_up(self, error: SipcliError) -> None:
        """The call is up and of no use: it ends, with *error*."""
        self._failure = error
        self._leave()

    def _leave(self) -> None:
        """A callee's BYE may have to wait for the ACK (section 15): his audio does not."""
        with self.agent.turn():
            self.core.hangup()
        self.on_leaving(CallLeaving(self.core))

    def _mark_up(self) -> None:
        self._times.mark_up()
        self.session.answered()
        self.vigil.begin()
        if self.direction == "in" and not self._answered.done():
            self._answered.set_result(None)

    def _end(self, event: CallEnded) -> None:
        if self.is_over:
            return
        self.vigil.stop()
        why = why_over(event, self.vigil.verdict)
        self.teller.call("ended", code=event.code, reason=event.reason, by=event.by, why=why)
        self.state = "ended"
        if self._stats is not None:
            self._stats.cancel()
        self.digits.close()
        self.agent.drop_call(self)
        self._ending = self._loop.create_task(self._wind_up(event))

    async def _wind_up(self, event: CallEnded) -> None:
        media = MediaReport()
        if self._parting is not None:
            await self._parting
        if self.media is not None:
            await self.media.close()
            media = self.media.report()
            if self._times.is_up:
                self.teller.stats(media)
        error = self._failure or why_not(self, event, was_up=self._times.is_up)
        report = self._times.report(event, media, lost=why_lost(event, self.vigil.verdict))
        gone = error or NoAnswer("call: hung up before it was answered")
        self.changes.fail(gone)
        if not self._answered.done():
            self._answered.set_exception(gone)
        if error is not None:
            self._over.set_exception(error)
        else:
            self._over.set_result(report)

    def tell(
        self, state: CallState, *, code: int | None = None, reason: str | None = None, by: Side | None = None
    ) -> None:
        """It is in *state* now, *by* whose doing: tell everybody."""
        self.state = state
        self.vigil.note()
        self.teller.call(state, code=code, reason=reason, by=by)

    def _tell_stats(self) -> None:
        self._stats = self._loop.call_later(STATS_EVERY, self._tell_stats)
        if self._times.is_up:
            self.teller.stats(self.session.report(verdict=False))
