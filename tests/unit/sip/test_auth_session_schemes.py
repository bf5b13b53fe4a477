"""What a session answers with, beside passwords: bearer tokens, keys, and other forms of secrets."""

from __future__ import annotations

import pytest

from sipcli.credentials import BearerCredentials, Ha1Credentials, Secret
from sipcli.errors import LocalProtocolError
from sipcli.sip.auth import (
    AuthAccepted,
    AuthRejected,
    AuthSession,
    AuthUnanswerable,
    GiveUp,
    Pending,
)
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.proof import NonceCounter, Proof, Sent
from tests.support.authkit import HOME, HOME_TLS, STRANGER, Rig, asks, digest, final, password, proves

GOOD, BAD = "wonderland", "looking-glass"
OTHERS = (
    *("REGISTER", "INVITE", "BYE", "UPDATE", "PRACK", "INFO"),
    *("REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS"),
)
SHA = {"algorithm": "SHA-256"}


# -- bearer ------------------------------------------------------------------------------------------


BEARER = 'Bearer realm="example.com", authz_server="https://as.example.com"'


def token(text: str = "abc", **more: object) -> BearerCredentials:
    return BearerCredentials(Secret(text), **more)  # type: ignore[arg-type]


def test_A28_a_token_answers_bearer_over_verified_tls() -> None:
    rig = Rig(token())
    exchange = rig.exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER))
    assert exchange.request.get("Authorization") == "Bearer abc"
    rig.session.accepted(exchange, final(200, ("Authentication-Info", 'nextnonce="x", rspauth="00"')))
    assert len(rig.heard(AuthAccepted)) == 1
    assert rig.exchange(origin=HOME_TLS).request.get("Authorization") == "Bearer abc"


@pytest.mark.parametrize("origin", [HOME, Origin("192.0.2.1", 5061, "tls", None, bound=True)])
def test_A28_T10_no_token_without_verified_tls(origin: Origin) -> None:
    rig = Rig(token(), asynchronous=True)
    assert rig.exchange(origin=origin).receive(asks(BEARER)) is GiveUp.UNSUPPORTED
    [told] = rig.heard(AuthUnanswerable)
    assert rig.events == [told]
    assert "TLS" in told.skipped[0].why


def test_A28_T10_a_token_stays_home_when_the_retry_goes_in_the_clear() -> None:
    exchange = Rig(token()).exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER))
    exchange.origin = Origin("192.0.2.1", 5061, "tcp", "example.com", bound=True)
    exchange.send()
    assert exchange.request.find("Authorization") is None


def test_A28_a_refused_token_is_refreshed_once() -> None:
    rig = Rig(asynchronous=True)
    exchange, asked = rig.pending(BEARER, origin=HOME_TLS)
    for n in (1, 2):
        plan = rig.session.reinit_request(asked, [token(f"t{n}")])
        assert plan is not None
        rig.session.send_request(asked, plan)
        outcome = exchange.receive(asks(BEARER + ', error="invalid_token"'))
        if n == 1:
            assert isinstance(outcome, Pending)
            asked = outcome.token
            assert asked.challenges[0].error == "invalid_token"
    assert outcome is GiveUp.TOO_MANY_ATTEMPTS


@pytest.mark.parametrize("method", OTHERS)
def test_T09_no_token_goes_on_to_whoever_is_called(method: str) -> None:
    """He answers 401 and names our login server, which is no secret; our proxy hands him what we answer with.

    Digest instead of it may be answered.  Fails without the look at the method in ``_refusal``.
    """
    rig = Rig(token(), password(GOOD))
    exchange = rig.exchange(method, "sip:mallory@example.com", origin=HOME_TLS)
    outcome = exchange.receive(asks(BEARER))
    if method == "REGISTER":
        assert exchange.request.get("Authorization") == "Bearer abc"
        return
    assert outcome is GiveUp.FOREIGN_ORIGIN
    assert exchange.request.find("Authorization") is None
    exchange = rig.exchange(method, "sip:mallory@example.com", origin=HOME_TLS)
    exchange.receive(asks(BEARER, digest()))
    assert exchange.answer()["scheme"] == "digest"
    exchange = rig.exchange(method, "sip:mallory@example.com", origin=HOME_TLS)
    exchange.receive(asks(proxy=[BEARER]))  # a proxy's own question (RFC 8898 section 2.3)
    assert exchange.request.get("Proxy-Authorization") == "Bearer abc"


def test_T09_a_token_that_the_registrar_took_does_not_go_along_with_a_call() -> None:
    """Not even to the registrar's own address, behind which somebody may answer.  Fails without ``ends_here``."""
    rig = Rig(token())
    exchange = rig.exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER))
    rig.session.accepted(exchange, final(200))
    assert rig.exchange("INVITE", origin=HOME_TLS).request.find("Authorization") is None
    assert rig.exchange(origin=HOME_TLS).request.get("Authorization") == "Bearer abc"


def test_A04_A28_a_stale_digest_beside_it_does_not_make_a_refused_token_good() -> None:
    """It went out four times.  Fails without the scheme in ``hear``'s look at ``stale``."""
    rig = Rig(token())
    exchange = rig.exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER, digest(stale="true")))
    refused = asks(BEARER + ', error="invalid_token"', digest(nonce="n2", stale="true"))
    assert exchange.receive(refused) is GiveUp.REFUSED
    assert len(exchange.sent) == 2
    assert len(rig.heard(AuthRejected)) == 1


def test_A28_digest_beside_bearer_the_credentials_at_hand_decide() -> None:
    for credentials, scheme in ((password(GOOD), "digest"), (token(), "bearer")):
        exchange = Rig(credentials).exchange(origin=HOME_TLS)
        exchange.receive(asks(BEARER, digest()))
        assert exchange.answer()["scheme"] == scheme


