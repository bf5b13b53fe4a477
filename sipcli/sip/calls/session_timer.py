"""Session timers: a call whose other end has silently gone is found out (RFC 4028).

::

    a 2xx says Session-Expires ──► we refresh     at half of it, by UPDATE or by a new offer
                               └──► they refresh   and where they do not: BYE, min(32 s, SE/3) before the end

A proxy on the way may want a longer interval than is asked for (422): what was said of that (Min-SE) goes into every
request that could start or extend the session, and the refused one is sent again with it (sections 7.3, 7.4).

Only a 2xx extends a session (section 10). A refresh of ours that is challenged may be answered until the other side
would hang up: that is its secret's deadline (item A22), and then we say BYE ourselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from sipcli.sip.events import CallRefreshDue, Why
from sipcli.sip.syntax.message import Message, Request, Response

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core

__all__ = ["MAX_RAISES", "MIN_INTERVAL", "OPTION", "SessionTimer", "interval_of", "is_too_brief"]

OPTION = "timer"
MIN_INTERVAL = 90
"""Seconds; no session interval is shorter (RFC 4028 section 5)."""
MAX_RAISES = 3
"""422s to one request that we take for different proxies; after that somebody simply does not want (section 10)."""
_MARGIN = 32.0
_MOST = 2**31


class Interval(NamedTuple):
    """A ``Session-Expires``: *seconds*, and who refreshes (None: nobody said)."""

    seconds: int
    refresher: Literal["uac", "uas"] | None


def interval_of(message: Message) -> Interval | None:
    """None where there is none, or none that makes sense."""
    value = message.find("Session-Expires") or message.find("x") or ""
    number, *params = (part.strip().lower() for part in value.split(";"))
    if not (seconds := _seconds(number)):
        return None
    said = next((param.partition("=")[2].strip() for param in params if param.startswith("refresher")), "")
    return Interval(seconds, "uac" if said == "uac" else "uas" if said == "uas" else None)


def least_of(message: Message) -> int:
    """Its ``Min-SE``, at least :data:`MIN_INTERVAL`; 0: none that makes sense."""
    seconds = _seconds((message.find("Min-SE") or "").partition(";")[0].strip())
    return max(MIN_INTERVAL, seconds) if seconds else 0


def _seconds(text: str) -> int:
    whole = text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if whole and int(text) < _MOST else 0


def is_too_brief(request: Request) -> bool:
    """Must *request* be refused with 422 and our Min-SE (section 9)?  Whoever knows no timers cannot be refused so."""
    interval = interval_of(request)
    return interval is not None and interval.seconds < MIN_INTERVAL and _knows_timers(request)


class SessionTimer:
    """One call's session timer; idle until :meth:`keep`, or until a 2xx starts it."""

    __slots__ = ("_call", "_core", "_insists", "_least", "_ours", "_raises", "_updates", "expires_at", "interval")

    def __init__(self, core: Core, call: Call) -> None:
        self._core = core
        self._call = call
        self._ours = False
        self._insists = False
        self._updates = True
        self._least = 0  # the longest Min-SE that was heard; 0: none was
        self._raises = 0
        self.interval = 0
        """Seconds; 0: nothing is timed."""
        self.expires_at = 0.0
        """When the session ends, on the engine's clock."""

    @property
    def running(self) -> bool:
        return self.interval > 0

    @property
    def deadline(self) -> float:
        """When the session must have been refreshed: later the other side hangs up (section 10)."""
        return self.expires_at - min(_MARGIN, self.interval / 3)

    @property
    def patience(self) -> float | None:
        """Seconds for which the answer to a challenged refresh is of use; None while nothing is timed."""
        return max(0.0, self.deadline - self._core.now) if self.running else None

    def stop(self) -> None:
        self.interval = 0
        self._core.wheel.disarm(self)

    # -- what starts and extends it ------------------------------------------------------------------------------

    def keep(self, interval: int) -> None:
        """Refresh every *interval* / 2 seconds, whether the other side wants timers or not."""
        self._insists = True
        self._extend(interval, ours=True)

    def heard(self, response: Response) -> None:
        """A 2xx to our INVITE or UPDATE: from now on the session lasts (section 7.2)."""
        if response.cseq.method not in ("INVITE", "UPDATE"):
            return
        self._raises = 0
        if "allow" in response.headers:
            self._updates = "UPDATE" in (method.upper() for method in response.values("Allow"))
        given = interval_of(response)
        if given is None:
            if self._insists:
                self._extend(self.interval, ours=True)
            else:
                self.stop()
            return
        seconds = max(MIN_INTERVAL, given.seconds)  # the other side may shorten it, and we heed no nonsense
        ours = given.refresher != "uas"
        self._extend(min(self.interval, seconds) if self._insists else seconds, ours=ours or self._insists)

    def raised(self, response: Response) -> bool:
        """A 422 to our INVITE or UPDATE: may it be sent again, with what :meth:`headers` says now (section 7.3)?"""
        least = least_of(response) if response.status == 422 else 0
        again = least > max(self._least, self.interval) and self._raises < MAX_RAISES
        self._least = max(self._least, least)
        self._raises += again
        return again

    def answers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """The headers of our 2xx to *request* (INVITE, UPDATE); from now on the session lasts (section 9)."""
        if "allow" in request.headers:
            self._updates = "UPDATE" in (method.upper() for method in request.values("Allow"))
        self._least = max(self._least, least_of(request))
        given = interval_of(request)
        if given is None or (given.seconds < MIN_INTERVAL and not _knows_timers(request)):
            return ()
        # Table 2: the caller's word stands; where he left it open he refreshes, if he knows how.  If he does not, a
        # proxy asked for this, and it is ours to keep the session alive.
        refresher = (given.refresher or "uac") if _knows_timers(request) else "uas"
        self._extend(given.seconds, ours=refresher == "uas")
        required = (("Require", OPTION),) if refresher == "uac" else ()
        return (("Session-Expires", f"{given.seconds};refresher={refresher}"), *required)

    def _extend(self, interval: int, *, ours: bool) -> None:
        self.interval, self._ours = interval, ours
        self.expires_at = self._core.now + interval
        self._core.wheel.disarm(self)
        if ours:
            self._core.wheel.arm(self, "refresh", self._core.now + interval / 2)
        self._core.wheel.arm(self, "deadline", self.deadline)

    # -- time ----------------------------------------------------------------------------------------------------

    def on_timer(self, name: str) -> None:
        if name == "deadline":
            self.stop()
            self._call.on_silence("timeout: the session was not refreshed in time")
        elif self._updates:
            self._call.requests.send("UPDATE", headers=self.headers(), patience=self.patience, on_done=self._on_done)
        else:
            self._core.emit(CallRefreshDue(self._call.me))

    def _on_done(self, response: Response | None, why: Why) -> None:
        """A refresh that is refused is not sent again: the deadline follows.  But an offer may do (RFC 3311 5.3)."""
        if response is not None and 200 <= response.status < 300:
            self.heard(response)
        elif response is not None and self.running and self.raised(response):
            self.on_timer("refresh")
        elif response is not None and response.status in (405, 501, 504) and self.running:
            self._updates = False
            self._core.emit(CallRefreshDue(self._call.me))

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of what may refresh the session: its interval stays what it is, and so does who keeps it (section 7.4)."""
        supported = ("Supported", OPTION)  # always, timed or not (section 7.1)
        if not self.running:
            return (supported, *self.least())
        role, seconds = "uac" if self._ours else "uas", max(self.interval, self._least)
        return (supported, ("Session-Expires", f"{seconds};refresher={role}"), *self.least())

    def least(self) -> tuple[tuple[str, str], ...]:
        """The longest ``Min-SE`` that was heard in this call, for all that follows."""
        return (("Min-SE", str(self._least)),) if self._least else ()


def _knows_timers(request: Request) -> bool:
    return OPTION in (tag.lower() for tag in (*request.values("Supported"), *request.values("Require")))
