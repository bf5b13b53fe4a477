"""ICE in SDP: candidates, credentials, and whether the other side does ICE at all (RFC 8839, RFC 8445 section 5).

Values only: octets of a description in, attributes out. Who sends the checks lives in ``sipcli.ua.media.ice``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from sipcli.media.sdp import Attribute, MediaDescription, SessionDescription, address_family

__all__ = [
    "Candidate",
    "CandidateKind",
    "IceMismatch",
    "IcePolicy",
    "LocalIce",
    "PeerIce",
    "Selected",
    "find_ice",
    "parse_candidate",
    "priority_of",
]

Address: TypeAlias = tuple[str, int]
CandidateKind: TypeAlias = Literal["host", "srflx", "prflx", "relay"]
IcePolicy: TypeAlias = Literal["off", "optional", "required", "relay"]
"""``optional``: with whoever does ICE; ``required``: no call otherwise; ``relay``: that, and by TURN only."""

_PREFERENCES: dict[CandidateKind, int] = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
"""RFC 8445 section 5.1.2.2."""
_ICE_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_MOST_CANDIDATES = 40
"""Each is somebody whom a stranger's SDP makes us send checks to (RFC 8445 section 19.5.1 wants a limit)."""
_OPTIONS = "ice2"


def priority_of(kind: CandidateKind, component: int, local_preference: int = 65535) -> int:
    """RFC 8445 section 5.1.2.1; *local_preference* tells our own addresses apart."""
    return (_PREFERENCES[kind] << 24) + (local_preference << 8) + (256 - component)


class Candidate(NamedTuple):
    """One ``a=candidate`` over UDP; *related* is where a reflexive or relayed one is seen from (raddr, rport)."""

    foundation: str
    component: int
    priority: int
    host: str
    port: int
    kind: CandidateKind
    related: Address | None = None

    @property
    def address(self) -> Address:
        return self.host, self.port

    def attribute(self) -> Attribute:
        text = f"{self.foundation} {self.component} UDP {self.priority} {self.host} {self.port} typ {self.kind}"
        if self.related is not None:
            text += f" raddr {self.related[0]} rport {self.related[1]}"
        return Attribute("candidate", text)


def parse_candidate(text: str) -> Candidate | None:
    """The value of an ``a=candidate`` (RFC 8839 section 5.1); None for what we cannot use or read.

    That is TCP, names instead of addresses (mDNS among them: a name would be a question to the network), unknown types.
    """
    words = text.split()
    if len(words) < 8 or words[2].upper() != "UDP" or words[6] != "typ" or words[7] not in _PREFERENCES:
        return None
    foundation, component, _, priority, host, port = words[:6]
    if not (0 < len(foundation) <= 32 and _ICE_CHARS.issuperset(foundation)):
        return None
    numbers = (_number(component, 256), _number(priority, 2**31 - 1), _number(port, 65535))
    if address_family(host) is None or None in numbers or "%" in host:
        return None
    more = dict(zip(words[8::2], words[9::2], strict=False))
    back = _number(more.get("rport", ""), 65535)
    related = (more["raddr"], back) if back is not None and address_family(more.get("raddr", "")) else None
    return Candidate(foundation, int(component), int(priority), host, int(port), words[7], related)


