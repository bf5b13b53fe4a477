"""Servers, proxies and whoever is called say what they like, in any order: what leaves goes where it was asked for."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.credentials import BearerCredentials, Secret
from sipcli.sip.auth import GiveUp, Pending
from sipcli.sip.authn.origin import Origin
from tests.support.authkit import HOME, HOME_TLS, STRANGER, Rig, asks, digest, final, password

BESIDE = Origin("192.0.2.2", 5060, "udp", None, bound=True)
INSIDE = HOME_TLS._replace(relays=True)
UNPROVEN = Origin("192.0.2.1", 5061, "tls", None, bound=True)
PLACES = (HOME, HOME_TLS, HOME_TLS, INSIDE, BESIDE, UNPROVEN, STRANGER)
METHODS = ("REGISTER", "INVITE", "INVITE", "BYE", "MESSAGE")
SECRETS = ("one", "two")

ASKED = st.tuples(
    st.sampled_from(["a", "a", "b"]),
    st.sampled_from(["digest", "digest", "bearer"]),
    st.booleans(),
    st.booleans(),
)
"""A realm, a scheme, whether it is called stale, and whether it is a proxy that asks."""
STEP = st.one_of(
    st.tuples(st.just("asks"), st.lists(ASKED, min_size=1, max_size=3)),
    st.tuples(st.just("asks"), st.lists(ASKED, min_size=1, max_size=3)),
    st.tuples(st.just("moves"), st.sampled_from(PLACES)),
    st.tuples(st.just("rings")),
    st.tuples(st.just("waits"), st.sampled_from([1.0, 30.0, 90.0])),
    st.tuples(st.just("ends"), st.sampled_from([200, 200, 302, 403, 486, 503]), st.booleans()),
    st.tuples(st.just("begins"), st.sampled_from(METHODS), st.sampled_from(PLACES)),
    st.tuples(st.just("wipes"), st.sampled_from(SECRETS)),
)


class World:
    """One session, the exchange that is under way, and all that was ever asked by whom."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.secrets = {text: password(text) for text in SECRETS}
        self.token = BearerCredentials(Secret("t0ken"))
        self.rig = Rig(
            *self.secrets.values(), self.token, asynchronous=asynchronous, proxy_realms=frozenset("a"), max_stale=9
        )
        self.asked: dict[str, Origin] = {}
        self.numbers = count(1)
        self.begins("REGISTER", HOME_TLS)

    def begins(self, method: str, origin: Origin) -> None:
        self.over = False
        self.exchange = self.rig.exchange(method, f"sip:{method.lower()}@example.com", origin=origin, call_id="one")
        self.reads(0)

    def asks(self, asked: list[tuple[str, str, bool, bool]]) -> None:
        doors: dict[bool, list[str]] = {False: [], True: []}
        for realm, scheme, stale, proxy in asked:
            nonce = f"n{next(self.numbers)}"
            self.asked[nonce] = self.exchange.origin
            if scheme == "digest":
                doors[proxy].append(digest(realm, nonce, algorithm="SHA-256", stale=str(stale)))
            else:
                doors[proxy].append(f'Bearer realm="{realm}", authz_server="https://as.example.com"')
        before = len(self.exchange.sent)
        outcome = self.exchange.receive(asks(*doors[False], proxy=doors[True]))
        if isinstance(outcome, Pending):
            self.rig.session.decline(outcome.token)
        self.over = isinstance(outcome, GiveUp) or self.exchange.why is not None
        self.reads(before)

    def ends(self, status: int, proven: bool) -> None:
        nonce = f"n{next(self.numbers)}"
        if self.exchange.method == "REGISTER":
            self.asked[nonce] = self.exchange.origin
        info = f'nextnonce="{nonce}"' + (', rspauth="00"' if proven else "")
        headers = [(name, info) for name in ("Authentication-Info", "Proxy-Authentication-Info")]
        session = self.rig.session
        (session.refused if status == 403 else session.accepted)(self.exchange, final(status, *headers))
        self.over = True

    def reads(self, since: int) -> None:
        """What left since then: whom it went to, and who had asked for it."""
        exchange, origin = self.exchange, self.exchange.origin
        for index in range(since, len(exchange.sent)):
            carried = exchange.carried(index)
            assert origin.bound or not carried
            doors = [(sent["header"], sent.get("realm")) for sent in carried if sent["scheme"] == "digest"]
            assert len(doors) == len(set(doors)), "one answer for each realm and door"
            for sent in carried:
                if sent["scheme"] == "bearer":
                    assert origin.secure
                    assert exchange.method == "REGISTER" or sent["header"] == "Proxy-Authorization"
                else:
                    assert self.asked[sent["nonce"]].server == origin.server, "a nonce goes back to who gave it"
        for state in exchange.realms.values():
            gone = state.sent is not None and any(refused is state.credentials for refused in state.rejected)
            assert not gone, "what was refused is not sent again"


@given(st.lists(STEP, max_size=16), st.booleans())
@settings(max_examples=200, deadline=None)
def test_T01_T09_T28_whatever_is_said_in_any_order_answers_go_where_they_were_asked_for(
    steps: list[Any], asynchronous: bool
) -> None:
    """No answer to a stranger; no token that would go on; no nonce for another server than its own, nor of a callee."""
    world = World(asynchronous=asynchronous)
    for step in steps:
        match step:
            case ("asks", asked) if not world.over:
                world.asks(asked)
            case ("moves", origin) if (
                not world.over
            ):  # the next server of a fail-over, or a dialog that leads elsewhere
                world.exchange.origin = origin
            case ("rings",) if not world.over:
                world.rig.session.passed(world.exchange)
            case ("waits", seconds):
                world.rig.now += seconds
            case ("ends", status, proven) if not world.over:
                world.ends(status, proven)
            case ("begins", method, origin):
                world.begins(method, origin)
            case ("wipes", text):
                world.secrets[text].secret.wipe()
