"""Whatever servers ask, and at either door: no realm gets two algorithms side by side, nor a weaker one later (T05)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.credentials import Credentials, Ha1Credentials, Secret
from sipcli.sip.auth import GiveUp, Pending
from tests.support.authkit import HOME_TLS, FakeExchange, Rig, asks, digest, final, password
from tests.support.signkit import key, signed

STRENGTH = {"MD5": 1, "SHA-256": 2, "SHA-512-256": 3}
Asked = tuple[str, bool, bool, str]
"""An algorithm, whether it comes with a qop and is called stale, and the realm."""

ASKED = st.tuples(
    st.sampled_from(["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256"]),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.sampled_from(["a", "a", "a", "b"]),
)
DOOR = st.lists(ASKED, max_size=3)
WAYS = st.sampled_from(["own", "password", "ha1", "key", "mixed"])
STEP = st.one_of(
    st.tuples(st.just("asks"), DOOR, DOOR, WAYS),
    st.tuples(st.just("asks"), DOOR, DOOR, WAYS),
    st.tuples(st.just("asks"), DOOR, DOOR, WAYS),
    st.tuples(st.just("accepts")),
    st.tuples(st.just("begins"), st.sampled_from(["sip:a", "sip:b"]), st.booleans()),
    st.tuples(st.just("begins"), st.sampled_from(["sip:a", "sip:b"]), st.booleans()),
)


def ha1(algorithm: str, realm: str) -> Ha1Credentials:
    return Ha1Credentials("alice", realm, algorithm, Secret("1" * (32 if algorithm == "MD5" else 64)))


HA1 = [(algorithm, realm) for algorithm in STRENGTH for realm in "ab"]


def answer(rig: Rig, token: Any, way: str) -> None:
    """As a hook would, by whichever means; what cannot be answered is declined, so that our own secret may."""
    session = rig.session
    given: list[Credentials] = [password("y")] if way == "password" else []
    if way in ("ha1", "mixed"):
        given += [ha1(algorithm, realm) for algorithm, realm in HA1]
    if way in ("key", "mixed"):
        for algorithms in (("MD5",), ("SHA-256", "MD5"), tuple(STRENGTH)):
            name = key(algorithms=algorithms, ref=way + algorithms[0])
            given += [signed(name, inputs) for inputs in session.digest_inputs(token, name)]
    plan = session.reinit_request(token, given) if given else None
    if plan is None:
        session.decline(token)
    else:
        session.send_request(token, plan)


class Witness:
    """Reads what every request of one exchange carried."""

    def __init__(self, accepted: dict[str, tuple[int, bool]]) -> None:
        self.accepted = accepted
        self.floor: dict[str, tuple[int, bool]] = {}

    def reads(self, exchange: FakeExchange, since: int) -> None:
        for index in range(since, len(exchange.sent)):
            seen: dict[str, set[tuple[int, bool]]] = {}
            for sent in exchange.carried(index):
                rank = STRENGTH[sent.get("algorithm", "MD5").removesuffix("-sess")], "qop" in sent
                seen.setdefault(sent["realm"], set()).add(rank)
            for realm, ranks in seen.items():
                assert len(ranks) == 1, f"{realm} got {ranks} in one request"
                (rank,) = ranks
                for least in (self.floor.get(realm), self.accepted.get(realm)):
                    assert least is None or (rank[0] >= least[0] and rank[1] >= least[1]), (realm, rank, least)
                self.floor[realm] = rank

    def accepts(self, exchange: FakeExchange) -> None:
        for sent in exchange.carried():
            realm = sent["realm"]
            strength, qop = self.accepted.get(realm, (0, False))
            rank = STRENGTH[sent.get("algorithm", "MD5").removesuffix("-sess")], "qop" in sent
            self.accepted[realm] = max(strength, rank[0]), qop or rank[1]


@given(st.lists(STEP, max_size=14), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_T05_T06_no_realm_gets_two_algorithms_side_by_side_nor_a_weaker_one_later(
    steps: list[Any], asynchronous: bool, hashed: bool
) -> None:
    own: list[Credentials] = [ha1(algorithm, realm) for algorithm, realm in HA1] if hashed else [password("x")]
    rig = Rig(*own, asynchronous=asynchronous, realm_change="allow", max_stale=9, max_attempts=9)
    first = rig.session
    witness = Witness({})
    exchange, over = rig.exchange("OPTIONS", "sip:a", origin=HOME_TLS), False
    nonces = iter(range(1000))

    def values(door: list[Asked]) -> list[str]:
        return [
            digest(realm, f"n{next(nonces)}", qop="auth" if qop else None, algorithm=name, stale=str(stale))
            for name, qop, stale, realm in door
        ]

    for step in steps:
        before = len(exchange.sent)
        if step[0] == "asks" and not over:
            outcome = exchange.receive(asks(*values(step[1]), proxy=values(step[2])))
            if isinstance(outcome, Pending):
                answer(rig, outcome.token, step[3])
            over = isinstance(outcome, GiveUp) or exchange.why is not None
            witness.reads(exchange, before)
        elif step[0] == "accepts" and not over:
            rig.session.accepted(exchange, final(200))
            witness.accepts(exchange)
            over = True
        elif step[0] == "begins":
            rig.session = first.private() if step[2] else first
            exchange, over = rig.exchange("OPTIONS", step[1], origin=HOME_TLS), False
            witness = Witness(witness.accepted)
            witness.reads(exchange, 0)
