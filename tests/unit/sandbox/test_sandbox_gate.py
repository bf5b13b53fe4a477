"""The sandbox's registrar and proxy, without a socket: on a stepped clock, answered by our own digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

import pytest

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import ConfigError
from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.gate import Gate
from sipcli.sip.authn.digest import compute_response, digest_header, hash_function, parse_challenges
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response, parse_message
from sipcli.sip.transactions.timers import TimerValues, Wheel
from sipcli.sip.transactions.transaction import TransactionLayer
from tests.support.transactions import request

HERE = ("127.0.0.1", 5060)
ALICE = Flow(1, "udp", HERE, ("127.0.0.1", 40001))
BOB = Flow(2, "udp", HERE, ("127.0.0.1", 40002))
BOB_TCP = Flow(3, "tcp", HERE, ("127.0.0.1", 40003))


class House:
    """A gate on its layer, and what it says to whom."""

    def __init__(self, **config: object) -> None:
        self.now = 0.0
        self.sent: list[tuple[Flow, Request | Response]] = []
        self.left: list[str] = []
        serial = count(1)
        self.wheel = Wheel()
        random = lambda size: next(serial).to_bytes(size, "big")  # noqa: E731
        self.layer = TransactionLayer(
            timers=TimerValues(),
            wheel=self.wheel,
            send=lambda flow, data: self.sent.append((flow, parse_message(data))),
            clock=lambda: self.now,
            random=random,
        )
        self.gate = Gate(SandboxConfig(**config), self.layer, random)  # type: ignore[arg-type]
        self._cseq = count(1)

    def give(self, message: Request | Response, flow: Flow = ALICE) -> list[Request | Response]:
        """One message in; what goes out because of it."""
        before = len(self.sent)
        # As it would come from the wire.
        message = parse_message(message.to_bytes())
        if isinstance(message, Response):
            self.layer.on_response(message, flow)
        elif (tx := self.layer.on_request(message, flow)) is not None and not self.gate.admit(tx):
            self.left.append(message.method)
        return [sent for _, sent in self.sent[before:]]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while (when := self.wheel.next()) is not None and when <= end:
            self.now = when
            for owner, name in self.wheel.due(when):
                owner.on_timer(name)
        self.now = end

    def ask(self, method: str = "REGISTER", **values: object) -> Request:
        values = {"uri": "sip:sandbox", "cseq": next(self._cseq), "call_id": method, **values}
        message = request(method, **values)  # type: ignore[arg-type]
        if method == "REGISTER":
            message = message.with_("To", "<sip:alice@sandbox>").with_("From", "<sip:alice@sandbox>;tag=a")
        return message

    def answered(
        self,
        challenge: Response,
        message: Request,
        *,
        user: str = "alice",
        password: str = "wonderland",
        nc: int = 1,
        pick: Iterable[int] | None = None,
    ) -> Request:
        """*message* again with the next CSeq and an answer to each realm's topmost (or each picked) challenge."""
        challenges, _ = parse_challenges(challenge)
        if pick is None:
            topmost = {(one.realm, one.proxy): one for one in reversed(challenges)}
            chosen = list(topmost.values())
        else:
            chosen = [challenges[index] for index in pick]
        number = next(self._cseq)
        again = (
            message.with_("CSeq", f"{number} {message.method}")
            .with_("Via", str(message.via.with_param("branch", f"z9hG4bKagain{number}")))
            .without("Authorization")
            .without("Proxy-Authorization")
        )
        for one in chosen:
            secret = PasswordCredentials(user, Secret(password))
            value = digest_header(one, secret, again.method, again.uri_text, nc=nc, cnonce="c0ffee", body=again.body)
            again = again.adding(one.header, value)
        return again

    def register(self, user: str = "alice", flow: Flow = ALICE, **headers: str) -> Response:
        message = self.ask(call_id=f"register-{user}").with_("To", f"<sip:{user}@sandbox>")
        message = message.with_("Contact", f"<sip:{user}@{flow.remote[0]}:{flow.remote[1]}>")
        for name, value in headers.items():
            message = message.with_(name, value)
        (challenge,) = self.give(message, flow)
        assert isinstance(challenge, Response)
        password = self.gate.config.users[user]
        (final,) = self.give(self.answered(challenge, message, user=user, password=password), flow)
        assert isinstance(final, Response)
        return final


