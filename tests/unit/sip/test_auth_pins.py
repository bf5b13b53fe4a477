"""Pins: the realm that a server asked for first over TLS (T02), and what of them survives a restart (T05, T06)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from sipcli.sip.auth import AuthRejected, AuthUnanswerable, GiveUp, Pending, PolicyWarning, Retry
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.pins import MAX_REALMS_KEPT, Pins
from tests.support.authkit import HOME, HOME_TLS, FakeExchange, Rig, asks, digest, final, password

SHA256, MD5 = "SHA-256", "MD5"


def registered(rig: Rig, *www: str, proxy: Iterable[str] = (), origin: Any = HOME_TLS) -> FakeExchange:
    exchange = rig.exchange(origin=origin)
    assert isinstance(exchange.receive(asks(*www, proxy=proxy)), Retry)
    rig.session.accepted(exchange, final(200))
    return exchange


def restarted(rig: Rig, **policy: Any) -> Rig:
    """Another process with what the first one left, through JSON and back."""
    later = Rig(password("x"), **policy)
    later.session.pins.restore(json.loads(json.dumps(rig.session.pins.snapshot())))
    return later


class TestRealms:
    @pytest.mark.parametrize(
        "other",
        ["Example.com", "EXAMPLE.COM", "example.com.", "example.com ", " example.com", "ex\u0430mple.com", "*", "bank"],
        ids=["case", "upper", "dot", "space", "leading space", "homograph", "wildcard", "another account's"],
    )
    def test_T02_another_realm_than_the_first_is_refused(self, other: str) -> None:
        """Fails without the check of `stranger` in `_refusal`: the digest goes out for every one of them."""
        rig = Rig(password("x"))
        registered(rig, digest("example.com"))
        exchange = rig.exchange("OPTIONS", origin=HOME_TLS)
        assert exchange.receive(asks(digest(other, "n2"))) is GiveUp.REALM_CHANGED
        assert len(exchange.sent) == 1
        (told,) = rig.heard(AuthUnanswerable)
        assert told.skipped[0].why == "not the realm that this server asked for before"
        (warning,) = rig.heard(PolicyWarning)
        assert warning.code == "realm-changed"
        assert repr(other) in warning.message
        assert "'example.com'" in warning.message

    @pytest.mark.parametrize(
        "other", ["Example.com", "example.com.", "example.com ", "ex\u0430mple.com", "*"], ids=lambda text: ascii(text)
    )
    def test_T02_a_listed_realm_is_compared_octet_by_octet(self, other: str) -> None:
        """Fails when `_refusal` compares `realm.lower().strip(". ")` with the list instead."""
        rig = Rig(password("x"), realms=frozenset({"example.com"}))
        exchange = rig.exchange(origin=HOME_TLS)
        assert exchange.receive(asks(digest(other))) is GiveUp.REALM
        assert len(exchange.sent) == 1

    def test_over_udp_nothing_is_trusted_on_first_use(self) -> None:
        rig = Rig(password("x"))
        registered(rig, digest("first"), origin=HOME)
        assert rig.session.pins.snapshot()["realms"] == []
        assert isinstance(rig.exchange("OPTIONS").receive(asks(digest("second", "n2"))), Retry)

    def test_what_was_not_accepted_is_not_trusted(self) -> None:
        """Whoever asks first must also take the answer: else the impostor's realm would be the pinned one."""
        rig = Rig(password("x"))
        exchange = rig.exchange(origin=HOME_TLS)
        exchange.receive(asks(digest("evil")))
        rig.session.refused(exchange, final(403))
        assert rig.heard(AuthRejected)
        assert isinstance(rig.exchange(origin=HOME_TLS).receive(asks(digest("example.com", "n2"))), Retry)

    def test_a_registrar_and_a_proxy_have_a_realm_each(self) -> None:
        rig = Rig(password("x"))
        registered(rig, digest("registrar"))
        call = rig.exchange("INVITE", "sip:bob@example.com", origin=HOME_TLS)
        assert isinstance(call.receive(asks(proxy=[digest("edge", "p1")])), Retry)
        rig.session.accepted(call, final(200))
        assert rig.exchange("OPTIONS", origin=HOME_TLS).receive(asks(proxy=[digest("third", "p2")])) is (
            GiveUp.REALM_CHANGED
        )

    def test_realms_that_come_together_or_one_by_one_at_first_are_all_known(self) -> None:
        rig = Rig(password("x"))
        exchange = rig.exchange(origin=HOME_TLS)
        exchange.receive(asks(digest("a"), digest("b")))
        exchange.receive(asks(digest("a", "n2", stale="true"), digest("b", "n2", stale="true"), digest("c")))
        rig.session.accepted(exchange, final(200))
        later = restarted(rig)
        for realm in "abc":
            assert isinstance(later.exchange(origin=HOME_TLS).receive(asks(digest(realm))), Retry)
        assert later.exchange(origin=HOME_TLS).receive(asks(digest("d"))) is GiveUp.REALM_CHANGED

    def test_a_realm_with_a_table_of_its_own_is_no_change(self) -> None:
        rig = Rig(password("x"), own_realms=frozenset({"edge"}))
        registered(rig, digest("registrar"))
        assert isinstance(rig.exchange("OPTIONS", origin=HOME_TLS).receive(asks(digest("edge", "n2"))), Retry)

    def test_another_server_has_realms_of_its_own(self) -> None:
        rig = Rig(password("x"))
        registered(rig, digest("example.com"))
        other = HOME_TLS._replace(identity="example.net")
        assert isinstance(rig.exchange(origin=other).receive(asks(digest("example.net"))), Retry)

    def test_T02_the_same_server_at_another_address_is_the_same(self) -> None:
        rig = Rig(password("x"))
        registered(rig, digest("example.com"))
        moved = HOME_TLS._replace(host="192.0.2.99", port=5062, identity="EXAMPLE.com")
        assert rig.exchange(origin=moved).receive(asks(digest("evil"))) is GiveUp.REALM_CHANGED

    def test_ask_warns_and_leaves_it_to_whoever_decides(self) -> None:
        rig = Rig(password("x"), realm_change="ask")
        registered(rig, digest("old"))
        rig.session.asynchronous = True
        exchange = rig.exchange("OPTIONS", origin=HOME_TLS)
        outcome = exchange.receive(asks(digest("new", "n2")))
        assert isinstance(outcome, Pending)
        assert [warning.code for warning in rig.heard(PolicyWarning)] == ["realm-changed"]
        plan = rig.session.reinit_request(outcome.token)
        assert plan is not None
        rig.session.send_request(outcome.token, plan)
        rig.session.accepted(exchange, final(200))
        again = rig.exchange("OPTIONS", origin=HOME_TLS).receive(asks(digest("new", "n3")))
        assert isinstance(again, Pending | Retry)
        assert len(rig.heard(PolicyWarning)) == 1

    def test_T02_ask_refuses_where_nobody_decides(self) -> None:
        """Fails without `may_ask` in `choose`: the configured credentials answer in nobody's name."""
        rig = Rig(password("x"), realm_change="ask")
        registered(rig, digest("old"))
        assert rig.exchange("OPTIONS", origin=HOME_TLS).receive(asks(digest("new", "n2"))) is GiveUp.REALM_CHANGED

    def test_allow_allows(self) -> None:
        rig = Rig(password("x"), realm_change="allow")
        registered(rig, digest("old"))
        assert isinstance(rig.exchange("OPTIONS", origin=HOME_TLS).receive(asks(digest("new", "n2"))), Retry)
        assert rig.heard(PolicyWarning) == []

    def test_a_known_realm_beside_a_new_one_is_answered(self) -> None:
        rig = Rig(password("x"))
        registered(rig, digest("old"))
        exchange = rig.exchange("OPTIONS", origin=HOME_TLS)
        assert isinstance(exchange.receive(asks(digest("new", "n2"), digest("old", "n2"))), Retry)
        assert exchange.answer()["realm"] == "old"


