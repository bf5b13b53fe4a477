"""A challenge is decided once: by whom, from where, and what everybody else gets (T08)."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from sipcli.credentials import Secret
from sipcli.errors import AgentClosed, ChallengeGone, UnregisteredThread
from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.challenge import DeferredChallenge, DeferredToken, Verdict, VerdictState, labels_of
from tests.support.authkit import asks, digest, password, proves
from tests.support.challengekit import ACCOUNT, ChallengeRig, on_thread
from tests.support.clock import settle, stepped

RIGHT = password("right")


# --- verbs ----------------------------------------------------------------------------------------------------


@stepped
async def test_respond_on_the_loop_answers_at_once() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    assert deferred.is_valid and repr(deferred) == "<DeferredChallenge REGISTER realm='example.com' open>"
    assert deferred.respond(RIGHT) is None
    assert proves(exchange.answer(), "right")
    assert not deferred.is_valid and rig.outcomes == ["answered"]


@stepped
async def test_respond_without_arguments_uses_the_accounts_own() -> None:
    rig = ChallengeRig(password("own"))
    exchange, deferred = rig.deferred()
    deferred.respond()
    assert proves(exchange.answer(), "own")


@stepped
async def test_respond_serves_this_exchange_only() -> None:
    """PJSUA2's respond(creds) replaces the account's credentials for ever; so did the sketch."""
    rig = ChallengeRig(password("own"))
    _, deferred = rig.deferred()
    deferred.respond(RIGHT)
    exchange, deferred = rig.deferred()
    deferred.respond()
    assert proves(exchange.answer(), "own")


@stepped
async def test_respond_with_what_does_not_fit_gives_up_with_the_reason() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    deferred.respond(password("x", realm="elsewhere"))
    assert exchange.why is GiveUp.NO_CREDENTIALS
    exchange, deferred = rig.deferred()
    deferred.respond(wrong := password("wrong"))
    exchange.receive(_401("n2"))
    verdict = Verdict(rig.gate, rig.rig.session, rig.rig.session.pending[0])
    DeferredChallenge(verdict, ACCOUNT, None).respond(wrong)
    assert exchange.why is GiveUp.REFUSED


@stepped
async def test_an_answer_that_breaks_the_core_abandons_and_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    monkeypatch.setattr(rig.rig.session, "reinit_request", lambda *_: 1 / 0)
    monkeypatch.setattr(rig.rig.session, "why_no_plan", lambda *_: None)
    deferred.respond(RIGHT)
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert "the answer cannot be used" in caplog.text


@stepped
async def test_an_answer_that_fails_while_it_is_sent_is_logged_and_not_raised_at_whoever_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His part is done; the exchange has ended by itself."""
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    monkeypatch.setattr(exchange, "resume", lambda: 1 / 0)
    deferred.respond(RIGHT)
    assert "the answer cannot be used" in caplog.text
    assert deferred._verdict.state is VerdictState.ANSWERED


@stepped
async def test_A27_a_plain_text_is_refused_where_it_is_given_and_burns_nothing() -> None:
    """Everybody's first mistake.  Fails without the check before the claim: the challenge was claimed, and nobody
    could answer it any more until its ceiling."""
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    for wrong in ("hunter2-canary", b"hunter2-canary", Secret("hunter2-canary"), None):
        with pytest.raises(TypeError, match="PasswordCredentials") as raised:
            deferred.respond(wrong)
        assert "hunter2" not in str(raised.value)
    assert deferred.is_valid
    deferred.respond(RIGHT)
    assert proves(exchange.answer(), "right")