def status(answer: list[Request | Response]) -> int:
    (only,) = answer
    assert isinstance(only, Response)
    return only.status


# -- challenges ---------------------------------------------------------------------------------


ALGORITHMS = ("MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess")
QOPS = ("auth", "auth-int", "auth,auth-int", None)


@pytest.mark.parametrize(
    ("algorithm", "qop"),
    # A -sess algorithm needs a cnonce, which only comes with qop.
    [(algorithm, qop) for algorithm in ALGORITHMS for qop in QOPS if qop or not algorithm.endswith("-sess")],
)
def test_each_algorithm_and_qop_is_asked_and_accepted(algorithm: str, qop: str | None) -> None:
    house = House(algorithms=(algorithm,), qop=qop, opaque="o")
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert challenge.status == 401
    ((one,), skipped) = parse_challenges(challenge)
    assert (one.algorithm, one.realm, one.opaque, skipped) == (algorithm, "sandbox", "o", ())
    assert status(house.give(house.answered(challenge, message, password="wrong"))) == 401
    assert house.gate.guard.wrong == {"alice": 1}
    assert status(house.give(house.answered(challenge, message))) == 200
    assert house.gate.guard.counts["passed"] == 1


def test_several_algorithms_are_offered_in_the_order_told_and_any_is_taken() -> None:
    house = House(algorithms=("SHA-512-256", "MD5"))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert [one.algorithm for one in parse_challenges(challenge)[0]] == ["SHA-512-256", "MD5"]
    assert status(house.give(house.answered(challenge, message, pick=[1]))) == 200


def test_register_is_asked_by_401_and_a_call_by_407() -> None:
    house = House()
    assert status(house.give(house.ask("REGISTER"))) == 401
    assert status(house.give(house.ask("INVITE", uri="sip:echo@sandbox"))) == 407
    house.gate.config = replace(house.gate.config, call_status=401)
    assert status(house.give(house.ask("INVITE", uri="sip:echo@sandbox", call_id="2"))) == 401
    house.give(house.ask("OPTIONS"))
    assert house.left == ["OPTIONS"], "not challenged by default"