class TestAcrossRestarts:
    @pytest.mark.parametrize(
        "weaker",
        [(digest(nonce="n2"),), (digest(nonce="n2", algorithm=MD5),), (digest(nonce="n2", algorithm="MD5-sess"),)],
        ids=["algorithm missing", "SHA-256 stripped", "sess"],
    )
    def test_T05_sha_256_stripped_after_a_restart_is_a_downgrade(self, weaker: tuple[str, ...]) -> None:
        """Fails when `snapshot` leaves `algorithms` out: MD5 is answered."""
        first = Rig(password("x"))
        registered(first, digest(algorithm=SHA256), digest(algorithm=MD5))
        later = restarted(first)
        exchange = later.exchange(origin=HOME_TLS)
        assert exchange.receive(asks(*weaker)) is GiveUp.DOWNGRADE
        assert len(exchange.sent) == 1
        assert later.heard(AuthUnanswerable)[0].skipped[0].why == (
            "weaker than SHA-256, which this realm accepted before"
        )

    def test_T05_md5_placed_first_after_a_restart_is_passed_over(self) -> None:
        first = Rig(password("x"))
        registered(first, digest(algorithm=SHA256))
        exchange = restarted(first).exchange(origin=HOME_TLS)
        exchange.receive(asks(digest(algorithm=MD5), digest(algorithm=SHA256, nonce="n2")))
        assert exchange.answer()["algorithm"] == SHA256

    def test_T05_two_algorithms_are_never_answered_for_one_realm(self) -> None:
        """Whoever gets both digests may attack the weaker."""
        exchange = Rig(password("x")).exchange(origin=HOME_TLS)
        exchange.receive(asks(digest(algorithm=SHA256), digest(algorithm=MD5, nonce="n2"), digest(nonce="n3")))
        assert exchange.answer()["algorithm"] == SHA256

    def test_T06_qop_stripped_after_a_restart_is_a_downgrade(self) -> None:
        """Fails when `snapshot` leaves `qop` out."""
        first = Rig(password("x"))
        registered(first, digest())
        assert restarted(first).exchange(origin=HOME_TLS).receive(asks(digest(qop=None))) is GiveUp.DOWNGRADE

    def test_T02_the_realm_is_known_after_a_restart(self) -> None:
        """Fails when `snapshot` leaves `realms` out."""
        first = Rig(password("x"))
        registered(first, digest("example.com"))
        assert restarted(first).exchange(origin=HOME_TLS).receive(asks(digest("evil"))) is GiveUp.REALM_CHANGED

    def test_a_snapshot_holds_no_secret_and_no_address(self) -> None:
        rig = Rig(password("wonderland"))
        registered(rig, digest(algorithm=SHA256, opaque='"abc"'))
        text = json.dumps(rig.session.pins.snapshot())
        for word in ("wonderland", "alice", "n1", "abc", HOME_TLS.host):
            assert word not in text

    def test_a_snapshot_is_bounded(self) -> None:
        pins = Pins()
        for realm in (*(f"realm-{number}" for number in range(1000)), "x" * 5000):
            pins.learn([Challenge("digest", realm, "n", qop=("auth",))], HOME_TLS, "INVITE")
        snapshot = pins.snapshot()
        assert len(snapshot["algorithms"]) <= MAX_REALMS_KEPT
        assert len(json.dumps(snapshot)) < 10_000

    @pytest.mark.parametrize(
        "junk",
        [
            {},
            {"algorithms": 7, "qop": "auth", "realms": {"a": "b"}},
            {
                "algorithms": {"r": "MD6", "s": 3},
                "qop": [3, None],
                "realms": [["a"], "b", ["a", "b", "c"], [1, True, 2]],
            },
        ],
    )
    def test_what_makes_no_sense_is_left_out(self, junk: dict[str, Any]) -> None:
        pins = Pins()
        pins.restore(junk)
        assert pins == Pins()

    def test_the_stronger_of_two_snapshots_wins(self) -> None:
        pins = Pins()
        pins.restore({"algorithms": {"r": "SHA-256"}, "qop": ["r"]})
        pins.restore({"algorithms": {"r": "MD5", "s": "MD5"}})
        snapshot = pins.snapshot()
        assert (snapshot["algorithms"], snapshot["qop"]) == ({"r": "SHA-256", "s": "MD5"}, ["r"])


