"""A request before it is sent: what stays the same over all its attempts (RFC 3261 section 8.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipcli.sip.authn.origin import Origin
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.headers import CSeq
from sipcli.sip.syntax.message import Request
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import CSeqCounter, Target, out_of_dialog, via_of

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.auth import AuthSession

__all__ = ["Letter"]


@dataclass(slots=True, kw_only=True)
class Letter:
    """Everything but Via, CSeq, Contact and credentials, which are taken at each sending.

    *target* is asked at every sending: in a dialog the route may have changed
    meanwhile.  *contact* None leaves the header out; a string is appended to it
    (``;expires=600``).  *replaces* is a Contact that was bound before, and is
    taken back where ours is another now.  *headers* and *body* are the request's own.  *standing*
    is a dialog's own view of whose challenge it is that comes from a server.
    *session* answers challenges; None: the account's.
    """

    method: str
    target: Callable[[], Target]
    sender: str
    recipient: str
    call_id: str
    cseq: CSeqCounter
    contact: str | None = None
    replaces: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    content_type: str | None = None
    standing: Callable[[Origin, Target], Origin] | None = None
    session: AuthSession | None = None

    @classmethod
    def outside(
        cls,
        method: str,
        account: AccountState | None,
        uri: SipUri,
        *,
        tag: str,
        call_id: str,
        cseq: CSeqCounter,
        contact: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        session: AuthSession | None = None,
    ) -> Letter:
        """A request of *account* to *uri*, outside of any dialog; *tag* is our own."""
        where = out_of_dialog(account, uri)
        sender = account.sender if account is not None else "<sip:anonymous@anonymous.invalid>"
        return cls(
            method=method,
            target=lambda: where,
            sender=f"{sender};tag={tag}",
            recipient=f"<{uri.aor}>",
            call_id=call_id,
            cseq=cseq,
            contact=contact,
            headers=headers,
            body=body,
            content_type=content_type,
            session=session,
        )

    def stamp(self, target: Target, flow: Flow, branch: str, contact: str, user_agent: str) -> Request:
        """The request as it goes out on *flow*, with the next CSeq; *contact* is our URI there."""
        via = via_of(flow, branch)
        cseq = CSeq(self.cseq.next(), self.method)
        headers = [
            ("Via", str(via)),
            *(("Route", route) for route in target.routes),
            ("Max-Forwards", "70"),
            ("From", self.sender),
            ("To", self.recipient),
            ("Call-ID", self.call_id),
            ("CSeq", str(cseq)),
        ]
        if self.contact is not None:
            headers.append(("Contact", f"<{contact}>{self.contact}"))
            if self.replaces is not None and self.replaces != contact:
                headers.append(("Contact", f"<{self.replaces}>;expires=0"))
        headers += self.headers
        headers.append(("User-Agent", user_agent))
        if self.content_type is not None:
            headers.append(("Content-Type", self.content_type))
        return Request.build(self.method, target.uri, headers, self.body, via=via, cseq=cseq)

    def estimate(self, target: Target) -> int:
        """A good guess at its size in octets, before Via, Contact and Authorization are known."""
        fixed = sum(len(name) + len(value) + 4 for name, value in self.headers)
        routes = sum(len(route) + 9 for route in target.routes)
        return 400 + fixed + routes + len(self.body) + 2 * len(self.recipient) + len(self.sender)