def test_two_realms_are_asked_at_once_in_their_own_headers_and_both_must_be_answered() -> None:
    house = House(realms=("one",), proxy_realms=("two",), algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert challenge.status == 401
    assert [(one.realm, one.proxy) for one in parse_challenges(challenge)[0]] == [("one", False), ("two", True)]
    (again,) = house.give(house.answered(challenge, message, pick=[0]))
    assert isinstance(again, Response)
    assert [one.realm for one in parse_challenges(again)[0]] == ["two"]
    assert again.status == 407
    assert status(house.give(house.answered(challenge, message, nc=2))) == 200


def test_realm_after_realm() -> None:
    house = House(realms=("one",), proxy_realms=("two",), algorithms=("SHA-256",), one_by_one=True)
    message = house.ask()
    (first,) = house.give(message)
    assert isinstance(first, Response)
    assert (first.status, len(parse_challenges(first)[0])) == (401, 1)
    answered = house.answered(first, message)
    (second,) = house.give(answered)
    assert isinstance(second, Response)
    assert second.status == 407
    both = house.answered(first, message, nc=2)
    for value in house.answered(second, message).all("Proxy-Authorization"):
        both = both.adding("Proxy-Authorization", value)
    assert status(house.give(both)) == 200


def test_a_realm_may_have_its_own_users() -> None:
    house = House(realms=("sandbox", "trunk"), realm_users={"trunk": {"alice": "other"}})
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 401
    assert house.gate.guard.wrong == {"alice": 1}


def test_a_nonce_grows_stale_and_says_so_unless_told_not_to() -> None:
    for say_stale in (True, False):
        house = House(nonce_lifetime=2, say_stale=say_stale, algorithms=("SHA-256",))
        message = house.ask()
        (challenge,) = house.give(message)
        assert isinstance(challenge, Response)
        house.advance(4)
        (again,) = house.give(house.answered(challenge, message))
        assert isinstance(again, Response)
        (one,) = parse_challenges(again)[0]
        assert (again.status, one.stale) == (401, say_stale)
        assert house.gate.guard.wrong == {}, "the secret was right"
        assert status(house.give(house.answered(again, message))) == 200


def test_a_wrong_password_with_an_old_nonce_is_wrong_not_stale() -> None:
    house = House(nonce_lifetime=2)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    house.advance(4)
    (again,) = house.give(house.answered(challenge, message, password="wrong"))
    assert isinstance(again, Response)
    assert not any(one.stale for one in parse_challenges(again)[0])


def test_the_same_nonce_count_twice_is_a_replay() -> None:
    house = House()
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200
    (again,) = house.give(house.answered(challenge, message, nc=1))
    assert isinstance(again, Response)
    assert (again.status, parse_challenges(again)[0][0].stale) == (401, True)
    assert house.gate.guard.counts["replayed"] == 1
    assert status(house.give(house.answered(challenge, message, nc=2))) == 200


def test_a_nonce_may_be_good_for_one_use_only() -> None:
    house = House(nonce_uses=1)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200
    assert status(house.give(house.answered(challenge, message, nc=2))) == 401


def test_stale_as_often_as_told_although_the_answer_was_good() -> None:
    house = House(stale_rounds=2)
    message = house.ask()
    (challenge,) = house.give(message)
    for _ in range(2):
        assert isinstance(challenge, Response)
        (challenge,) = house.give(house.answered(challenge, message))
        assert isinstance(challenge, Response)
        assert all(one.stale for one in parse_challenges(challenge)[0])
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200


def test_wrong_passwords_may_be_final_or_lock_a_user_out() -> None:
    house = House(wrong_status=403)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message, password="wrong"))) == 403
    house = House(wrong_limit=2)
    message = house.ask()
    for expected in (401, 403):
        (challenge,) = house.give(house.ask())
        assert isinstance(challenge, Response)
        assert status(house.give(house.answered(challenge, message, password="wrong"))) == expected
    (challenge,) = house.give(house.ask())
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 403, "also with the right one"


@pytest.mark.parametrize("spoil", ["uri", "response", "nonce", "realm", "qop", "algorithm"])
def test_an_answer_to_another_question_does_not_pass(spoil: str) -> None:
    house = House(algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message)
    value = again.get("Authorization")
    pieces = value.split(", ")
    for index, piece in enumerate(pieces):
        name, _, rest = piece.removeprefix("Digest ").partition("=")
        if name == spoil:
            other = '"0"' if rest.startswith('"') else "0"
            pieces[index] = piece.replace(rest, other)
    spoilt = ", ".join(pieces)
    assert spoilt != value
    assert status(house.give(again.with_("Authorization", spoilt))) == 401
    assert house.gate.guard.counts["passed"] == 0


def test_a_hashed_user_name_and_one_in_utf_8_are_found() -> None:
    house = House(userhash=True, charset="UTF-8", users={"Jäsøn Doe": "s3cret"})
    message = house.ask().with_("To", "<sip:J%C3%A4s%C3%B8n%20Doe@sandbox>")
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message, user="Jäsøn Doe", password="s3cret")
    assert "Doe" not in again.get("Authorization")
    assert status(house.give(again)) == 200
    house = House(users={"Jäsøn Doe": "s3cret"})
    message = house.ask().with_("To", message.get("To"))
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message, user="Jäsøn Doe", password="s3cret")
    assert "username*=UTF-8''" in again.get("Authorization")
    assert status(house.give(again)) == 200


