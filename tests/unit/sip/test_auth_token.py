"""Tokens: the right to decide a challenge, used once, by respond, abandon, decline, revoke or the ceiling."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from sipcli.errors import ChallengeGone, LocalProtocolError, TokenSpent
from sipcli.sip.auth import (
    AuthChallenged,
    AuthRejected,
    AuthSession,
    AuthSettled,
    ChallengeToken,
    GiveUp,
    Pending,
)
from tests.support.authkit import HOME_TLS, Rig, asks, digest, password, proves

GOOD, BAD = "wonderland", "looking-glass"


def rig(*secrets: str, **policy: object) -> Rig:
    return Rig(*(password(secret) for secret in secrets), asynchronous=True, **policy)


def test_a_challenge_becomes_a_token_and_an_event_and_nothing_is_sent() -> None:
    r = rig(GOOD)
    exchange, token = r.pending("Fancy x=1", digest(algorithm="SHA-256"), digest(), method="INVITE")
    assert r.session.pending == (token,)
    assert r.events == [AuthChallenged(r.session, token)]
    assert r.heard(AuthChallenged)[0].account == "work"
    assert len(exchange.sent) == 1
    assert (token.exchange, token.request, token.response.status) == (exchange, exchange.sent[0], 401)
    assert [(c.realm, c.algorithm) for c in token.challenges] == [("example.com", "SHA-256")]
    assert [(s.scheme, s.why) for s in token.skipped] == [("fancy", "unknown scheme")]
    state = token.realms["example.com"]
    assert (state.attempt, state.rejected, state.credentials, state.sent_at) == (1, (), None, None)
    assert (state.challenge, state.arrived_at) == (token.challenges[0], 1000.0)
    assert [c.algorithm for c in state.offers] == ["SHA-256", "MD5"]
    assert (token.cause, token.live, token.expires_at) == ("fresh", True, 1180.0)


def test_ids_are_unique_among_sessions() -> None:
    ids = {rig().pending(digest())[1].id for _ in range(10)}
    assert len(ids) == 10
    assert all(name.startswith("c") for name in ids)


def test_respond_with_given_credentials() -> None:
    r = rig()
    exchange, token = r.pending(digest(algorithm="SHA-256"))
    assert r.session.reinit_request(token) is None
    credentials = password(GOOD)
    plan = r.session.reinit_request(token, [credentials])
    assert plan is not None
    assert plan.used == (("example.com", credentials),)
    r.session.send_request(token, plan)
    assert proves(exchange.answer(), GOOD)
    assert (r.session.pending, token.live) == ((), False)
    assert r.heard(AuthSettled) == [AuthSettled(r.session, token, "answered", "fresh", "digest", "SHA-256")]
    state = exchange.realms["example.com"]
    assert (state.credentials, state.sent_at) == (credentials, 1000.0)


def test_reinit_request_changes_nothing() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    for _ in range(3):
        assert r.session.reinit_request(token) is not None
    assert (token.live, len(exchange.sent), exchange.realms["example.com"].proof) == (True, 1, None)
    assert len(r.events) == 1


def test_A03_nonce_count_and_cnonce_are_taken_when_the_request_leaves() -> None:
    """Another request used the nonce while the answer was planned."""
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    plan = r.session.reinit_request(token)
    assert plan is not None
    other, other_token = r.pending(digest())
    r.session.decline(other_token)
    r.session.send_request(token, plan)
    assert (other.answer()["nc"], exchange.answer()["nc"]) == ("00000001", "00000002")


def test_abandon() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    r.session.abandon(token)
    assert (exchange.why, len(exchange.sent)) == (GiveUp.ABANDONED, 1)
    assert [e.outcome for e in r.heard(AuthSettled)] == ["abandoned"]


@pytest.mark.parametrize(("why", "outcome"), [(GiveUp.LOST, "abandoned"), (GiveUp.DEADLINE, "expired")])
def test_abandon_passes_its_reason_on(why: GiveUp, outcome: str) -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    r.session.abandon(token, why)
    assert exchange.why is why
    assert [e.outcome for e in r.heard(AuthSettled)] == [outcome]


def test_decline_answers_with_the_accounts_own() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    r.session.decline(token)
    assert proves(exchange.answer(), GOOD)
    assert [e.outcome for e in r.heard(AuthSettled)] == ["declined"]


def test_decline_without_credentials_gives_up() -> None:
    r = rig()
    exchange, token = r.pending(digest())
    r.session.decline(token)
    assert exchange.why is GiveUp.NO_CREDENTIALS


def test_decline_does_not_send_a_refused_secret_again() -> None:
    r = rig(BAD)
    exchange, token = r.pending(digest())
    r.session.decline(token)
    outcome = exchange.receive(asks(digest(nonce="n2")))
    assert isinstance(outcome, Pending)
    assert outcome.token.cause == "refused"
    r.session.decline(outcome.token)
    assert (exchange.why, len(exchange.sent)) == (GiveUp.REFUSED, 2)


VERBS: list[Callable[[AuthSession, ChallengeToken], object]] = [
    lambda s, t: s.send_request(t, s.reinit_request(t)),  # type: ignore[arg-type]
    lambda s, t: s.abandon(t),
    lambda s, t: s.decline(t),
]


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("second", range(3))
def test_A27_the_second_verb_is_a_typed_error_and_does_nothing(first: int, second: int) -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    VERBS[first](r.session, token)
    before = (len(exchange.sent), exchange.why, len(r.events))
    with pytest.raises(TokenSpent, match=("answered", "abandoned", "declined")[first]) as caught:
        VERBS[second](r.session, token)
    assert isinstance(caught.value, ChallengeGone)
    assert caught.value.state == token.outcome
    assert (len(exchange.sent), exchange.why, len(r.events)) == before


@pytest.mark.parametrize("verb", range(3))
def test_A19_after_a_revoke_nothing_goes_out(verb: int) -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest(), method="INVITE")
    r.session.revoke(exchange)
    assert [e.outcome for e in r.heard(AuthSettled)] == ["revoked"]
    with pytest.raises(TokenSpent, match="revoked"):
        VERBS[verb](r.session, token)
    assert (len(exchange.sent), exchange.why) == (1, None), "the owner revoked: it needs no telling"


def test_revoke_is_idempotent_and_knows_whose_token_it_is() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    _, other_token = r.pending(digest())
    r.session.revoke(exchange)
    r.session.revoke(exchange)
    assert (token.live, other_token.live, r.session.pending) == (False, True, (other_token,))
    assert len(r.heard(AuthSettled)) == 1


def test_a_plan_serves_its_own_token_only() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    _, other = r.pending(digest())
    plan = r.session.reinit_request(other)
    assert plan is not None
    with pytest.raises(LocalProtocolError):
        r.session.send_request(token, plan)
    assert (token.live, len(exchange.sent)) == (True, 1), "a mistake burns nothing"


def test_the_ceiling_ends_a_forgotten_token() -> None:
    r = rig(GOOD, token_ceiling=30.0)
    exchange, token = r.pending(digest())
    r.now += 10
    late, _ = r.pending(digest())
    assert r.session.next_deadline() == 1030.0
    r.session.expire(1029.9)
    assert r.session.pending[0] is token
    r.session.expire(1030.0)
    assert (exchange.why, late.why, r.session.next_deadline()) == (GiveUp.DEADLINE, None, 1040.0)
    assert [e.outcome for e in r.heard(AuthSettled)] == ["expired"]
    with pytest.raises(TokenSpent):
        r.session.decline(token)
    r.session.expire(2000.0)
    assert r.session.next_deadline() is None


def test_a_ceiling_that_ends_one_exchange_may_end_another() -> None:
    """An owner told of the deadline closes its other requests at once."""
    r = rig(GOOD, token_ceiling=30.0)
    first, _ = r.pending(digest())
    second, _ = r.pending(digest())
    first.give_up = lambda why: r.session.revoke(second)  # type: ignore[method-assign]
    r.session.expire(r.now + 30)
    assert [e.outcome for e in r.heard(AuthSettled)] == ["expired", "revoked"]
    assert second.why is None


def test_close_abandons_what_is_pending_and_wipes_what_is_known() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    r.session.decline(token)
    r.session.accepted(exchange, asks(status=200))
    waiting, _ = r.pending(digest(nonce="n2"), uri="sip:elsewhere.example")
    (credentials,) = r.session.credentials
    r.session.close()
    assert waiting.why is GiveUp.ABANDONED
    assert (bool(credentials.secret), r.session.credentials, r.session.pending) == (False, (), ())
    assert r.exchange().carried() == []


def test_close_survives_owners_that_close_each_other() -> None:
    r = rig(GOOD)
    first, _ = r.pending(digest())
    second, _ = r.pending(digest())
    first.give_up = lambda why: r.session.revoke(second)  # type: ignore[method-assign]
    r.session.close()
    assert r.session.pending == ()


def test_a_secret_wiped_while_its_request_waits_is_not_sent() -> None:
    r = rig()
    exchange, token = r.pending(digest())
    credentials = password(GOOD)
    plan = r.session.reinit_request(token, [credentials])
    assert plan is not None
    credentials.secret.wipe()
    r.session.send_request(token, plan)
    assert exchange.carried() == []


def test_a_second_challenge_replaces_a_pending_one() -> None:
    r = rig(GOOD)
    exchange, token = r.pending(digest())
    outcome = exchange.receive(asks(digest(nonce="n2")))
    assert isinstance(outcome, Pending)
    assert (token.live, r.session.pending) == (False, (outcome.token,))


def test_A04_the_second_question_says_what_became_of_the_first_answer() -> None:
    r = rig()
    exchange, token = r.pending(digest())
    wrong = password(BAD)
    plan = r.session.reinit_request(token, [wrong])
    assert plan is not None
    r.session.send_request(token, plan)
    outcome = exchange.receive(asks(digest(nonce="n2")))
    assert isinstance(outcome, Pending)
    state = outcome.token.realms["example.com"]
    assert (state.attempt, outcome.token.cause) == (2, "refused")
    assert state.rejected[0] is wrong
    # Told first, asked second: whoever keeps a cache can drop the secret before it is asked for another.
    assert [type(e) for e in r.events[-2:]] == [AuthRejected, AuthChallenged]


def test_why_there_is_no_plan() -> None:
    r = rig()
    exchange, token = r.pending(digest())
    wrong = password(BAD)
    assert r.session.why_no_plan(token) is GiveUp.NO_CREDENTIALS
    assert r.session.why_no_plan(token, [wrong]) is None
    plan = r.session.reinit_request(token, [wrong])
    assert plan is not None
    r.session.send_request(token, plan)
    outcome = exchange.receive(asks(digest(nonce="n2")))
    assert isinstance(outcome, Pending)
    assert r.session.reinit_request(outcome.token, [password(BAD)]) is None
    assert r.session.why_no_plan(outcome.token, [password(BAD)]) is GiveUp.REFUSED


def test_A07_a_token_asks_for_the_realms_that_are_open() -> None:
    """A is stale and its secret is known; B is new: one question, one retry for both."""
    r = Rig(password("a", realm="A"), asynchronous=True)
    exchange, token = r.pending(digest("A"))
    r.session.decline(token)
    outcome = exchange.receive(asks(digest("A", nonce="a2", stale="true"), digest("B", nonce="b1")))
    assert isinstance(outcome, Pending)
    assert [c.realm for c in outcome.token.challenges] == ["B"]
    plan = r.session.reinit_request(outcome.token, [password("b", realm="B")])
    assert plan is not None
    r.session.send_request(outcome.token, plan)
    assert {c["realm"]: c["nonce"] for c in exchange.carried()} == {"A": "a2", "B": "b1"}


def test_A07_all_lookups_settle_before_one_retry() -> None:
    r = rig()
    exchange, token = r.pending(digest("A"), digest("B"))
    assert [c.realm for c in token.challenges] == ["A", "B"]
    a, b = password("a", realm="A"), password("b", realm="B")
    assert r.session.reinit_request(token, [a]) is None
    plan = r.session.reinit_request(token, [b, a])
    assert plan is not None
    assert plan.used == (("A", a), ("B", b))
    r.session.send_request(token, plan)
    assert len(exchange.carried()) == 2
    assert len(exchange.sent) == 2


def test_A07_one_realm_at_both_doors_is_one_question() -> None:
    r = rig(GOOD)
    exchange = r.exchange("INVITE")
    outcome = exchange.receive(asks(digest(), proxy=[digest(nonce="n2")]))
    assert isinstance(outcome, Pending)
    assert (len(outcome.token.challenges), len(outcome.token.doors)) == (1, 2)
    r.session.decline(outcome.token)
    assert [c["header"] for c in exchange.carried()] == ["Authorization", "Proxy-Authorization"]


def test_tear_down_asks_with_interactive_off() -> None:
    r = rig(GOOD)
    exchange = r.exchange("BYE")
    exchange.interactive = False
    outcome = exchange.receive(asks(proxy=[digest()]))
    assert isinstance(outcome, Pending)
    assert not outcome.token.exchange.interactive


def test_T04_a_thousand_challenges_hold_no_memory_once_decided() -> None:
    r = rig(GOOD)
    seen = []
    for n in range(1000):
        exchange, token = r.pending(digest(nonce=f"n{n}"), origin=HOME_TLS)
        r.session.abandon(token)
        seen.append(weakref.ref(token))
        r.events.clear()
    del exchange, token
    gc.collect()
    assert not any(ref() for ref in seen)


def test_secrets_show_in_no_repr() -> None:
    r = rig("canary-secret")
    exchange, token = r.pending(digest(algorithm="SHA-256-sess"))
    plan = r.session.reinit_request(token)
    assert plan is not None
    r.session.send_request(token, plan)
    ha1 = exchange.realms["example.com"].proof._ha1  # type: ignore[union-attr]
    assert ha1 is not None
    shown = repr((token, plan, r.events, exchange.realms, ha1))
    assert "canary" not in shown
    assert ha1.reveal().decode() not in shown
