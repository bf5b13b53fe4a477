"""Where a STUN or TURN server is: ``stun:host:port`` (RFC 7064) and ``turn:host:port?transport=tcp`` (RFC 7065)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

from sipcli.errors import ConfigError

__all__ = ["IceServer", "parse_ice_server"]

IceScheme: TypeAlias = Literal["stun", "turn", "turns"]

_FORM = re.compile(
    r"(?P<scheme>stun|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?@\[\]]+)(?::(?P<port>\d{1,5}))?(?P<query>\?.*)?"
)


class IceServer(NamedTuple):
    """*transport* is how we reach it; what a TURN server relays is UDP in any case."""

    scheme: IceScheme
    host: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = "tcp" if self.scheme == "turns" else "udp"
        return f"{self.scheme}:{host}:{self.port}" + ("" if self.transport == usual else f"?transport={self.transport}")


def parse_ice_server(text: str, kind: Literal["stun", "turn"]) -> IceServer:
    """*text* as an address of *kind*; the scheme may be left out.  Raises ConfigError."""
    given = text.strip()
    if not re.match(r"(?i)(stun|turn)s?:", given):
        given = f"{kind}:{given}"
    scheme, colon, rest = given.partition(":")
    found = _FORM.fullmatch(scheme.lower() + colon + rest)
    hint = (
        "write it as stun:stun.example.com"
        if kind == "stun"
        else "write it as turn:turn.example.com:3478?transport=udp"
    )
    if "@" in text:
        raise ConfigError(
            "a user or a password does not belong in this address", hint="see turn_username and turn_credentials"
        )
    if found is None or not found["scheme"].startswith(kind) or not 0 < int(found["port"] or 1) <= 65535:
        raise ConfigError(f"“{text}” is no {kind.upper()} server", hint=hint)
    secure = found["scheme"] == "turns"
    transport: Literal["udp", "tcp"] = "tcp" if secure else "udp"
    if found["query"]:
        wanted = found["query"].lower().removeprefix("?transport=")
        if kind == "stun" or wanted not in ("udp", "tcp"):
            raise ConfigError(f"“{text}”: the transport is udp or tcp, and of TURN only", hint=hint)
        if secure and wanted == "udp":
            raise ConfigError(
                f"“{text}”: TURN over DTLS is not known here", hint="turns is TLS over TCP: leave ?transport out"
            )
        transport = "tcp" if wanted == "tcp" else "udp"
    port = int(found["port"]) if found["port"] else 5349 if secure else 3478
    return IceServer("turns" if secure else kind, found["host"].strip("[]"), port, transport)
