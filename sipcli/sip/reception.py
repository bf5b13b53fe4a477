"""Requests from outside: who is welcome, what is refused, whose the rest is (RFC 3261 sections 8.2, 11, 12.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sipcli.errors import ParseError
from sipcli.sip.calls.answer import IncomingCall
from sipcli.sip.calls.reliable import OPTION, option_tags, reliability, supported
from sipcli.sip.calls.session_timer import MIN_INTERVAL, is_too_brief
from sipcli.sip.calls.takeover import judge_replaces, misplaced
from sipcli.sip.events import MessageReceived
from sipcli.sip.flow import Flow
from sipcli.sip.subscriptions.notified import allowed_events
from sipcli.sip.subscriptions.unasked import take_unasked
from sipcli.sip.syntax.bodies import is_optional, read_session
from sipcli.sip.syntax.grammar import KNOWN_METHODS
from sipcli.sip.syntax.letterbody import MESSAGE_TYPES, words_of
from sipcli.sip.syntax.message import Request
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["Reception"]

SDP = "application/sdp"
_Refusal: TypeAlias = tuple[int, tuple[tuple[str, str], ...]]

# Bodies that we would have to understand; those of other methods are ignored.
_READ_BODIES = frozenset(("INVITE", "UPDATE", "PRACK", "MESSAGE"))
# Requests that mean nothing without a dialog or transaction of ours.
_NEED_DIALOG = frozenset(("BYE", "UPDATE", "INFO", "PRACK"))


class Reception:
    """The way in for requests: nothing changes state when it is refused."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    def on_request(self, request: Request, flow: Flow) -> None:
        """ParseError when the headers every request needs make no sense."""
        request = _stamped(request, flow)
        outside = request.to.tag is None
        account = None
        if outside and request.method in ("INVITE", "MESSAGE", "REFER"):
            account = self._callee(request, flow)
            if not self._welcome(account, request, flow):
                self._core.warn("unwelcome", f"{request.method} from {flow}")
                return
        tx = self._core.layer.on_request(request, _way_back(request, flow))
        if tx is not None:
            self.take(tx, request, account, flow)

    def take(self, tx: ServerTransaction, request: Request, account: AccountState | None, flow: Flow) -> None:
        """A new transaction of somebody who is welcome.  A server built on this (the sandbox) looks first."""
        refusal = self._judge(request, account)
        if refusal is not None:
            status, headers = refusal
            tx.reply(status, headers=headers)
        elif request.to.tag is None:
            self._open(tx, request, account)
        else:
            self._inside(tx, request, flow)

    # -- who is welcome ----------------------------------------------------------------------------------

    def _callee(self, request: Request, flow: Flow) -> AccountState | None:
        """Which account is called: by our random contact user, by the address-of-record, by whose server sent it."""
        accounts = self._core.accounts.values()
        if not accounts:
            return None
        try:
            user, host = request.uri.user, request.uri.host
            called = str(request.to.uri).lower()
        except ParseError:
            return None
        for account in accounts:
            if account.profile.contact_user == user:
                return account
        for account in accounts:
            if (user == account.profile.aor.user and host in account.domains) or called == account.aor_text:
                return account
        return next((account for account in accounts if account.origin(flow).bound), None)

    def _welcome(self, account: AccountState | None, request: Request, flow: Flow) -> bool:
        """Ghost calls (threat T20): a stranger who calls an address he found by scanning gets no answer at all.

        Known are our own servers, and whoever knows the random user of our
        Contact: only the registrar was told it.
        """
        match self._core.config.accept_calls:
            case "any":
                return True
            case "none":
                return False
            case _:
                if account is None:
                    return False
                user = request.uri_text.partition(":")[2].partition("@")[0]
                return user == account.profile.contact_user or account.origin(flow).bound

    # -- what is refused -----------------------------------------------------------------------------------

    def _judge(self, request: Request, account: AccountState | None) -> _Refusal | None:
        """The inspections of section 8.2, in their order: method, Request-URI, Require, content."""
        config = self._core.config
        if request.method not in config.allow:
            status = 405 if request.method in KNOWN_METHODS else 501
            return status, (config.allow_header,)
        try:
            _ = request.uri
            required = request.require
        except ParseError as error:
            return error.status, ()
        if misplaced(request):
            return 400, ()
        known = supported(self._core, account)
        unknown = [tag for tag in required if tag not in known]
        if unknown:
            return 420, (("Unsupported", ", ".join(unknown)),)
        opens = request.method == "INVITE" and request.to.tag is None
        if opens and reliability(account) == "required" and OPTION not in option_tags(request, "Supported", "Require"):
            return 421, (("Require", OPTION),)  # RFC 3261 section 21.4.16
        return self._judge_content(request)

    def _judge_content(self, request: Request) -> _Refusal | None:
        """Section 8.2.3; a body that its sender calls optional is no reason to refuse anything."""
        if request.method == "INVITE" and not _takes_sdp(request):
            return 406, ()
        if not request.body or request.method not in _READ_BODIES:
            return None
        if request.method == "MESSAGE":
            if words_of(request) is None and not is_optional(request.find("Content-Disposition")):
                return 415, (("Accept", ", ".join(MESSAGE_TYPES)),)
        else:
            try:
                read_session(request)
            except ParseError as error:
                return error.status, ((("Accept", f"{SDP}, multipart/mixed"),) if error.status == 415 else ())
        if (request.find("Content-Encoding") or "identity").lower() != "identity":
            return 415, (("Accept-Encoding", "identity"),)
        return None

    # -- whose it is -----------------------------------------------------------------------------------------

    def _open(self, tx: ServerTransaction, request: Request, account: AccountState | None) -> None:
        """Outside of any dialog."""
        config = self._core.config
        match request.method:
            case "INVITE" if is_too_brief(request):
                tx.reply(422, headers=(("Min-SE", str(MIN_INTERVAL)),))
            case "INVITE":
                self._invite(tx, request, account)
            case "REFER":  # nobody's other side (T22); a 403 would blame its password
                tx.reply(603)
            case "MESSAGE":
                tx.reply(200)
                self._core.emit(MessageReceived(account.name if account else None, request, tx.flow))
            case "SUBSCRIBE":  # what we notify of begins otherwise: with a REFER
                tx.reply(489, headers=allowed_events(config))
            case "NOTIFY":
                arrival = self._core.arrival or tx.flow
                take_unasked(self._core, self._callee(request, arrival), tx, request, arrival)
            case method if method in _NEED_DIALOG:
                tx.reply(481)
            case _:
                tx.reply(
                    200,
                    headers=(
                        config.allow_header,
                        ("Accept", ", ".join(config.accept)),
                        ("Accept-Encoding", "identity"),
                        ("Supported", ", ".join(config.supported)),
                        *allowed_events(config),
                        ("User-Agent", config.user_agent),
                    ),
                )

    def _invite(self, tx: ServerTransaction, request: Request, account: AccountState | None) -> None:
        refusal, replaced = judge_replaces(self._core, account, request, self._core.arrival or tx.flow)
        if refusal is not None:
            tx.reply(refusal)
            return
        try:
            call = IncomingCall(self._core, account, tx, request, replaced)
        except ParseError as error:
            tx.reply(400, f"Bad Request: {error}"[:80])
            return
        call.start()

    def _inside(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        """Section 12.2.2: find the dialog, keep the order."""
        dialog = self._core.dialogs.get((request.call_id, request.to.tag or "", request.from_.tag or ""))
        notify = request.method == "NOTIFY"
        if dialog is None or dialog.usage is None:
            if notify:
                self._core.notified.deliver(None, tx, request, flow)
            else:
                tx.reply(481)
        elif not dialog.in_order(request):
            tx.reply(500)
        else:
            dialog.saw(request, flow)
            if notify:
                self._core.notified.deliver(dialog, tx, request, flow)
            else:
                dialog.usage.on_request(dialog, tx, request)


def _takes_sdp(request: Request) -> bool:
    """Whether an INVITE's Accept lets us answer with SDP (RFC 4475 section 3.3.15)."""
    if "accept" not in request.headers:
        return True
    accepted = {value.partition(";")[0].strip().lower() for value in request.values("Accept")}
    return bool(accepted & {SDP, "application/*", "*/*"})


def _stamped(request: Request, flow: Flow) -> Request:
    """With ``received`` and ``rport``, so that the response finds its way (section 18.2.1, RFC 3581 section 4)."""
    via = request.via
    host, port = flow.remote
    stamped = via
    if via.host != host:
        stamped = stamped.with_param("received", host)
    if via.param("rport") is not None:
        stamped = stamped.with_param("received", host).with_param("rport", str(port))
    return request if stamped is via else request.with_top_via(stamped)


def _way_back(request: Request, flow: Flow) -> Flow:
    """Where responses go: without ``rport``, over UDP, to the port that Via names (section 18.2.2)."""
    if flow.reliable or request.via.rport is not None:
        return flow
    port = request.via.port or 5060
    if port == flow.remote[1]:
        return flow
    return Flow(flow.id, flow.transport, flow.local, (flow.remote[0], port), flow.verified_identity)