def test_A28_policy_may_leave_a_scheme_out() -> None:
    rig = Rig(asynchronous=True, schemes=("digest",))
    _, asked = rig.pending(BEARER, digest(), origin=HOME_TLS)
    assert [c.scheme for c in asked.challenges] == ["digest"]
    assert [s.why for s in asked.skipped] == ["scheme not allowed by policy"]


@pytest.mark.parametrize("prefer", [("bearer", "digest"), ("digest", "bearer")])
@pytest.mark.parametrize("offered", [(BEARER, digest()), (digest(), BEARER)], ids=["bearer-first", "digest-first"])
def test_A28_policy_may_prefer_a_scheme_over_the_servers_order(
    prefer: tuple[str, ...], offered: tuple[str, ...]
) -> None:
    """Fails without ``AuthPolicy.preferred``: the server's order decides, whatever the policy says."""
    rig = Rig(asynchronous=True, prefer=prefer)
    _, asked = rig.pending(*offered, origin=HOME_TLS)
    assert asked.challenges[0].scheme == prefer[0]
    assert [c.scheme for c in asked.realms[asked.challenges[0].realm].offers] == list(prefer)


def test_A28_without_a_preference_the_servers_order_stays() -> None:
    for offered, first in (((BEARER, digest()), "bearer"), ((digest(), BEARER), "digest")):
        _, asked = Rig(asynchronous=True).pending(*offered, origin=HOME_TLS)
        assert asked.challenges[0].scheme == first


# -- other forms of secrets ---------------------------------------------------------------------------


def test_A08_an_md5_ha1_takes_the_md5_challenge_below_and_never_answers_sha_256() -> None:
    from hashlib import md5

    ha1 = Ha1Credentials("alice", "example.com", "MD5", Secret(md5(b"alice:example.com:wonderland").hexdigest()))
    exchange = Rig(ha1).exchange(origin=HOME_TLS)
    exchange.receive(asks(digest(algorithm="SHA-256"), digest(algorithm="MD5")))
    assert exchange.answer()["algorithm"] == "MD5"
    assert proves(exchange.answer(), GOOD)
    assert Rig(ha1).exchange().receive(asks(digest(algorithm="SHA-256"))) is GiveUp.NO_CREDENTIALS


def test_A15_userhash_goes_to_the_accounts_own_server_only() -> None:
    rig = Rig(password(GOOD))
    stranger = rig.exchange(origin=STRANGER)
    assert stranger.receive(asks(digest(userhash="true"))) is GiveUp.FOREIGN_ORIGIN
    exchange = rig.exchange()
    exchange.receive(asks(digest(userhash="true")))
    assert "alice" not in exchange.answer()["username"]


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "REFER", "NOTIFY"])
@pytest.mark.parametrize("realm", ["example.com", "*"])
@pytest.mark.parametrize("proxy", [False, True])
def test_T01_a_strangers_challenge_reaches_nobody(method: str, realm: str, proxy: bool) -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange = rig.exchange(method, "sip:mallory@203.0.113.66", origin=STRANGER)
    assert exchange.receive(asks(proxy=[digest(realm)]) if proxy else asks(digest(realm))) is GiveUp.FOREIGN_ORIGIN
    [told] = rig.events
    assert isinstance(told, AuthUnanswerable)
    assert (told.why, rig.session.pending, len(exchange.sent)) == (GiveUp.FOREIGN_ORIGIN, (), 1)


def test_T01_T29_even_a_token_of_before_sends_nothing_to_a_stranger() -> None:
    """The flow changed between challenge and answer: the retry goes out bare."""
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, asked = rig.pending(digest())
    exchange.origin = STRANGER
    rig.session.decline(asked)
    assert exchange.carried() == []


def test_T29_not_even_the_same_address_is_ours_for_ever() -> None:
    """It was the account's own when it asked; when the answer is there it is not any more, so no name goes there."""
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, asked = rig.pending(digest())
    exchange.origin = exchange.origin._replace(bound=False)
    rig.session.decline(asked)
    assert exchange.carried() == []


def test_headers_left_from_an_earlier_attempt_are_replaced() -> None:
    exchange = Rig(password(GOOD)).exchange()
    exchange.receive(asks(digest()))
    again = exchange._rig.session.authorize(exchange, exchange.request)
    assert len(again.all("Authorization")) == 1
    assert "nc=00000002" in again.get("Authorization")


def test_a_session_without_a_clock_works() -> None:
    rig = Rig(password(GOOD))
    rig.session = AuthSession([password(GOOD)])
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    assert proves(exchange.answer(), GOOD)


def test_a_stale_challenge_that_the_secret_cannot_answer_any_more_asks() -> None:
    ha1 = Ha1Credentials("alice", "example.com", "MD5", Secret("00" * 16))
    rig = Rig(ha1, asynchronous=True)
    exchange, asked = rig.pending(digest())
    rig.session.decline(asked)
    outcome = exchange.receive(asks(digest(nonce="n2", stale="true", algorithm="SHA-256")))
    assert isinstance(outcome, Pending)
    assert rig.heard(AuthRejected) == []


def test_a_proof_whose_secret_is_gone_proves_nothing() -> None:
    bearer = Proof(Challenge("bearer", "r", algorithm=""), token(), 0.0)
    with pytest.raises(LocalProtocolError, match="no digest"):
        bearer.vouches(Sent("", 0.0), "00", b"")
    bearer.wipe()
    assert not bearer.usable(0.0)
    with pytest.raises(LocalProtocolError, match="wiped"):
        bearer.header("REGISTER", "sip:x", b"", now=0.0, counter=NonceCounter(), random=bytes)