def test_a_bearer_token_is_asked_first_and_taken() -> None:
    house = House(tokens={"t0ken": "alice"}, authz_server="https://as.example", scope="sip", algorithms=("MD5",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    bearer, digest = parse_challenges(challenge)[0]
    assert (bearer.scheme, bearer.authz_server, bearer.scope) == ("bearer", "https://as.example", ("sip",))
    assert digest.scheme == "digest"
    assert status(house.give(house.ask().with_("Authorization", "Bearer nonsense"))) == 401
    assert status(house.give(house.ask().with_("Authorization", "Bearer t0ken"))) == 200
    only = House(tokens={"t0ken": "alice"}, algorithms=())
    (challenge,) = only.give(only.ask())
    assert isinstance(challenge, Response)
    assert [one.scheme for one in parse_challenges(challenge)[0]] == ["bearer"]


def test_the_server_proves_itself_and_announces_the_next_nonce() -> None:
    house = House(auth_info=True, next_nonce=True, algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    (final,) = house.give(house.answered(challenge, message))
    assert isinstance(final, Response)
    info = dict(part.split("=", 1) for part in final.get("Authentication-Info").split(", "))
    (one,) = parse_challenges(challenge)[0]
    ha1 = hash_function("SHA-256")(b"alice:sandbox:wonderland")
    expected = compute_response(
        "SHA-256", ha1, one.nonce, method="", uri="sip:sandbox", qop="auth", nc=1, cnonce="c0ffee"
    )
    assert info["rspauth"] == f'"{expected}"'
    assert (info["qop"], info["cnonce"], info["nc"]) == ("auth", '"c0ffee"', "00000001")
    assert len(info["nextnonce"]) == 34


def test_answers_wait_as_long_as_told() -> None:
    house = House(delay=3)
    assert house.give(house.ask(transport="TCP"), BOB_TCP) == []
    house.advance(2.9)
    assert house.sent == []
    house.advance(0.1)
    assert [answer.status for _, answer in house.sent if isinstance(answer, Response)] == [401]


def test_what_makes_no_sense_is_refused_with_the_reason() -> None:
    for wrong in ({"algorithms": ("SHA-3",)}, {"call_status": 403}, {"algorithms": ()}, {"transports": ("tls",)}):
        with pytest.raises(ConfigError):
            SandboxConfig(**wrong)  # type: ignore[arg-type]
    assert "wonderland" not in repr(SandboxConfig())


# -- registrar ----------------------------------------------------------------------------------


def test_a_binding_is_made_refreshed_shortened_and_removed() -> None:
    house = House(max_expires=100)
    final = house.register(Expires="600")
    assert final.status == 200
    (contact,) = final.contacts
    assert (str(contact.uri), contact.param("expires")) == ("sip:alice@127.0.0.1:40001", "100")
    house.advance(40)
    (contact,) = house.register(Expires="50").contacts
    assert contact.param("expires") == "50"
    assert len(house.gate.location.find("alice", house.now)) == 1
    house.advance(50)
    assert house.gate.location.find("alice", house.now) == ()
    house.register(Expires="50")
    assert house.register(Expires="0").contacts == ()
    assert house.gate.location.find("alice", house.now) == ()


def test_an_interval_too_brief_is_423() -> None:
    house = House(min_expires=60)
    answer = house.register(Expires="30")
    assert (answer.status, answer.get("Min-Expires")) == (423, "60")
    assert house.gate.location.find("alice", house.now) == ()
    assert house.register(Expires="60").status == 200
    assert house.register(Expires="0").status == 200


def test_a_star_removes_all_and_only_with_expires_0() -> None:
    house = House()
    house.register()
    assert house.register(Contact="*", Expires="3600").status == 400
    assert len(house.gate.location.find("alice", house.now)) == 1
    assert house.register(Contact="*", Expires="0").status == 200
    assert house.gate.location.find("alice", house.now) == ()


def test_a_register_out_of_order_changes_nothing() -> None:
    house = House()
    house.register(Expires="600")
    house.advance(40)
    late = house.ask(call_id="register-alice").with_("To", "<sip:alice@sandbox>")
    (challenge,) = house.give(late)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, late).with_("CSeq", "1 REGISTER").with_("Expires", "0")
    assert status(house.give(again.with_("Contact", "<sip:alice@127.0.0.1:40001>"))) == 500
    assert len(house.gate.location.find("alice", house.now)) == 1


def test_nobody_registers_for_another() -> None:
    house = House()
    message = house.ask().with_("To", "<sip:bob@sandbox>")
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 403
    assert house.gate.location.find("bob", house.now) == ()


def test_a_register_without_contact_asks_what_is_bound() -> None:
    house = House()
    house.register()
    asking = house.ask(call_id="query").without("Contact")
    (challenge,) = house.give(asking)
    assert isinstance(challenge, Response)
    (answer,) = house.give(house.answered(challenge, asking))
    assert len(answer.contacts) == 1


# -- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "expected"), [("busy", 486), ("decline", 603), ("503", 503), ("nobody", 404), ("bob", 480)]
)
def test_who_does_not_answer_says_why(user: str, expected: int) -> None:
    house = House(challenged=frozenset())
    assert status(house.give(house.ask("INVITE", uri=f"sip:{user}@sandbox"))) == expected


def test_a_subscription_to_a_user_who_is_not_there_is_left_to_the_engine() -> None:
    """480 would say: try again later.  The engine's 489 says that there is nobody who would ever notify."""
    house = House(challenged=frozenset())
    assert house.give(house.ask("SUBSCRIBE", uri="sip:bob@sandbox")) == []
    assert house.left == ["SUBSCRIBE"]
    assert status(house.give(house.ask("SUBSCRIBE", uri="sip:nobody@sandbox"))) == 404


@pytest.mark.parametrize("user", ["echo", "music", "ivr"])
def test_who_answers_is_left_to_the_engine(user: str) -> None:
    house = House(challenged=frozenset())
    assert house.give(house.ask("INVITE", uri=f"sip:{user}@sandbox")) == []
    assert house.left == ["INVITE"]


def test_ring_rings_until_it_is_cancelled() -> None:
    house = House(challenged=frozenset())
    invite = house.ask("INVITE", uri="sip:ring@sandbox")
    assert status(house.give(invite)) == 180
    house.advance(300)
    cancel = request("CANCEL", uri=invite.uri_text, branch=invite.via.branch, call_id="INVITE")
    answers = house.give(cancel)
    assert [answer.status for answer in answers if isinstance(answer, Response)] == [200, 487]


def test_a_call_between_two_users_goes_through() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    invite = house.ask("INVITE", uri="sip:bob@sandbox", headers=(("Proxy-Authorization", "Digest x=y"),), body=b"v=0")
    (forwarded,) = house.give(invite)
    assert isinstance(forwarded, Request)
    assert house.sent[-1][0] is BOB
    assert forwarded.uri_text == "sip:bob@127.0.0.1:40002"
    assert (forwarded.max_forwards, forwarded.body) == (69, b"v=0")
    assert forwarded.values("Record-Route") == ("<sip:127.0.0.1:5060;lr>",)
    assert [via.sent_by for via in forwarded.vias] == [HERE, ("192.0.2.1", 5060)]
    assert forwarded.find("Proxy-Authorization") is None

    (ringing,) = house.give(forwarded.reply(180, to_tag="b"), BOB)
    assert isinstance(ringing, Response)
    assert (ringing.status, ringing.all("Via"), house.sent[-1][0]) == (180, invite.all("Via"), ALICE)
    (answer,) = house.give(forwarded.reply(200, to_tag="b", headers=(("Contact", "<sip:bob@127.0.0.1:40002>"),)), BOB)
    assert isinstance(answer, Response)
    assert answer.values("Record-Route") == ("<sip:127.0.0.1:5060;lr>",)

    route = (("Route", "<sip:127.0.0.1:5060;lr>"),)
    ack = request(
        "ACK", uri="sip:bob@127.0.0.1:40002", cseq=invite.cseq.number, call_id="INVITE", to_tag="b", headers=route
    )
    (passed_on,) = house.give(ack)
    assert isinstance(passed_on, Request)
    assert (passed_on.method, passed_on.find("Route"), house.sent[-1][0]) == ("ACK", None, BOB)

    bye = request("BYE", uri="sip:alice@192.0.2.1:5060", call_id="INVITE", from_tag="b", to_tag="from-1", headers=route)
    (to_alice,) = house.give(bye, BOB)
    assert isinstance(to_alice, Request)
    assert (to_alice.method, to_alice.uri_text, house.sent[-1][0]) == ("BYE", "sip:alice@192.0.2.1:5060", ALICE)
    (done,) = house.give(to_alice.reply(200))
    assert (done.cseq.method, house.sent[-1][0]) == ("BYE", BOB)
    assert len(house.gate.relay) == 0


def test_between_two_transports_both_sides_are_recorded() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB_TCP)
    (forwarded,) = house.give(house.ask("INVITE", uri="sip:bob@sandbox"))
    assert isinstance(forwarded, Request)
    assert forwarded.values("Record-Route") == ("<sip:127.0.0.1:5060;transport=tcp;lr>", "<sip:127.0.0.1:5060;lr>")
    assert forwarded.via.transport == "TCP"


