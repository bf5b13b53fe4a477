"""The typed sketch that this room grew from had three known faults at level 1; each keeps its regression test here."""

from __future__ import annotations

from sipcli.sip.auth import Pending
from tests.support.authkit import HOME_TLS, Rig, asks, digest, final, password, proves


def test_sketch_fault_one_realm_per_call() -> None:
    """It asked for one realm at a time; now one token names every open realm, and one retry carries them all."""
    rig = Rig(asynchronous=True)
    exchange = rig.exchange("INVITE")
    outcome = exchange.receive(asks(digest("A"), proxy=[digest("B")]))
    assert isinstance(outcome, Pending)
    assert sorted(outcome.token.realms) == ["A", "B"]
    plan = rig.session.reinit_request(outcome.token, [password("b", realm="B"), password("a", realm="A")])
    assert plan is not None
    rig.session.send_request(outcome.token, plan)
    assert {c["realm"]: proves(c, c["realm"].lower(), method="INVITE") for c in exchange.carried()} == {
        "A": True,
        "B": True,
    }
    assert len(exchange.sent) == 2


def test_sketch_fault_strongest_instead_of_topmost() -> None:
    """RFC 8760 section 2.4: the server's order counts."""
    rig = Rig(asynchronous=True)
    _, token = rig.pending(
        digest(algorithm="SHA-256"), digest(algorithm="SHA-512-256"), digest(algorithm="MD5"), origin=HOME_TLS
    )
    assert [c.algorithm for c in token.challenges] == ["SHA-256"]


def test_sketch_fault_respond_replaces_the_accounts_credentials() -> None:
    """Credentials given to one answer serve that exchange; only set_credentials() replaces the account's."""
    rig = Rig(password("own"), asynchronous=True)
    own = rig.session.credentials
    exchange, token = rig.pending(digest())
    plan = rig.session.reinit_request(token, [password("given")])
    assert plan is not None
    rig.session.send_request(token, plan)
    rig.session.accepted(exchange, final(200))
    assert proves(exchange.answer(), "given")
    assert rig.session.credentials is own
    other, other_token = rig.pending(digest("elsewhere"), method="OPTIONS", uri="sip:one.example")
    rig.session.decline(other_token)
    assert proves(other.answer(), "own", method="OPTIONS")
    rig.session.set_credentials([password("new")])
    third, third_token = rig.pending(digest("third"), method="OPTIONS", uri="sip:two.example")
    rig.session.decline(third_token)
    assert proves(third.answer(), "new", method="OPTIONS")


def test_sketch_fault_the_nonce_count_never_moved() -> None:
    """It hashed with nc=1 for ever: a server that counts would have refused the second use of a nonce."""
    rig = Rig(password("x"))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    exchange.send()
    assert [exchange.answer(i)["nc"] for i in (1, 2)] == ["00000001", "00000002"]