def _number(text: str, most: int) -> int | None:
    """A positive one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return int(text) if 0 < int(text) <= most else None


class Selected(NamedTuple):
    """A nominated pair: our candidate, and the address of theirs."""

    local: Candidate
    remote: Candidate

    @property
    def way(self) -> str:
        """How the audio goes: ``relay`` through a TURN server, ``srflx`` or ``prflx`` to a NAT, ``host`` directly."""
        return "relay" if "relay" in (self.local.kind, self.remote.kind) else self.remote.kind


@dataclass(frozen=True, slots=True)
class LocalIce:
    """What we say of ourselves: where we may be reached, and the credentials of checks.  The password shows nowhere.

    *selected*, by component, is what the checks came to; *controlling*: it was we who nominated it.
    """

    ufrag: str
    pwd: str = field(repr=False)
    candidates: tuple[Candidate, ...]
    selected: tuple[Selected, ...] = ()
    controlling: bool = False

    @classmethod
    def new(cls, candidates: Sequence[Candidate], random: Callable[[int], bytes]) -> LocalIce:
        """With 48 and 144 bits of *random*; RFC 8445 section 5.3 wants 24 and 128."""
        ufrag, pwd = (base64.b64encode(random(octets)).decode() for octets in (6, 18))
        return cls(ufrag, pwd, tuple(candidates))

    def restarted(self, random: Callable[[int], bytes]) -> LocalIce:
        """RFC 8839 section 4.4.1.1.1: both credentials are new, and nothing is selected any more."""
        return LocalIce.new(self.candidates, random)

    def default(self, component: int) -> Address | None:
        """What stands in ``m=`` and ``c=`` (component 1), and in ``a=rtcp`` (2).

        Before there is a selected pair: how we are seen from outside, so that a peer without ICE finds us, too, over
        the very socket that we would use without ICE; a relay only where there is nothing else (docs/decisions).
        """
        for pair in self.selected:
            if pair.local.component == component:
                return pair.local.address
        ours = [candidate for candidate in self.candidates if candidate.component == component]
        # The first host candidate is the address that the routing table chose; its reflexive twin follows from it.
        main = next((candidate for candidate in ours if candidate.kind == "host"), None)
        seen = (c for c in ours if main is not None and c.kind == "srflx" and c.related == main.address)
        best = next(seen, main) or next(iter(ours), None)
        return None if best is None else best.address

    def attributes(self, *, mux: bool, asking: bool) -> list[Attribute]:
        """For our ``m=`` section; with *mux* agreed there is no second component.  *asking*: it is an offer."""
        last = 1 if mux else 2
        lines = [Attribute("ice-ufrag", self.ufrag), Attribute("ice-pwd", self.pwd), Attribute("ice-options", _OPTIONS)]
        shown = [pair.local for pair in self.selected] or self.candidates
        lines += [candidate.attribute() for candidate in shown if candidate.component <= last]
        if self.selected and self.controlling and asking:
            # RFC 8839 section 4.4.1.2.2: which of theirs, should the offer overtake the check that says so.
            words = (
                f"{pair.remote.component} {pair.remote.host} {pair.remote.port}"
                for pair in self.selected
                if pair.remote.component <= last
            )
            lines.append(Attribute("remote-candidates", " ".join(words)))
        return lines

    def settled(self, selected: Sequence[Selected], *, controlling: bool) -> LocalIce:
        """The checks are over."""
        return replace(self, selected=tuple(selected), controlling=controlling)


@dataclass(frozen=True, slots=True)
class PeerIce:
    """What the other side says of itself."""

    ufrag: str
    pwd: str = field(repr=False)
    candidates: tuple[Candidate, ...]
    lite: bool = False
    ice2: bool = False
    """They know RFC 8445, not only RFC 5245."""

    def is_restart_of(self, before: PeerIce) -> bool:
        """RFC 8839 section 4.4.1.1.1: both credentials changed; one alone is taken for the same, too."""
        return (self.ufrag, self.pwd) != (before.ufrag, before.pwd)


class IceMismatch(NamedTuple):
    """They do ICE, and somebody on the way rewrote their addresses (RFC 8839 section 4.2.5)."""

    why: str


def find_ice(
    description: SessionDescription, media: MediaDescription, *, mux: bool, known: PeerIce | None = None
) -> PeerIce | IceMismatch | None:
    """The ICE of one ``m=`` section; None where there is none, or none that can be used.

    The credentials of *known* mean the same session as before, whatever candidates come with them, or none:
    the path was found, and what an address on the way looks like matters no more.
    """
    if media.has("ice-mismatch"):
        return IceMismatch("the other side found its own view of our addresses rewritten on the way")
    ufrag, pwd = (media.find(name) or description.find(name) or "" for name in ("ice-ufrag", "ice-pwd"))
    if not (4 <= len(ufrag) <= 256 and 22 <= len(pwd) <= 256 and _ICE_CHARS.issuperset(ufrag + pwd)):
        return None
    if known is not None and (ufrag, pwd) == (known.ufrag, known.pwd):
        return known
    written = [a.value for a in media.attributes if a.name == "candidate" and a.value][:_MOST_CANDIDATES]
    if not written:
        return None
    found = [candidate for text in written if (candidate := parse_candidate(text)) is not None]
    wrong = _rewritten(description, media, found, mux=mux)
    if wrong is not None:
        return IceMismatch(f"{wrong} is none of the other side's candidates: something on the way rewrote it")
    last = 1 if mux else 2
    lite = any(attribute.name == "ice-lite" for attribute in description.attributes)
    options = f"{media.find('ice-options') or ''} {description.find('ice-options') or ''}".split()
    return PeerIce(ufrag, pwd, tuple(c for c in found if c.component <= last), lite, "ice2" in options)


def _rewritten(
    description: SessionDescription, media: MediaDescription, found: list[Candidate], *, mux: bool
) -> str | None:
    """The default destination that no candidate has.  Names, and hold by 0.0.0.0, prove nothing (4.2.5, 2 and 4)."""
    connection = description.connection_of(media)
    host = "" if connection is None else connection.address
    if connection is None or connection.on_hold or address_family(host) is None:
        return None
    if not any((c.component, c.host, c.port) == (1, host, media.port) for c in found):
        return f"{host}:{media.port}"
    words = (media.find("rtcp") or "").split()
    port = _number(words[0], 65535) if words else None
    behind = words[3] if len(words) == 4 else host
    second = any(c.component == 2 for c in found)
    if mux or port is None or not second or (port, behind) == (media.port, host):
        return None
    return None if any((c.component, c.host, c.port) == (2, behind, port) for c in found) else f"{behind}:{port}"
