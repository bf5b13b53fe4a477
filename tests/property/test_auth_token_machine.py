"""Any order of verbs, refusals, hang-ups and deadlines: a token is spent once, a refused secret is never sent again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sipcli.errors import TokenSpent
from sipcli.sip.auth import AuthSettled, ChallengeToken, GiveUp, Pending
from tests.support.authkit import HOME, STRANGER, FakeExchange, Rig, asks, digest, final, password, proves

SECRETS = ("one", "two", "three")
REALMS = ("A", "B")


class TokenMachine(RuleBasedStateMachine):
    """Exchanges of one session, a server that asks whatever it likes, and people who answer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(password("one"), asynchronous=True, token_ceiling=60.0, md5_over_udp="allow")
        self.issued: list[ChallengeToken] = []
        self.nonces = 0
        self.refused: dict[FakeExchange, dict[tuple[str, str], int]] = {}
        self.open: list[FakeExchange] = []

    @rule(method=st.sampled_from(["REGISTER", "INVITE", "BYE"]))
    @precondition(lambda self: len(self.open) < 3)
    def start(self, method: str) -> None:
        self.open.append(self.rig.exchange(method, f"sip:{method.lower()}.example"))

    def waiting(self, exchange: FakeExchange) -> bool:
        return any(token.exchange is exchange for token in self.rig.session.pending)

    @rule(
        pick=st.integers(0, 2),
        realms=st.sampled_from([["A"], ["B"], ["A", "B"]]),
        stale=st.sampled_from([False, False, True]),
        proxy=st.sampled_from([False, False, True]),
        bound=st.sampled_from([True] * 7 + [False]),
    )
    @precondition(lambda self: self.open)
    def challenged(self, pick: int, realms: list[str], stale: bool, proxy: bool, bound: bool) -> None:
        exchange = self.open[pick % len(self.open)]
        if self.waiting(exchange):
            return
        self.nonces += 1
        values = [digest(realm, f"n{self.nonces}", stale=str(stale)) for realm in realms]
        before = len(exchange.sent)
        self._note_refusals(exchange, realms, stale and bound, proxy)
        exchange.origin = HOME if bound else STRANGER
        outcome = exchange.receive(asks(proxy=values) if proxy else asks(*values))
        if isinstance(outcome, Pending):
            assert bound
            assert len(exchange.sent) == before, "nothing leaves while somebody decides"
            self.issued.append(outcome.token)
        if isinstance(outcome, GiveUp):
            assert len(exchange.sent) == before
            self.open.remove(exchange)

    def _note_refusals(self, exchange: FakeExchange, realms: list[str], stale: bool, proxy: bool) -> None:
        """By the letter of RFC 3261 22.1: a quick answer to a fresh nonce came back unheard, so it is wrong."""
        header = "Proxy-Authorization" if proxy else "Authorization"
        for sent in exchange.carried():
            late = any(
                state.sent is not None
                and (state.sent.preemptive or state.spared or state.sent.at - state.arrived_at > 20)
                for state in exchange.realms.values()
                if state.realm == sent["realm"]
            )
            if sent["realm"] in realms and sent["header"] == header and not stale and not late:
                for secret in SECRETS:
                    if proves(sent, secret, method=exchange.method):
                        self.refused.setdefault(exchange, {})[sent["realm"] + header, secret] = len(exchange.sent)

    def _verb(self, pick: int, verb: Any) -> None:
        """On one of the last three tokens: live or spent, as it comes."""
        token = self.issued[-1 - pick % min(3, len(self.issued))]
        exchange = token.exchange
        assert isinstance(exchange, FakeExchange)
        live, before = token.live, (len(exchange.sent), exchange.why)
        if live:
            verb(token)
            assert not token.live
            assert (len(exchange.sent), exchange.why) != before
        else:
            with pytest.raises(TokenSpent):
                verb(token)
            assert (len(exchange.sent), exchange.why) == before
        self.open = [exchange for exchange in self.open if exchange.why is None]

    @rule(pick=st.integers(0, 2), secret=st.sampled_from(SECRETS))
    @precondition(lambda self: self.issued)
    def respond(self, pick: int, secret: str) -> None:
        session = self.rig.session

        def send(token: ChallengeToken) -> None:
            plan = session.reinit_request(token, [password(secret)])
            if plan is None:
                session.abandon(token, GiveUp.REFUSED)
            else:
                session.send_request(token, plan)

        self._verb(pick, send)

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: self.issued)
    def abandon(self, pick: int) -> None:
        self._verb(pick, self.rig.session.abandon)

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: self.issued)
    def decline(self, pick: int) -> None:
        self._verb(pick, self.rig.session.decline)

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: self.open)
    def hang_up(self, pick: int) -> None:
        exchange = self.open.pop(pick % len(self.open))
        before = (len(exchange.sent), exchange.why)
        self.rig.session.revoke(exchange)
        assert (len(exchange.sent), exchange.why) == before

    @rule(pick=st.integers(0, 2), status=st.sampled_from([200, 403, 486, 503]))
    @precondition(lambda self: self.open)
    def final(self, pick: int, status: int) -> None:
        exchange = self.open[pick % len(self.open)]
        if not self.waiting(exchange):
            verdict = self.rig.session.refused if status == 403 else self.rig.session.accepted
            verdict(exchange, final(status))
            self.open.remove(exchange)

    @rule(seconds=st.sampled_from([1.0, 25.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.now += seconds
        self.rig.session.expire(self.rig.now)
        self.open = [exchange for exchange in self.open if exchange.why is None]

    @invariant()
    def pending_is_what_lives(self) -> None:
        assert list(self.rig.session.pending) == [t for t in self.issued if t.live]
        assert all(t.expires_at > self.rig.now for t in self.rig.session.pending)

    @invariant()
    def every_spent_token_was_settled_once(self) -> None:
        settled = [event.token for event in self.rig.events if isinstance(event, AuthSettled)]
        assert sorted(t.id for t in settled) == sorted(t.id for t in self.issued if not t.live)

    @invariant()
    def a_refused_secret_is_never_sent_again(self) -> None:
        for exchange, refused in self.refused.items():
            for (door, secret), since in refused.items():
                for index in range(since, len(exchange.sent)):
                    for sent in exchange.carried(index):
                        if sent["realm"] + sent["header"] == door:
                            assert not proves(sent, secret, method=exchange.method)

    @invariant()
    def a_count_belongs_to_one_request(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for token in self.issued:
            assert isinstance(token.exchange, FakeExchange)
            for index in range(len(token.exchange.sent)):
                for sent in token.exchange.carried(index):
                    key = (sent["nonce"], sent["nc"])
                    assert seen.setdefault(key, sent["cnonce"]) == sent["cnonce"]


TestTokenMachine = TokenMachine.TestCase
TestTokenMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
