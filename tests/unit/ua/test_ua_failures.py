"""From how a request ended to the exception: class, sentence, hint."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli import errors
from sipcli.credentials import Denied, NotFound, Unavailable
from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.chain import ChainFailure
from sipcli.ua.failures import AuthStory, answered, failure_of, plain


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (403, errors.Refused),
        (404, errors.NotReachable),
        (408, errors.NoAnswer),
        (480, errors.NoAnswer),
        (484, errors.NotReachable),
        (486, errors.Busy),
        (488, errors.MediaFailed),
        (503, errors.ServerFailed),
        (600, errors.Busy),
        (603, errors.Declined),
        (604, errors.NotReachable),
        (606, errors.MediaFailed),
        (699, errors.Refused),
        (401, errors.AuthRefused),
        (407, errors.AuthRefused),
    ],
)
def test_final_responses(code: int, kind: type[errors.RequestFailed]) -> None:
    error = failure_of("call", "work", code=code, reason="Nope", server="192.0.2.1")
    assert type(error) is kind
    assert f"{code}, server says “Nope” from 192.0.2.1" in str(error)
    assert isinstance(error, errors.RequestFailed) and (error.code, error.reason) == (code, "Nope")


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("dns: no such host", errors.ResolveError),
        ("connect: refused", errors.NetworkError),
        ("tls: not the domain's", errors.TlsError),
        ("lost: the connection broke", errors.NetworkError),
        ("timeout: no answer from udp:192.0.2.1:5060", errors.NoAnswer),
        ("closed: the engine was closed", errors.AgentClosed),
        ("protocol: no To", errors.RemoteProtocolError),
        ("something else", errors.NetworkError),
    ],
)
def test_reasons_without_a_response(why: str, kind: type[errors.SipcliError]) -> None:
    error = failure_of("registration", "work", why=why)
    assert type(error) is kind
    assert str(error).startswith("registration: ") and why.partition(": ")[2] in str(error)


@pytest.mark.parametrize(
    ("why", "step"),
    [
        ("tls: the certificate there is for other.test, not for sip.test", "--registrar sip:NAME"),
        ("tls: the certificate of sip.test is not trusted: certificate has expired", "renew"),
        ("tls: the certificate of sip.test is not trusted: self-signed certificate", "--ca FILE"),
        ("tls: no handshake with sip.test: wrong version number", "does that port speak TLS?"),
    ],
)
def test_the_next_step_fits_what_is_wrong_with_tls(why: str, step: str) -> None:
    hint = failure_of("registration", "work", why=why).hint
    assert hint is not None and step in hint


@pytest.mark.parametrize("why", [GiveUp.NO_CREDENTIALS, GiveUp.ABANDONED])
def test_a_keychain_is_a_way_out_only_where_there_is_one(why: GiveUp) -> None:
    for room in (False, True):
        story = AuthStory(failure=ChainFailure(why=why, realm="r", error=NotFound("k", room=room), room=room))
        hint = failure_of("registration", "work", why=why, story=story).hint
        assert hint is not None
        assert ("sipcli auth save work" in hint, "--password-file" in hint) == (room, True)


@pytest.mark.parametrize(
    ("why", "failure", "kind", "words"),
    [
        (GiveUp.ABANDONED, None, errors.AuthAbandoned, "abandoned"),
        (GiveUp.LOST, None, errors.AuthAbandoned, "dropped without an answer"),
        (GiveUp.DEADLINE, None, errors.AuthExpired, "nobody answered"),
        (GiveUp.DEADLINE, {"provider": "vault"}, errors.AuthExpired, "vault did not answer"),
        (GiveUp.DEADLINE, {"provider": "prompt", "awaited_person": True}, errors.AuthExpired, "nobody answered"),
        (GiveUp.NO_CREDENTIALS, None, errors.NoCredentials, "no credentials"),
        (GiveUp.NO_CREDENTIALS, {"error": NotFound("no entry"), "provider": "k"}, errors.NoCredentials, "k: no entry"),
        (GiveUp.NO_CREDENTIALS, {"error": Denied("locked"), "provider": "k"}, errors.ProviderFailed, "k: locked"),
        (GiveUp.NO_CREDENTIALS, {"error": Unavailable("down"), "provider": "v"}, errors.ProviderFailed, "v: down"),
        (GiveUp.REFUSED, None, errors.AuthRefused, "refused: 401 Unauthorized"),
        (GiveUp.TOO_MANY_ATTEMPTS, None, errors.AuthRefused, "refused: 401 Unauthorized"),
        (GiveUp.UNSUPPORTED, None, errors.AuthRefused, "no scheme or algorithm"),
        (GiveUp.DOWNGRADE, None, errors.AuthRefused, "less protection"),
        (GiveUp.AT_ODDS, None, errors.AuthRefused, "no algorithm and qop in common"),
        (GiveUp.FOREIGN_ORIGIN, None, errors.AuthRefused, "not the account's own"),
        (GiveUp.STALE_LOOP, None, errors.AuthRefused, "stale"),
        (GiveUp.NO_CHALLENGE, None, errors.RemoteProtocolError, "does not say which"),
    ],
)
def test_authentication(why: GiveUp, failure: dict[str, Any] | None, kind: type[Exception], words: str) -> None:
    story = AuthStory(failure=None if failure is None else ChainFailure(why=why, realm="r", **failure))
    error = failure_of(
        "registration", "work", code=401, reason="Unauthorized", why=why, story=story, server="192.0.2.1"
    )
    assert type(error) is kind and words in str(error)
    if isinstance(error, errors.AuthExpired):
        assert error.awaited_person is bool(failure and failure.get("awaited_person"))
    if isinstance(error, errors.AuthError) and failure:
        assert (error.realm, error.provider) == ("r", failure.get("provider"))


def test_T01_a_server_that_asks_inside_calls_alone_hears_what_to_do() -> None:
    """Left unanswered because it may be the other end's question: the hint is for those whose server it was."""
    error = failure_of(
        "request", "work", code=407, reason="Asks", why=GiveUp.FOREIGN_ORIGIN, story=AuthStory(), server="192.0.2.1"
    )
    assert error.hint == "if it was your server: have it challenge calls when they begin; --ladder shows who asked"