class TestWhoeverIsCalled:
    """Through a proxy that lets our INVITE pass unasked, whoever we call may challenge it in the realm's name."""

    @pytest.mark.parametrize("proxy", [False, True])
    @pytest.mark.parametrize("again", [False, True], ids=["same run", "after a restart"])
    def test_T05_T06_does_not_lock_the_account_out_of_its_registrar(self, proxy: bool, again: bool) -> None:
        """He wants SHA-512-256, with a qop, and takes the answer; the registrar has neither.

        Fails without ``_registered`` in ``learn``: every later REGISTER was a downgrade.
        """
        rig = Rig(password("x"))
        registered(rig, digest(algorithm=SHA256, qop=None))
        if again:
            rig = restarted(rig)
        call = rig.exchange("INVITE", "sip:eve@example.com", origin=HOME_TLS)
        asked = digest(nonce="e", algorithm="SHA-512-256")
        assert isinstance(call.receive(asks(proxy=[asked]) if proxy else asks(asked)), Retry)
        rig.session.accepted(call, final(200))
        refresh = rig.exchange("REGISTER", "sip:other.example.com", origin=HOME_TLS)
        assert isinstance(refresh.receive(asks(digest(nonce="n2", algorithm=SHA256, qop=None))), Retry)

    def test_T05_before_the_registrar_was_ever_heard_the_realm_is_pinned_by_any_request(self) -> None:
        rig = Rig(password("x"))
        options = rig.exchange("OPTIONS", origin=HOME_TLS)
        options.receive(asks(digest(algorithm=SHA256)))
        rig.session.accepted(options, final(200))
        assert rig.exchange("REGISTER", "sip:b", origin=HOME_TLS).receive(asks(digest(nonce="n2"))) is GiveUp.DOWNGRADE

    def test_T02_nor_put_a_realm_of_his_own_in_the_place_of_the_server_s(self) -> None:
        """The server asks as a proxy too, later, for the realm that it had as a registrar: that is no other one."""
        rig = Rig(password("x"))
        registered(rig, digest("home"))
        message = rig.exchange("MESSAGE", "sip:eve@example.com", origin=HOME_TLS)
        assert isinstance(message.receive(asks(proxy=[digest("evil", "e")])), Retry), "the first of this door"
        rig.session.accepted(message, final(200))
        call = rig.exchange("INVITE", "sip:bob@example.com", origin=HOME_TLS)
        assert isinstance(call.receive(asks(proxy=[digest("home", "n2")])), Retry)
        assert call.receive(asks(proxy=[digest("other", "n3")])) is GiveUp.REALM_CHANGED
