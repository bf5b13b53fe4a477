"""Via and CSeq: how messages find their transaction and their way back (RFC 3261 sections 17, 18.2, 20.16, 20.42)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.syntax.grammar import HOST, Params, check_host, parse_params, unquote

__all__ = ["MAGIC_COOKIE", "MAX_VIAS", "CSeq", "Via"]

MAGIC_COOKIE = "z9hG4bK"
"""A branch that begins so is unique across space and time (RFC 3261 section 8.1.1.7)."""

MAX_VIAS = 70
"""Via values of one message that we look at: Max-Forwards' usual start (threat T23)."""

# via-parm = sent-protocol LWS sent-by *( SEMI via-params )       sent-protocol = "SIP" SLASH "2.0" SLASH transport
# SLASH = SWS "/" SWS       sent-by = host [ COLON port ]
_VIA = re.compile(
    rf"SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]++({HOST})"
    r"(?>(?:[ \t]*+:[ \t]*+(\d{1,5}))?)[ \t]*+((?:;.*+)?)",
    re.IGNORECASE | re.DOTALL,
)


class Via(NamedTuple):
    """One hop of the way back (RFC 3261 section 20.42).  *transport* is upper case, *host* without brackets."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Raises ParseError."""
        match = _VIA.fullmatch(text.strip())
        if match is None:
            raise ParseError(f"this is no Via: {text[:60]!r}")
        transport, host, port, params = match.groups()
        number = None if port is None else int(port)
        if number is not None and number > 65535:
            raise ParseError(f"there is no port {number}")
        return cls(transport.upper(), check_host(host), number, parse_params(params) if params else ())

    def param(self, name: str) -> str | None:
        """A parameter's value; ``""`` for a flag, None when absent."""
        for key, value in self.params:
            if key == name or key.lower() == name:
                return unquote(value) if value is not None else ""
        return None

    @property
    def branch(self) -> str | None:
        return self.param("branch")

    @property
    def received(self) -> str | None:
        """The address that the request really came from, without brackets (RFC 5118 section 4.5 has both forms)."""
        value = self.param("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The port that the request really came from; None when absent or still empty (RFC 3581 section 4)."""
        value = self.param("rport")
        return int(value) if value and value.isascii() and value.isdigit() and len(value) <= 5 else None

    @property
    def sent_by(self) -> tuple[str, int]:
        """Host and port, 5060 or 5061 where the port is left out (RFC 3261 section 18.1.1)."""
        return self.host, self.port if self.port is not None else 5061 if self.transport == "TLS" else 5060

    def with_param(self, name: str, value: str | None) -> Via:
        """With parameter *name* set, in its old place if it had one; None sets a flag."""
        pairs = [(key, value if key.lower() == name else old) for key, old in self.params]
        if not any(key.lower() == name for key, _ in pairs):
            pairs.append((name, value))
        return Via(self.transport, self.host, self.port, tuple(pairs))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        text = (
            f"SIP/2.0/{self.transport} {host}" if self.port is None else f"SIP/2.0/{self.transport} {host}:{self.port}"
        )
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text


_CSEQ = re.compile(r"(\d++)[ \t]++([A-Za-z0-9\-.!%*_+`'~]++)", re.ASCII)


class CSeq(NamedTuple):
    """``number method`` (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Raises ParseError, also when the number does not fit 32 bits."""
        match = _CSEQ.fullmatch(text.strip())
        if match is None:
            raise ParseError(f"this is no CSeq: {text[:40]!r}")
        digits = match[1].lstrip("0")
        if len(digits) > 10 or int(digits or "0") >= 2**32:
            raise ParseError("this CSeq does not fit 32 bits")
        return cls(int(digits or "0"), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