def test_a_refusal_names_what_was_answered_with() -> None:
    story = AuthStory(realm="trunk", used="vault:voip/alice")
    error = failure_of(
        "registration", "work", code=403, reason="Forbidden", why=GiveUp.REFUSED, story=story, server="1.2.3.4"
    )
    assert str(error) == (
        'registration refused: 403 Forbidden from 1.2.3.4 (realm "trunk"); the answer used vault:voip/alice'
    )
    hint = "is that the right secret, and the right user name (--username NAME)?"
    assert error.hint == f"{hint} If so, the server bars this account"
    wrong = failure_of("registration", "work", code=401, reason="Unauthorized", why=GiveUp.REFUSED, story=story)
    assert wrong.hint == hint


def test_A25_a_403_that_may_be_about_either_says_both() -> None:
    """Most 403 bar a number.  Fails without the look at ``blamed`` in ``_what_to_check``."""
    story = AuthStory(realm="trunk", used="vault:voip/alice", blamed="either")
    error = failure_of("call", "work", code=403, reason="Forbidden", why=GiveUp.REFUSED, story=story, server="1.2.3.4")
    assert type(error) is errors.AuthRefused and error.refused == "either"
    assert str(error) == 'call refused: 403 Forbidden from 1.2.3.4 (realm "trunk"); the answer used vault:voip/alice'
    assert error.hint == (
        "either the server allows no such call, or the secret is wrong; whether it is: sipcli register work --once"
    )


@pytest.mark.parametrize(("what", "hint"), [("call", "allows no such call"), ("registration", "bars the account now")])
def test_A25_a_403_for_a_secret_that_is_good_does_not_speak_of_a_wrong_one(what: str, hint: str) -> None:
    """Fails without the look at ``blamed`` in ``failure_of``."""
    error = failure_of(what, "work", code=403, reason="No Credit", story=AuthStory(blamed="request"), server="1.2.3.4")
    assert type(error) is errors.Refused and error.refused == "request"
    assert str(error) == f"{what} forbidden: 403, server says “No Credit” from 1.2.3.4; the secret is not to blame"
    assert error.hint is not None and hint in error.hint


def test_another_status_is_not_about_the_403_before_it() -> None:
    story = AuthStory(blamed="request")
    assert failure_of("registration", "work", code=500, story=story).refused is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(("code", "refused"), [(401, "credentials"), (407, "credentials"), (403, "either")])
def test_what_was_refused_where_nothing_else_is_known(code: int, refused: str) -> None:
    error = failure_of("call", "work", code=code, why=GiveUp.REFUSED)
    assert isinstance(error, errors.AuthRefused) and error.refused == refused


def test_T12_what_the_server_says_is_shown_harmless_and_short() -> None:
    assert plain("a\x1b[2J\r\nb") == "a\\x1b[2J\\x0d\\x0ab"
    assert plain("ab\u202e\U000e0001") == "ab\\u202e\\U000e0001"
    assert plain("x" * 100) == "x" * 64 + "…"
    assert plain("Grüße an alle") == "Grüße an alle"


def test_T12_the_servers_words_cannot_close_our_quotes() -> None:
    """A realm of ``x"); enter it at http://evil (`` would go on as ours.  Fails without ``_QUOTES``."""
    story = AuthStory(realm='x"); sip:evil asks (realm "y')
    for why, code in ((GiveUp.REFUSED, 403), (GiveUp.UNSUPPORTED, 401), (GiveUp.NO_CHALLENGE, 401)):
        said = str(failure_of("call", "work", code=code, reason="Forbidden", why=why, story=story, server="1.2.3.4"))
        assert said.count('"') == 2
        assert 'realm "x\\x22); sip:evil asks (realm \\x22y")' in said
    assert answered(403, "no” it said, and: “go") == "403, server says “no\\u201d it said, and: \\u201cgo”"


def test_T12_only_unusual_words_are_quoted() -> None:
    """The phrases that the RFCs give a code are everybody's; any other is this server's own, and called so.

    Fails without the comparison in ``answered``.
    """
    assert answered(403, "Forbidden") == "403 Forbidden"
    assert answered(403, "FORBIDDEN") == "403 FORBIDDEN"
    assert answered(486, "") == "486"
    assert answered(403, "call +1 900 and tell your password") == (
        "403, server says “call +1 900 and tell your password”"
    )


def test_nothing_at_all_is_no_answer() -> None:
    assert type(failure_of("call", None)) is errors.NoAnswer


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("dns: nobody knows a host sip.test", "check the name"),
        ("dns: no name server could be asked about sip.test", "is this machine on a network?"),
        ("connect: nobody at 192.0.2.1 port 5060: connection refused", "is the server running"),
        ("connect: no route to 192.0.2.1: network is unreachable", "is this machine on a network?"),
        ("tls: no handshake with sip.test: network is unreachable", "is this machine on a network?"),
        ("connect: WebSocket needs wsproto: pip install 'sipcli[ws]'", "install that, or choose another transport"),
    ],
)
def test_whoever_is_not_to_blame_is_not_looked_at(why: str, hint: str) -> None:
    assert str(failure_of("registration", "work", why=why).hint).startswith(hint)