def test_a_cancel_waits_for_the_callees_first_word() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    invite = house.ask("INVITE", uri="sip:bob@sandbox")
    (forwarded,) = house.give(invite)
    assert isinstance(forwarded, Request)
    cancel = request("CANCEL", uri=invite.uri_text, branch=invite.via.branch, call_id="INVITE")
    assert status(house.give(cancel)) == 200
    out = house.give(forwarded.reply(180, to_tag="b"), BOB)
    assert [getattr(message, "method", None) for message in out] == ["CANCEL", None]
    ack, refusal = house.give(forwarded.reply(487, to_tag="b"), BOB)
    assert isinstance(ack, Request)
    assert isinstance(refusal, Response)
    assert (ack.method, refusal.status) == ("ACK", 487)
    assert len(house.gate.relay) == 0


def test_a_callee_who_never_answers_is_408_and_one_whose_connection_broke_480() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    house.give(house.ask("INVITE", uri="sip:bob@sandbox"))
    house.advance(32)
    assert 408 in {answer.status for _, answer in house.sent if isinstance(answer, Response)}
    house.register("bob", BOB_TCP)
    house.give(house.ask("MESSAGE", uri="sip:bob@sandbox"))
    before = len(house.sent)
    house.layer.flow_lost(BOB_TCP, "reset")
    house.gate.forget_flow(BOB_TCP)
    assert [answer.status for _, answer in house.sent[before:] if isinstance(answer, Response)] == [480]
    assert [binding.flow for binding in house.gate.location.find("bob", house.now)] == [BOB]


def test_a_message_reaches_the_other_user_and_its_answer_comes_back() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    message = house.ask("MESSAGE", uri="sip:bob@sandbox", body=b"hello")
    (forwarded,) = house.give(message)
    assert isinstance(forwarded, Request)
    assert (forwarded.body, forwarded.find("Record-Route")) == (b"hello", None)
    assert status(house.give(forwarded.reply(202), BOB)) == 202


def test_too_many_hops() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    assert status(house.give(house.ask("MESSAGE", uri="sip:bob@sandbox").with_("Max-Forwards", "0"))) == 483
