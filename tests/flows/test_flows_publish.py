"""Publications on a stepped clock: entity-tags, refreshes, and what a server forgets (RFC 3903)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.subscriptions.publication import Publication, PublicationState
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import Gate, Heard, Wire, response

ALICE = SipUri.parse("sip:alice@example.com")
KIND = "application/pidf+xml"


class Desk:
    """We, who publish; the server is the test."""

    def __init__(self, wire: Wire | None = None, expires: int = 600) -> None:
        self.wire = wire or Wire()
        engine = self.wire.engine
        self.publication: Publication = self.wire.do(
            lambda: engine.publish("work", ALICE, "presence", b"<open/>", KIND, expires=expires)
        )
        self.first = self.wire.one()

    def take(self, request: Heard, etag: str = "e1", expires: int = 600) -> None:
        self.wire.deliver(response(request, 200, "OK", f"SIP-ETag: {etag}", f"Expires: {expires}"))

    def request(self) -> Heard:
        wire = self.wire
        while not (sent := wire.take()):
            when = wire.engine.next_timer()
            assert when is not None
            wire.run(max(0.0, when - wire.clock))
        return sent[0]

    @property
    def told(self) -> list[Any]:
        return self.wire.told(events.PublicationChanged)

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.told]


def said(request: Heard) -> tuple[str, str | None, bytes]:
    match = request.all("sip-if-match")
    return request.header("expires"), match[0] if match else None, request.body


def published(**options: Any) -> Desk:
    desk = Desk(**options)
    desk.take(desk.first)
    return desk


def test_D05_a_publication_is_made_refreshed_modified_and_removed() -> None:
    """Table 1 of RFC 3903 section 4.1, row by row; each answer's entity-tag is the next request's condition."""
    desk = Desk()
    assert (desk.first.method, desk.first.uri, desk.first.header("event")) == (
        "PUBLISH",
        "sip:alice@example.com",
        "presence",
    )
    assert said(desk.first) == ("600", None, b"<open/>")
    desk.take(desk.first, "e1")
    began = desk.wire.clock
    refresh = desk.request()
    assert (said(refresh), desk.wire.clock - began) == (("600", "e1", b""), 480)
    assert not refresh.has("content-type")
    desk.take(refresh, "e2")
    desk.wire.do(lambda: desk.publication.modify(b"<closed/>", KIND))
    modify = desk.wire.one()
    assert said(modify) == ("600", "e2", b"<closed/>")
    desk.take(modify, "e3")
    desk.wire.do(desk.publication.remove)
    remove = desk.wire.one()
    assert said(remove) == ("0", "e3", b"")
    desk.wire.deliver(response(remove, 200, "OK", "Expires: 0"))
    assert desk.states == ["trying", "published", "published", "published", "removed"]
    desk.wire.drain()


def test_D05_412_discards_the_tag_and_publishes_anew() -> None:
    desk = published()
    refresh = desk.request()
    desk.wire.deliver(response(refresh, 412, "Conditional Request Failed"))
    anew = desk.wire.one()
    assert said(anew) == ("600", None, b"<open/>")
    desk.take(anew, "e9")
    assert (desk.publication.etag, desk.states) == ("e9", ["trying", "published", "published"])


def test_D05_412_to_what_had_no_condition_is_a_failure_and_no_loop() -> None:
    desk = Desk()
    desk.wire.deliver(response(desk.first, 412, "Conditional Request Failed"))
    assert (desk.states, desk.wire.silent()) == (["trying", "failed"], True)


def test_D05_only_one_publish_is_under_way_and_the_latest_word_wins() -> None:
    desk = Desk()
    for word in (b"2", b"3"):
        desk.wire.do(lambda word=word: desk.publication.modify(word, KIND))
    assert desk.wire.silent()
    desk.take(desk.first, "e1")
    assert said(desk.wire.one()) == ("600", "e1", b"3")


def test_D05_423_asks_for_longer_once() -> None:
    desk = Desk(expires=5)
    desk.wire.deliver(response(desk.first, 423, "Interval Too Brief", "Min-Expires: 60"))
    again = desk.wire.one()
    assert said(again) == ("60", None, b"<open/>")
    desk.wire.deliver(response(again, 423, "Interval Too Brief", "Min-Expires: 600"))
    assert (desk.states[-1], desk.wire.silent()) == ("failed", True)


@pytest.mark.parametrize(("status", "state"), [(403, "refused"), (489, "failed"), (503, "failed")])
def test_D05_the_first_failure_is_the_last(status: int, state: str) -> None:
    desk = Desk(Wire(registrar="sip:192.0.2.1"))
    desk.wire.deliver(response(desk.first, status, "No"))
    assert desk.states == ["trying", state]
    desk.wire.drain()


def test_D05_what_was_published_once_is_tried_again_whole() -> None:
    desk = published()
    desk.wire.deliver(response(desk.request(), 500, "Oops", "Retry-After: 300"))
    assert (desk.told[-1].state, desk.told[-1].retry_in_s) == ("retrying", 300)
    again = desk.request()
    assert said(again) == ("600", "e1", b"<open/>")
    desk.wire.deliver(response(again, 412, "Conditional Request Failed"))
    desk.take(desk.wire.one(), "e2")
    assert desk.publication.state is PublicationState.PUBLISHED


def test_D05_a_server_without_entity_tags_is_a_failure() -> None:
    desk = Desk()
    desk.wire.deliver(response(desk.first, 200, "OK", "Expires: 600"))
    assert (desk.told[-1].state, "SIP-ETag" in desk.told[-1].why) == ("failed", True)


def test_D05_removing_while_the_first_is_under_way_waits_for_it() -> None:
    desk = Desk()
    desk.wire.do(desk.publication.remove)
    assert desk.wire.silent()
    desk.take(desk.first, "e1")
    remove = desk.wire.one()
    assert said(remove) == ("0", "e1", b"")
    desk.wire.deliver(response(remove, 412, "Conditional Request Failed"))
    assert desk.states == ["trying", "removed"]


def test_D05_nobody_is_asked_for_the_sake_of_a_removal() -> None:
    """Whoever leaves may not be there any more: only what is known already answers."""
    desk, gate = Desk(), Gate(proxy=True)
    desk.wire.deliver(gate.ask(desk.first))
    desk.wire.respond()
    desk.take(desk.wire.one())
    desk.wire.do(desk.publication.remove)
    desk.wire.deliver(Gate(proxy=True).ask(desk.wire.one()))
    assert [asked.token.exchange.interactive for asked in desk.wire.told(AuthChallenged)] == [True, False]


def test_D05_a_challenged_publish_is_answered_and_removed_with_its_account() -> None:
    desk, gate = Desk(), Gate(proxy=True)
    desk.wire.deliver(gate.ask(desk.first))
    desk.wire.respond()
    again = desk.wire.one()
    assert (gate.admits(again), said(again)) == (True, said(desk.first))
    desk.take(again)
    desk.wire.do(lambda: desk.wire.engine.remove_account("work"))
    assert (desk.states[-1], desk.wire.silent()) == ("removed", True)
    desk.wire.drain()
