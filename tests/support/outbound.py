"""An account that keeps its flow (RFC 5626): its wire, its registrar, its pings."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from sipcli.sip import events
from sipcli.sip.registrations.register import State
from tests.support.pair import Heard, Wire, response

INSTANCE = "urn:uuid:6f1c1c1e-0c1e-5e1f-8f1e-6f1c1c1e0c1e"
PING, PONG = b"\r\n\r\n", b"\r\n"
FIRMLY = ("Require: outbound",)


def wire(transport: Any = "tcp", **profile: Any) -> Wire:
    return Wire(transport, profile={"instance": INSTANCE, **profile})


def ok(request: Heard, *lines: str, expires: int = 3600, more: str = "") -> bytes:
    contact = request.header("contact").partition(";expires")[0]
    return response(request, 200, "OK", f"Contact: {contact};expires={expires}{more}", *lines)


def bound(here: Wire, *lines: str, expires: int = 3600, more: str = "") -> Any:
    registration = here.do(lambda: here.engine.register("work", expires=expires))
    here.deliver(ok(here.one(), *lines, expires=expires, more=more))
    assert registration.state is State.BOUND
    return registration


def mapped(ping: bytes, host: str = "198.51.100.7", port: int = 40000) -> bytes:
    """A STUN server's answer, by hand (RFC 8489 section 14.2)."""
    cookie = bytes.fromhex("2112a442")
    address = bytes(a ^ b for a, b in zip(map(int, host.split(".")), cookie, strict=True))
    value = b"\0\1" + (port ^ 0x2112).to_bytes(2) + address
    head = struct.pack("!HH4s12sHH", 0x0101, 20, cookie, ping[8:20], 0x0020, 8) + value
    return head + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head) ^ 0x5354554E)


def ask(here: Wire) -> None:
    """Until the next question of a keep-alive."""
    asked = len(here.pings)
    while len(here.pings) == asked:
        when = here.engine.next_timer()
        assert when is not None
        here.run(when - here.clock)


def states(here: Wire) -> list[str]:
    return [event.state for event in here.told(events.RegistrationChanged)]
