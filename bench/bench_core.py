"""One deferred registration through the core alone, REGISTER to 200, and what it leaves to the collector."""

from __future__ import annotations

import gc
import json
import re
import time

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip.auth import AuthChallenged, AuthSession, ChallengeToken
from sipcli.sip.engine import AccountProfile, Engine
from sipcli.sip.events import FlowWanted
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.uri import SipUri

FLOW = Flow(1, "udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))
REGISTRAR = SipUri.parse("sip:127.0.0.1:5070")
CHALLENGE = b'WWW-Authenticate: Digest realm="bench", nonce="%016x", algorithm=MD5, qop="auth"\r\n'
FIELD = re.compile(rb"^(Via|From|To|Call-ID|CSeq|Contact): (.*?)\r$", re.MULTILINE)
ACCOUNTS, ROUNDS = 300, 15


def answer(request: bytes, status: bytes, more: bytes = b"") -> bytes:
    found = dict(FIELD.findall(request))
    contact = b"" if more else b"Contact: %b\r\n" % found[b"Contact"]
    return (
        b"SIP/2.0 %b\r\nVia: %b;received=127.0.0.1\r\nFrom: %b\r\nTo: %b;tag=r\r\nCall-ID: %b\r\nCSeq: %b\r\n%b%b"
        b"Content-Length: 0\r\n\r\n"
    ) % (status, *(found[name] for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")), more, contact)


class Rig:
    """An engine, a stopwatch that runs only while the engine does, and a registrar in a few lines."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.spent = 0.0

    def register(self, number: int) -> None:
        engine, name, clock = self.engine, f"a{number}", time.perf_counter
        began = clock()
        engine.now = number * 0.0005
        session = AuthSession(asynchronous=True)
        aor = SipUri.parse(f"sip:{name}@127.0.0.1:5070")
        profile = AccountProfile(name=name, aor=aor, registrar=REGISTRAR, contact_user=name)
        engine.add_account(profile, session)
        engine.register(name)
        self.pump()
        request = self.sent()
        self.spent += clock() - began
        unauthorized = answer(request, b"401 Unauthorized", CHALLENGE % number)
        began = clock()
        engine.receive(unauthorized, FLOW, engine.now)
        token = self.pump()
        assert token is not None
        plan = session.reinit_request(token, (PasswordCredentials(name, Secret("secret123")),))
        assert plan is not None
        session.send_request(token, plan)
        self.pump()
        request = self.sent()
        self.spent += clock() - began
        ok = answer(request, b"200 OK")
        began = clock()
        engine.receive(ok, FLOW, engine.now)
        self.pump()
        self.spent += clock() - began

    def pump(self) -> ChallengeToken | None:
        """Hand out events; the token of a challenge, if there was one."""
        token = None
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, FlowWanted):
                self.engine.flow_ready(event.ticket, FLOW, self.engine.now)
            elif isinstance(event, AuthChallenged):
                token = event.token
        self.engine.next_timer()
        return token

    def sent(self) -> bytes:
        ((_, data),) = self.engine.packets_to_send()
        return data


def main() -> None:
    times = []
    for _ in range(ROUNDS):
        rig = Rig()
        for number in range(ACCOUNTS):
            rig.register(number)
        times.append(rig.spent / ACCOUNTS * 1e6)
    emit("deferred registration, core alone", round(min(times), 1), "us")
    del rig
    gc.collect()
    gc.disable()
    rig, before = Rig(), len(gc.get_objects())
    for number in range(ACCOUNTS):
        rig.register(number)
    emit(
        "objects that the collector tracks per registration", round((len(gc.get_objects()) - before) / ACCOUNTS, 1), ""
    )
    emit("of these garbage that only the collector frees", round(gc.collect() / ACCOUNTS, 1), "")


def emit(name: str, value: float, unit: str) -> None:
    print(json.dumps({"name": name, "value": value, "unit": unit, "target": ""}))


if __name__ == "__main__":
    main()
