"""What a REGISTER says of the flow it comes over, and what the registrar makes of it.

RFC 5626 sections 4.1 and 4.2 (outbound), RFC 5627 section 4 (GRUU), RFC 3840 section 9 (what we can), RFC 3327 (Path).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipcli.errors import ParseError
from sipcli.sip.flow import Flow
from sipcli.sip.registrations.binding import Binding, own_contact
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import contact_uri

if TYPE_CHECKING:
    from sipcli.sip.profile import AccountProfile
    from sipcli.sip.syntax.message import Response

__all__ = ["FIRST_HOP_LACKS_OUTBOUND", "Outbound"]

FIRST_HOP_LACKS_OUTBOUND: Final = 439
_LONGEST_TIMER: Final = 7200
"""A Flow-Timer beyond this would keep no NAT open; the least that is believed is what the brief pong wait allows."""
_LEAST_TIMER: Final = 12


class Outbound:
    """One account's registration as one instance of us with one flow (``reg-id=1``).

    *confirmed*: the registrar and whatever is before it keep this flow; *flow_timer* in seconds is how often it
    wants to hear of us, None where it does not say; *gruu* is our address that leads to this instance from
    everywhere, None while there is none.
    """

    __slots__ = ("_asks", "_profile", "_warned", "confirmed", "flow_timer", "gruu")

    def __init__(self, profile: AccountProfile) -> None:
        self._profile = profile
        self._asks = bool(profile.instance) and profile.outbound != "off"
        self._warned = False
        self.confirmed = False
        self.flow_timer: int | None = None
        self.gruu: str | None = None

    # -- what we say -------------------------------------------------------------------------------------

    @property
    def supported(self) -> str:
        """The option tags of our REGISTER.  Path costs us nothing (RFC 5626 section 4.2.1)."""
        tags = ["path"]
        if self._asks:
            tags.append("outbound")
        if self._gives_gruu:
            tags.append("gruu")
        return ", ".join(tags)

    @property
    def tags(self) -> tuple[str, ...]:
        """The option tags of a request that makes a dialog (RFC 5626 section 4.3, RFC 5627 section 4.4)."""
        return (*(("outbound",) if self.confirmed else ()), *(("gruu",) if self.gruu is not None else ()))

    def contact_params(self, expires: int, methods: tuple[str, ...]) -> str:
        """What follows the URI of our Contact in a REGISTER; the same when the binding is taken back (4.2.2)."""
        text = f";expires={expires}"
        if self._asks:
            text += ";reg-id=1"
        if self._asks or self._gives_gruu:
            text += f';+sip.instance="<{self._profile.instance}>"'
            if expires:
                text += f';audio;methods="{",".join(methods)}"'
        return text

    def contact(self, flow: Flow, *, secure: bool) -> str:
        """Our Contact in everything but a REGISTER: the GRUU, or the flow's own address.

        ``ob`` asks that what comes later in the dialog comes over this very flow (RFC 5626 section 4.3).
        """
        if self.gruu is not None and (not secure or self.gruu.lower().startswith("sips:")):
            return self.gruu
        uri = contact_uri(self._profile.contact_user, flow, secure=secure)
        return f"{uri};ob" if self.confirmed else uri

    def left_behind(self, binding: Binding | None, flow: Flow | None) -> str | None:
        """The Contact of *binding* if its *flow* is gone: calls to it would ring nowhere until it expires.

        Where flows are kept the registrar knows by ``reg-id`` what is replaced, and takes one Contact at a time.
        """
        return None if binding is None or flow is not None or self.confirmed else binding.contact

    @property
    def _gives_gruu(self) -> bool:
        return bool(self._profile.instance) and self._profile.gruu

    # -- what they say -----------------------------------------------------------------------------------

    def give_in(self) -> bool:
        """439: the first hop does not know flows.  True: without them, then; False where we insist or did not ask."""
        if not self._asks or self._profile.outbound == "on":
            return False
        self._asks = False
        return True

    def learn(self, response: Response, ours: str) -> str | None:
        """Read a 2xx to our REGISTER with the Contact *ours*.  What a person should know of it, once, or None."""
        self.confirmed = self._asks and "outbound" in {tag.lower() for tag in response.require}
        self.flow_timer = _flow_timer(response) if self._asks else None
        self.gruu = self._gruu_of(response, ours) if self._gives_gruu else None
        if self.confirmed or self._warned or self._profile.outbound != "on":
            return None
        self._warned = True
        return (
            f"account {self._profile.name}: the registrar does not keep flows (RFC 5626), although outbound = true "
            "wants it; calls may not reach us once a NAT or a proxy forgets us"
        )

    def forget(self) -> None:
        """The binding is gone, and what was agreed with it."""
        self.confirmed, self.flow_timer, self.gruu = False, None, None

    @property
    def keeps_flow(self) -> bool:
        """Somebody there answers keep-alives (section 4.4): he said so, or said how often he wants them."""
        return self.confirmed or self.flow_timer is not None

    def _gruu_of(self, response: Response, ours: str) -> str | None:
        """The public one, else the temporary; None where it is none that a peer could follow."""
        try:
            mine = own_contact(response, ours, self._profile.contact_user)
            gruu = None if mine is None else mine.param("pub-gruu") or mine.param("temp-gruu")
            return str(SipUri.parse(gruu)) if gruu else None
        except ParseError:
            return None


def _flow_timer(response: Response) -> int | None:
    """Seconds of Flow-Timer (section 11.1), at least what a ping and its pong may take."""
    text = response.find("Flow-Timer") or ""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        return None
    return min(max(int(text), _LEAST_TIMER), _LONGEST_TIMER)