@stepped
async def test_an_answer_of_which_nothing_can_be_made_abandons(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    for name in ("reinit_request", "why_no_plan"):
        monkeypatch.setattr(rig.rig.session, name, lambda *_: 1 / 0)
    deferred.respond(RIGHT)
    assert exchange.why is GiveUp.NO_CREDENTIALS


@stepped
async def test_abandon_and_give_up_say_why() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    deferred.abandon()
    assert (exchange.why, deferred._verdict.state) == (GiveUp.ABANDONED, VerdictState.ABANDONED)
    exchange, deferred = rig.deferred()
    deferred.give_up(GiveUp.DEADLINE)
    assert (exchange.why, deferred._verdict.state) == (GiveUp.DEADLINE, VerdictState.EXPIRED)
    assert len(exchange.sent) == 1


@stepped
async def test_A27_T08_the_second_verb_is_a_typed_error_and_puts_nothing_on_the_wire() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    deferred.respond(RIGHT)
    for verb in (deferred.respond, deferred.abandon):
        with pytest.raises(ChallengeGone, match="answered already") as raised:
            verb()
        assert raised.value.state == "answered"
    assert len(exchange.sent) == 2


@stepped
async def test_a_registered_thread_answers_and_does_not_wait() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()

    def work() -> None:
        with rig.threads.register("mine"):
            deferred.respond(RIGHT)

    assert on_thread(work) is None
    assert len(exchange.sent) == 1, "claimed, not sent: that is the loop's work"
    assert not deferred.is_valid
    await settle()
    assert proves(exchange.answer(), "right")


@stepped
async def test_A27_T08_an_unregistered_thread_is_told_so_and_burns_nothing() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    for verb in (lambda: deferred.respond(RIGHT), deferred.abandon):
        error = on_thread(verb)
        assert isinstance(error, UnregisteredThread) and error.hint
    assert deferred.is_valid
    deferred.respond(RIGHT)
    assert len(exchange.sent) == 2


@stepped
async def test_T08_after_a_hangup_respond_is_gone_and_nothing_is_sent() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred(method="INVITE")
    rig.hangup(exchange)
    assert not deferred.is_valid
    with pytest.raises(ChallengeGone) as raised:
        deferred.respond(RIGHT)
    assert raised.value.state == "revoked"
    assert (len(exchange.sent), exchange.why) == (1, None)


@stepped
async def test_T08_an_answer_claimed_before_the_hangup_but_not_yet_run_is_dropped_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A known fault of the sketch: a late answer vanished without a word."""
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()

    def work() -> None:
        with rig.threads.register("mine"):
            deferred.respond(RIGHT)

    on_thread(work)
    rig.hangup(exchange)
    await settle()
    assert len(exchange.sent) == 1 and rig.outcomes == ["revoked"]
    assert not caplog.records, "no exception in the loop either"
    with pytest.raises(ChallengeGone):
        deferred.respond(RIGHT)


@stepped
async def test_T08_after_the_ceiling_it_is_expired() -> None:
    rig = ChallengeRig(token_ceiling=10)
    exchange, deferred = rig.deferred()
    with rig.gate.turn():
        rig.rig.session.expire(rig.rig.now + 10)
    assert exchange.why is GiveUp.DEADLINE
    with pytest.raises(ChallengeGone, match="expired"):
        deferred.respond(RIGHT)


@stepped
async def test_T08_after_the_agent_closed_every_verb_says_so() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    rig.gate.closed = True
    for verb in (deferred.respond, deferred.abandon):
        with pytest.raises(AgentClosed):
            verb()
    assert isinstance(on_thread(deferred.respond), AgentClosed)
    assert len(exchange.sent) == 1
    deferred._verdict.state = VerdictState.REVOKED


def test_T08_after_the_loop_closed_every_verb_says_so() -> None:
    async def main() -> tuple[Any, ...]:
        rig = ChallengeRig()
        return rig, *rig.deferred()

    rig, exchange, deferred = asyncio.run(main())
    with pytest.raises(AgentClosed):
        deferred.respond(RIGHT)

    def work() -> None:
        with rig.threads.register("mine"):
            deferred.respond(RIGHT)

    assert isinstance(on_thread(work), AgentClosed)
    assert len(exchange.sent) == 1


def test_a_loop_that_closes_between_the_check_and_the_post_is_a_typed_error() -> None:
    async def main() -> tuple[Any, ...]:
        rig = ChallengeRig()
        return rig, *rig.deferred()

    rig, _, _ = asyncio.run(main())
    with pytest.raises(AgentClosed, match="the loop is closed"):
        rig.gate.run(lambda: None)


@stepped
async def test_what_is_posted_to_an_agent_that_closes_meanwhile_is_not_done() -> None:
    rig = ChallengeRig()
    done: list[int] = []
    on_thread(lambda: rig.gate.run(lambda: done.append(1)))
    rig.gate.closed = True
    await settle()
    assert done == []


# --- revoked --------------------------------------------------------------------------------------------------


@stepped
async def test_on_revoked_is_called_once_on_the_loop_when_it_ends_without_us() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    called: list[bool] = []
    deferred.on_revoked(lambda: called.append(threading.current_thread() is threading.main_thread()))
    rig.hangup(exchange)
    assert called == [True]
    deferred.on_revoked(lambda: called.append(False))  # too late to wait: at once
    assert called == [True, False]


@stepped
async def test_on_revoked_is_not_called_for_our_own_verbs() -> None:
    rig = ChallengeRig()
    called: list[int] = []
    for verb in ("respond", "abandon"):
        _, deferred = rig.deferred()
        deferred.on_revoked(lambda: called.append(1))
        getattr(deferred, verb)()
        deferred.on_revoked(lambda: called.append(2))
    assert called == []


@stepped
async def test_an_abandon_behind_our_back_is_told_too() -> None:
    """Level 1 may decide what level 3 holds: the account closes."""
    rig = ChallengeRig()
    _, deferred = rig.deferred()
    called: list[int] = []
    deferred.on_revoked(lambda: called.append(1))
    with rig.gate.turn():
        rig.rig.session.close()
    assert called == [1]
    with pytest.raises(ChallengeGone, match="abandoned"):
        deferred.respond(RIGHT)


@stepped
async def test_a_callback_that_fails_does_not_keep_the_others_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    called: list[int] = []
    deferred.on_revoked(lambda: called.append(1 // 0))
    deferred.on_revoked(lambda: called.append(1))
    rig.hangup(exchange)
    assert called == [1] and "an on_revoked callback failed" in caplog.text


# --- inside the hook ------------------------------------------------------------------------------------------


@stepped
async def test_the_hooks_challenge_shows_what_was_asked() -> None:
    rig = ChallengeRig()
    _, challenge = rig.hooked(digest(algorithm="SHA-256"))
    assert (challenge.realm, challenge.scheme, challenge.attempt, challenge.rejected) == (
        "example.com",
        "digest",
        1,
        (),
    )
    assert challenge.challenges[0].algorithm == "SHA-256"
    assert challenge.response.status == 401 and challenge.request.method == challenge.method == "REGISTER"
    assert challenge.account is ACCOUNT and challenge.call is None
    assert list(challenge.labels) == ["example.com"]
    assert not challenge.fits() and not challenge.handled
    challenge.abandon()


@stepped
async def test_the_hooks_verbs() -> None:
    rig = ChallengeRig(password("own"))
    exchange, challenge = rig.hooked()
    assert challenge.fits() and challenge.is_valid
    challenge.respond()
    assert challenge.handled and proves(exchange.answer(), "own")
    with pytest.raises(ChallengeGone, match="answered"):
        challenge.defer()
    exchange, challenge = rig.hooked()
    challenge.abandon()
    assert challenge.handled and exchange.why is GiveUp.ABANDONED


@stepped
async def test_deferring_hands_the_decision_over() -> None:
    rig = ChallengeRig()
    exchange, challenge = rig.hooked()
    deferred = challenge.defer()
    assert challenge.handled and not challenge.is_valid and deferred.is_valid
    for verb in (challenge.respond, challenge.abandon, challenge.defer):
        with pytest.raises(ChallengeGone, match="deferred"):
            verb()
    deferred.respond(RIGHT)
    assert len(exchange.sent) == 2


@stepped
async def test_the_hooks_challenge_is_valid_only_inside_the_hook() -> None:
    rig = ChallengeRig()
    _, challenge = rig.hooked()
    challenge.close()
    assert not challenge.is_valid
    with pytest.raises(ChallengeGone, match="declined"):
        challenge.respond(RIGHT)
    rig.rig.session.close()


@stepped
async def test_deferring_from_an_unregistered_thread_is_refused() -> None:
    rig = ChallengeRig()
    _, challenge = rig.hooked()
    assert isinstance(on_thread(challenge.defer), UnregisteredThread)
    assert challenge.is_valid
    challenge.abandon()


@stepped
async def test_level_2_speaks_as_pjsip_does() -> None:
    rig = ChallengeRig()
    exchange, verdict = rig.verdict()
    token = DeferredToken(verdict, ACCOUNT, None)
    token.send_request(RIGHT)
    assert proves(exchange.answer(), "right")
    with pytest.raises(ChallengeGone):
        token.abandon()


@stepped
async def test_every_realm_has_a_label_of_its_own() -> None:
    rig = ChallengeRig()
    _, deferred = rig.deferred(digest("A"), digest("B"))
    labels = labels_of(deferred._verdict.token)
    assert labels == {"A": deferred._verdict.token.id, "B": f"{deferred._verdict.token.id}.2"}
    deferred.abandon()


def _401(nonce: str) -> Any:
    return asks(digest(nonce=nonce))


def test_T14_log_names_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    @stepped
    async def run() -> None:
        rig = ChallengeRig()
        _, deferred = rig.deferred()
        with caplog.at_level(logging.DEBUG):
            deferred.respond(RIGHT)
        assert "right" not in f"{deferred!r}{deferred._verdict!r}"

    run()
    assert "right" not in caplog.text
