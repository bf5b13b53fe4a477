"""The broker and keys that sign: one look-up for all who wait, a signature for each; errors and time as for ``get``."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from sipcli.credentials import Cancelled, Denied, NotFound, ProviderError, Signature, Unavailable
from sipcli.errors import ChallengeGone, LocalProtocolError
from sipcli.sip.auth import AuthChallenged, AuthPolicy, GiveUp
from sipcli.ua.auth.chain import Chain
from sipcli.ua.auth.challenge import DeferredChallenge, Verdict
from sipcli.ua.notices import AuthNeeded, AuthProviderNotice
from tests.support.agentkit import site
from tests.support.authkit import HOME_TLS, Rig, digest, final, password, proves
from tests.support.brokerkit import HANG, BrokerRig, FakeProvider
from tests.support.clock import advance, settle, stepped
from tests.support.signkit import Signer, key

AKA_TOO = (*AuthPolicy().algorithms, "AKAv1-MD5")
CANARY = "canary-of-the-store"
AUTS = "rdvT+YxdHn3ITVGnYWI="


@stepped
async def test_a_key_that_was_found_signs_the_challenge() -> None:
    rig = BrokerRig(signer := Signer())
    exchange = rig.challenge(digest(algorithm="SHA-256", qop="auth-int"), how={"method": "INVITE", "body": b"v=0\r\n"})
    await settle()
    assert proves(exchange.answer(), "right", method="INVITE", body=b"v=0\r\n")
    ((request, name, inputs),) = signer.asked
    assert (request.account, request.method, request.algorithms, request.realm) == (
        "work",
        "INVITE",
        ("SHA-256",),
        "example.com",
    )
    assert (name.username, name.ref, inputs.method) == ("alice", "store:alice", "INVITE")
    (told,) = rig.told(AuthProviderNotice)
    assert (told.outcome, told.secret_ref) == ("found", "store:alice")


@stepped
async def test_five_waiters_one_get_five_signatures() -> None:
    rig = BrokerRig(signer := Signer())
    exchanges = [rig.challenge(digest(nonce=f"n{i}")) for i in range(5)]
    await settle()
    assert [proves(exchange.answer(), "right") for exchange in exchanges] == [True] * 5
    assert (len(signer.requests), len(signer.asked)) == (1, 5)
    assert {inputs.nonce for inputs in signer.inputs} == {f"n{i}" for i in range(5)}
    assert len({inputs.cnonce for inputs in signer.inputs}) == 5


@stepped
async def test_the_name_of_the_key_is_cached_and_each_later_challenge_is_signed() -> None:
    rig = BrokerRig(signer := Signer(), cache_ttl=100.0)
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(200))
    again = rig.challenge(digest(nonce="n2"))
    await settle()
    assert proves(again.answer(), "right")
    assert (len(signer.requests), len(signer.asked)) == (1, 2)
    assert rig.broker.flights == 0


@stepped
async def test_a_password_and_a_key_answer_two_realms_in_one_retry() -> None:
    signer, store = Signer(name="signer"), FakeProvider(password("b", username="bob"), name="store")
    rig = BrokerRig(signer, store)
    rig.chains = {"A": Chain("alice", ("signer",)), "B": Chain("bob", ("store",))}
    exchange = rig.challenge(digest("A"), digest("B"))
    await settle()
    assert {c["realm"]: proves(c, "right" if c["realm"] == "A" else "b") for c in exchange.carried()} == {
        "A": True,
        "B": True,
    }
    assert len(exchange.sent) == 2


@stepped
async def test_at_teardown_a_known_key_signs_and_an_unknown_is_not_looked_up() -> None:
    rig = BrokerRig(signer := Signer())
    rig.challenge(digest())
    await settle()
    bye = rig.challenge(digest(nonce="n2"), how={"method": "BYE"}, fetch=False)
    await settle()
    assert proves(bye.answer(), "right", method="BYE")
    assert len(signer.requests) == 1


# --- refusals -------------------------------------------------------------------------------------------------


@stepped
async def test_A04_a_refused_key_is_evicted_forgotten_and_not_asked_to_sign_again() -> None:
    signer = Signer(key(ref="old"), key(ref="old"), secret="wrong")
    rig = BrokerRig(signer)
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert exchange.why is GiveUp.REFUSED
    assert len(signer.asked) == 1, "the same key under the same name is not even given to sign"
    assert [each.ref for each in signer.forgotten] == ["old"]
    assert signer.requests[-1].rejected is not None and signer.requests[-1].rejected.provider == "p"


@stepped
async def test_A04_another_key_of_the_store_has_its_turn() -> None:
    signer = Signer(key(ref="old"), key(ref="new"), signatures=(Signature("0" * 32),))
    rig = BrokerRig(signer)
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert proves(exchange.answer(), "right")
    assert [name.ref for _, name, _ in signer.asked] == ["old", "new"]
    assert signer.asked[-1][0].attempt == 2


@stepped
async def test_a_late_refusal_does_not_evict_a_newer_key() -> None:
    signer = Signer(key(ref="old"), key(ref="new"))
    rig = BrokerRig(signer, cache_ttl=10.0)
    first = rig.challenge(digest())
    await settle()
    await advance(11.0)
    rig.challenge(digest(nonce="n2"))
    await settle()
    rig.final(first, final(403))
    rig.challenge(digest(nonce="n3"))
    await settle()
    assert [name.ref for _, name, _ in signer.asked] == ["old", "new", "new"]
    assert len(signer.requests) == 2


@stepped
async def test_a_key_is_never_given_to_those_who_keep_secrets() -> None:
    signer = Signer()
    rig = BrokerRig(signer, save=True)
    signer.remember = lambda *args: signer.remembered.append(args)  # type: ignore[attr-defined]
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(200))
    await settle()
    assert signer.remembered == []


# --- what goes wrong ------------------------------------------------------------------------------------------


@stepped
async def test_unavailable_is_asked_to_sign_twice_more_with_growing_pauses() -> None:
    rig = BrokerRig(signer := Signer(signatures=(Unavailable("busy"), Unavailable("busy"))))
    exchange = rig.challenge(digest())
    await settle()
    await advance(0.5)
    assert len(signer.asked) == 2
    await advance(1.0)
    assert proves(exchange.answer(), "right")
    assert {inputs.nc for inputs in signer.inputs} == {"00000001"}, "what was reserved is signed, not something new"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Denied("the agent is locked: unlock it"), GiveUp.NO_CREDENTIALS),
        (NotFound("the key is gone"), GiveUp.NO_CREDENTIALS),
        (Unavailable("busy", retry_after=60.0), GiveUp.NO_CREDENTIALS),
        (Cancelled("no"), GiveUp.ABANDONED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_while_signing_ends_the_challenge_and_nobody_takes_the_signers_place(
    error: ProviderError, why: GiveUp
) -> None:
    @stepped
    async def run() -> None:
        signer, store = Signer(signatures=(error,)), FakeProvider(password("other"), name="store")
        rig = BrokerRig(signer, store)
        exchange = rig.challenge(digest())
        await settle()
        assert exchange.why is why
        (failure,) = rig.failures
        assert (failure.provider, failure.error) == ("p", error)
        assert store.requests == [] and rig.broker.flights == 0
        told = rig.told(AuthProviderNotice)[-1]
        assert (told.provider, told.message) == ("p", str(error))

    run()


@stepped
async def test_after_a_denial_the_key_is_looked_up_again() -> None:
    signer = Signer(signatures=(Denied("locked"),))
    rig = BrokerRig(signer)
    rig.challenge(digest())
    await settle()
    again = rig.challenge(digest(nonce="n2"))
    await settle()
    assert proves(again.answer(), "right"), "a challenge that was denied says nothing about the next"
    assert len(signer.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError(CANARY),
        CANARY,
        Signature("0" * 64),
        Signature("0" * 32, auts=AUTS),
        lambda _: Signature(CANARY),
    ],
    ids=["raises", "text", "length", "auts", "malformed"],
)
def test_a_signers_bug_is_named_without_retry_and_its_text_stays_hidden(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @stepped
    async def run() -> None:
        rig = BrokerRig(signer := Signer(signatures=(answer,)))
        exchange = rig.challenge(digest())
        await settle()
        assert exchange.why is GiveUp.NO_CREDENTIALS
        assert len(signer.asked) == 1
        (failure,) = rig.failures
        assert "provider p is broken" in str(failure.error)
        assert "canary" not in str(failure.error) + repr(rig.notices) + caplog.text

    run()


@stepped
async def test_who_names_a_key_and_cannot_sign_is_broken() -> None:
    rig = BrokerRig(FakeProvider(key()))
    exchange = rig.challenge(digest())
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert "it named a key, and has no sign()" in str(rig.failures[0].error)


@stepped
async def test_a_key_for_other_algorithms_or_another_scheme_is_not_found() -> None:
    for offered, name in ((digest(), key(algorithms=("SHA-256",))), ("Bearer", key())):
        rig = BrokerRig(signer := Signer(name), rig=None)
        how: dict[str, Any] = {}
        if offered == "Bearer":
            how = {"origin": HOME_TLS}
            offered = 'Bearer authz_server="https://as.test"'
        exchange = rig.challenge(offered, how=how)
        await settle()
        assert exchange.why is GiveUp.NO_CREDENTIALS and signer.asked == []
        assert isinstance(rig.failures[0].error, NotFound)


@stepped
async def test_a_cached_key_that_does_not_sign_what_another_challenge_asks_is_said() -> None:
    rig = BrokerRig(Signer(key(algorithms=("MD5",))))
    rig.challenge(digest())
    await settle()
    other = rig.challenge(digest(algorithm="SHA-256", nonce="n2"))
    await settle()
    assert other.why is GiveUp.NO_CREDENTIALS
    assert "does not sign" in str(rig.failures[0].error)


# --- time -----------------------------------------------------------------------------------------------------


@stepped
async def test_a_signer_gets_30_seconds_and_is_then_withdrawn() -> None:
    rig = BrokerRig(signer := Signer(signatures=(HANG,)))
    exchange = rig.challenge(digest())
    await settle()
    await advance(29.0)
    assert exchange.why is None
    await advance(1.5)
    assert exchange.why is GiveUp.DEADLINE
    (request, _, _) = signer.asked[0]
    assert request.cancel.is_set()
    assert str(rig.failures[0].error) == "it did not sign in time"


@stepped
async def test_max_wait_bounds_look_up_and_signature_together() -> None:
    rig = BrokerRig(Signer(HANG, signatures=(HANG,)), max_wait=10.0)
    exchange = rig.challenge(digest())
    await settle()
    await advance(6.0)
    rig.land(result=key())
    await settle()
    await advance(3.9)
    assert exchange.why is None
    await advance(0.2)
    assert exchange.why is GiveUp.DEADLINE


@stepped
async def test_hanging_up_withdraws_what_is_being_signed() -> None:
    rig = BrokerRig(signer := Signer(signatures=(HANG,)))
    exchange = rig.challenge(digest())
    await settle()
    rig.rig.session.revoke(exchange)
    rig.pump()
    assert signer.asked[0][0].cancel.is_set()
    assert len(exchange.sent) == 1
    (job,) = rig.fetch.withdrawn
    assert job.label == "p"


@stepped
async def test_an_answer_of_no_more_use_ends_the_signature() -> None:
    rig = BrokerRig(signer := Signer(signatures=(HANG,)))
    exchange = rig.challenge(digest(), latest=rig.loop.time() + 5.0)
    await settle()
    await advance(5.0)
    assert exchange.why is GiveUp.DEADLINE and signer.asked[0][0].cancel.is_set()


@stepped
async def test_one_realm_that_cannot_be_signed_ends_the_others_signature() -> None:
    a, b = Signer(name="a", signatures=(HANG,)), Signer(name="b", signatures=(Denied("locked"),))
    rig = BrokerRig(a, b)
    rig.chains = {"A": Chain("alice", ("a",)), "B": Chain("alice", ("b",))}
    exchange = rig.challenge(digest("A"), digest("B"))
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert a.asked[0][0].cancel.is_set()


@stepped
async def test_a_full_lane_is_unavailable_and_tried_again() -> None:
    rig = BrokerRig(Signer())
    rig.challenge(digest())
    await settle()
    rig.fetch.refusal = Unavailable("too many stuck providers")
    exchange = rig.challenge(digest(nonce="n2"))
    await settle()
    rig.fetch.refusal = None
    await advance(0.5)
    assert proves(exchange.answer(), "right")


# --- AKA ------------------------------------------------------------------------------------------------------


def sim(**more: Any) -> Signer:
    return Signer(key("imsi@ims.example", algorithms=("AKAv1-MD5",), ref="sim"), secret="RES", name="sim", **more)


def aka_rig(*providers: FakeProvider) -> BrokerRig:
    return BrokerRig(*providers, rig=Rig(asynchronous=True, algorithms=AKA_TOO))


@stepped
async def test_A29_those_who_keep_passwords_are_not_asked_for_a_sims_key_and_nobody_is_prompted() -> None:
    """Fails without the check in Shelf.ask: a keychain would be unlocked, and a person asked, in vain."""
    store, person = FakeProvider(password("x"), name="store"), FakeProvider(password("x"), name="tty", interactive=True)
    rig = aka_rig(store, person)
    for nonce in ("n1", "n2"):  # the second time it is known that tty asks a person
        exchange = rig.challenge(digest(algorithm="AKAv1-MD5", nonce=nonce))
        await settle()
        assert exchange.why is GiveUp.NO_CREDENTIALS
    assert store.requests == [] and person.requests == [] and rig.told(AuthNeeded) == []
    assert rig.ration.left == 3


@stepped
async def test_A29_a_sim_answers_past_the_stores_and_keeps_apart_from_the_password_of_the_same_realm() -> None:
    store, card = FakeProvider(password("right"), name="store"), sim()
    rig = aka_rig(store, card)
    exchange = rig.challenge(digest(algorithm="AKAv1-MD5"))
    await settle()
    assert exchange.answer()["username"] == "imsi@ims.example"
    plain = rig.challenge(digest(nonce="n2"))
    await settle()
    assert proves(plain.answer(), "right")
    assert len(card.asked) == 1


@stepped
async def test_A29_where_no_sim_answers_the_password_is_tried_that_the_realm_takes_too() -> None:
    rig = aka_rig(FakeProvider(password("right"), name="store"))
    exchange = rig.challenge(digest(algorithm="AKAv1-MD5"), digest(algorithm="MD5", nonce="n2"))
    await settle()
    assert proves(exchange.answer(), "right")


@stepped
async def test_A29_a_resynchronisation_is_no_refusal_and_a_third_ends_it() -> None:
    auts = Signature("0" * 32, auts=AUTS)
    rig = aka_rig(card := sim(signatures=(auts, auts, auts)))
    exchange = rig.challenge(digest(algorithm="AKAv1-MD5"))
    await settle()
    for nonce in ("n2", "n3"):
        assert exchange.answer()["auts"] == AUTS
        rig.challenge(digest(algorithm="AKAv1-MD5", nonce=nonce), exchange=exchange)
        await settle()
    assert exchange.why is GiveUp.TOO_MANY_ATTEMPTS
    assert (len(card.requests), len(card.asked), card.forgotten) == (1, 3, [])


@stepped
async def test_A29_a_false_network_abandons_and_the_next_true_one_is_answered() -> None:
    rig = aka_rig(sim(signatures=(Denied("the server does not know the SIM's key"),)))
    exchange = rig.challenge(digest(algorithm="AKAv1-MD5"))
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS and len(exchange.sent) == 1
    again = rig.challenge(digest(algorithm="AKAv1-MD5", nonce="n2"))
    await settle()
    assert "response" in again.answer()


# --- by hand --------------------------------------------------------------------------------------------------


@stepped
async def test_digest_inputs_are_for_the_loop_and_for_an_open_challenge() -> None:
    rig = BrokerRig()
    _, token = rig.rig.pending(digest())
    event = next(event for event in rig.rig.events if isinstance(event, AuthChallenged))
    deferred: Any = DeferredChallenge(Verdict(rig.gate, event.session, token), None, None)  # type: ignore[arg-type]
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            deferred.digest_inputs(key())
        except LocalProtocolError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "call it in the hook" in str(caught[0])
    assert len(deferred.digest_inputs(key())) == 1
    deferred.abandon()
    with pytest.raises(ChallengeGone, match="abandoned"):
        deferred.digest_inputs(key())


# --- on threads -----------------------------------------------------------------------------------------------


class OnThreads(Signer):
    """Signs for the sandbox's alice, and notes where."""

    def __init__(self) -> None:
        super().__init__(secret="wonderland")
        self.threads: list[threading.Thread] = []

    def sign(self, *asked: Any) -> Any:
        self.threads.append(threading.current_thread())
        return super().sign(*asked)


class Later(OnThreads):
    async def sign(self, *asked: Any) -> Any:
        await asyncio.sleep(0)
        return super().sign(*asked)


@pytest.mark.parametrize("kind", [OnThreads, Later], ids=["sign", "async sign"])
def test_a_key_signs_on_a_worker_thread_and_the_registrar_takes_it(kind: type[OnThreads]) -> None:
    @stepped
    async def run() -> None:
        signer = kind()
        async with site(signer) as s:
            await s.account().register()
            assert len(s.box.bindings("alice")) == 1
        assert len(signer.threads) >= 1
        assert threading.main_thread() not in signer.threads

    run()
