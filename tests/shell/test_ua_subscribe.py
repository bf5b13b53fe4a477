"""Subscriptions, publications and messages as a program sees them: agent and sockets, the other side by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sipcli.config import AccountConfig
from sipcli.errors import Declined, LocalProtocolError, NotReachable, Refused
from sipcli.sip.subscriptions.packages.dialoginfo import WatchedDialog
from sipcli.sip.subscriptions.packages.summary import MessageSummary
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from tests.support.agentkit import site
from tests.support.peer import Caller, Heard, response
from tests.support.softphone import eventually

SUMMARY = "application/simple-message-summary"
DIALOGS = "application/dialog-info+xml"


class Notifier(asyncio.DatagramProtocol):
    """A server on loopback: writes down what comes, answers as *answer* says."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answer: Callable[[Heard], bytes | None] = lambda request: response(request, 200, "OK", "Expires: 600")
        self.peer: Caller | None = None
        self._transport: Any = None
        self._client: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        heard = Heard(data)
        self.heard.append(heard)
        self._client = address
        if not heard.is_response and (answer := self.answer(heard)) is not None:
            self.send(answer)

    def send(self, data: bytes) -> None:
        self._transport.sendto(data, self._client)

    @property
    def port(self) -> int:
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def requests(self, method: str) -> list[Heard]:
        return [heard for heard in self.heard if not heard.is_response and heard.method == method]

    def notify(self, event: str, state: str, body: bytes = b"", kind: str = SUMMARY) -> None:
        subscribe = self.requests("SUBSCRIBE")[-1]
        if self.peer is None or self.peer.call_id != subscribe.call_id:
            contact = f"sip:notifier@127.0.0.1:{self.port}"
            self.peer = Caller.called(subscribe, contact=contact)
            self.peer.address = f"127.0.0.1:{self.port}"
        self.send(self.peer.request("NOTIFY", f"Event: {event}", f"Subscription-State: {state}", body=body, kind=kind))


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Notifier, Account, list[Any]]]:
    """The notifier, our account at it, and all that is told."""
    _, notifier = await asyncio.get_running_loop().create_datagram_endpoint(Notifier, local_addr=("127.0.0.1", 0))
    notices: list[Any] = []
    try:
        async with UserAgent() as agent:
            agent.subscribe(notices.append)
            server = SipUri.parse(f"sip:127.0.0.1:{notifier.port};transport=udp")
            config = AccountConfig(
                name="work", aor=SipUri.parse("sip:alice@127.0.0.1"), registrar=server, transport="udp",
                username="alice", credentials=(),
            )  # fmt: skip
            yield notifier, agent.add_account(config), notices
    finally:
        notifier._transport.close()


def told(notices: list[Any], event: str) -> list[Any]:
    return [notice for notice in notices if notice.event == event]


async def test_D05_waiting_messages_are_read_one_by_one() -> None:
    async with served() as (notifier, account, notices):
        subscription = await account.subscribe("alice", "mwi")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        notifier.notify("message-summary", "active;expires=600", b"Messages-Waiting: yes\r\nVoice-Message: 1/2\r\n")
        notifier.notify("message-summary", "active;expires=600", b"Messages-Waiting: no\r\n")
        await asyncio.wait_for(subscription.accepted(), 30)
        first, second = await anext(subscription), await anext(subscription)
        assert isinstance(first.content, MessageSummary)
        assert (first.content.waiting, first.content.counts[0].new, second.content) == (True, 1, MessageSummary(False))
        closing = asyncio.create_task(subscription.close())
        await eventually(lambda: len(notifier.requests("SUBSCRIBE")) == 2)
        assert notifier.requests("SUBSCRIBE")[1].header("expires") == "0"
        notifier.notify("message-summary", "terminated;reason=timeout")
        await closing
        assert [heard.state async for heard in subscription] == ["terminated"]
        assert [notice.state for notice in told(notices, "subscription")] == ["trying", "active", "terminated"]
        assert told(notices, "notification")[0].to_json()["mwi"] == {
            "waiting": True,
            "messages": [{"kind": "voice", "new": 1, "old": 2, "urgent_new": 0, "urgent_old": 0}],
        }


async def test_D05_dialogs_add_up_and_a_gap_asks_for_all_of_it() -> None:
    document = (
        '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{}" state="{}" entity="sip:a@b">'
        '<dialog id="{}"><state>confirmed</state></dialog></dialog-info>'
    )
    async with served() as (notifier, account, _):
        subscription = await account.subscribe("bob", "dialog")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        for version, state, call in ((0, "full", "a"), (1, "partial", "b")):
            notifier.notify("dialog", "active", document.format(version, state, call).encode(), DIALOGS)
        assert (await anext(subscription)).content == (WatchedDialog("a", "confirmed"),)
        content = (await anext(subscription)).content
        assert content == (WatchedDialog("a", "confirmed"), WatchedDialog("b", "confirmed"))
        assert len(notifier.requests("SUBSCRIBE")) == 1
        notifier.notify("dialog", "active", document.format(5, "partial", "c").encode(), DIALOGS)
        await eventually(lambda: len(notifier.requests("SUBSCRIBE")) == 2)


async def test_T23_D05_a_notifier_who_always_leaves_something_out_is_not_asked_as_often_as_he_tells() -> None:
    """Fails without the pace in ``_ask_for_all``; and without the ``del`` beside it, for the tables stay."""
    document = (
        '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{}" state="partial" entity="sip:a@b">'
        '<dialog id="a"><state>confirmed</state></dialog></dialog-info>'
    )
    async with served() as (notifier, account, _):
        subscription = await account.subscribe("bob", "dialog")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        for version in range(0, 40, 2):
            answers = len([heard for heard in notifier.heard if heard.is_response])
            notifier.notify("dialog", "active", document.format(version).encode(), DIALOGS)
            await eventually(lambda n=answers: len([h for h in notifier.heard if h.is_response]) > n)
        assert len(notifier.requests("SUBSCRIBE")) == 2
        notifier.notify("dialog", "terminated;reason=rejected", document.format(40).encode(), DIALOGS)
        await eventually(lambda: subscription.is_over)
        assert not subscription._tables


async def test_T23_D05_a_body_that_cannot_be_read_is_a_warning() -> None:
    async with served() as (notifier, account, notices):
        subscription = await account.subscribe("bob", "dialog")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        notifier.notify("dialog", "active", b"<!DOCTYPE x [<!ENTITY a 'b'>]><dialog-info/>", DIALOGS)
        assert (await anext(subscription)).content is None
        assert "could not be read" in told(notices, "warning")[-1].message


@pytest.mark.parametrize(
    ("reason", "error"), [("rejected", Declined), ("noresource", NotReachable), ("invariant", Refused)]
)
async def test_D04_the_end_of_it_is_an_exception_when_it_is_for_good(reason: str, error: type[Exception]) -> None:
    async with served() as (notifier, account, _):
        subscription = await account.subscribe("bob", "presence")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        notifier.notify("presence", "pending")
        await asyncio.wait_for(subscription.accepted(), 30)
        notifier.notify("presence", f"terminated;reason={reason}")
        with pytest.raises(error, match=reason):
            async for _ in subscription:
                pass


async def test_D04_489_says_what_there_is_instead() -> None:
    async with served() as (notifier, account, _):
        notifier.answer = lambda request: response(request, 489, "Bad Event", "Allow-Events: presence, dialog")
        subscription = await account.subscribe("bob", "mwi")
        with pytest.raises(Refused, match="489") as caught:
            await asyncio.wait_for(subscription.accepted(), 30)
        assert caught.value.hint == "the server notifies of: presence, dialog"


async def test_D04_closing_the_account_unsubscribes() -> None:
    async with served() as (notifier, account, _):
        await account.subscribe("alice", "mwi")
        await eventually(lambda: bool(notifier.requests("SUBSCRIBE")))
        notifier.notify("message-summary", "active;expires=600")
        await eventually(lambda: any(heard.is_response for heard in notifier.heard))
        await account.close(timeout=0.2)
        assert [heard.header("expires") for heard in notifier.requests("SUBSCRIBE")][:2] == ["3600", "0"]


async def test_D05_a_publication_is_modified_and_taken_back() -> None:
    async with served() as (notifier, account, notices):
        count = iter(range(1, 9))
        notifier.answer = lambda request: response(request, 200, "OK", f"SIP-ETag: e{next(count)}", "Expires: 600")
        async with await account.publish("presence", "<a/>", "application/pidf+xml") as publication:
            await asyncio.wait_for(publication.modify("<b/>"), 30)
        first, second, last = notifier.requests("PUBLISH")
        assert (first.body, second.body, last.body) == (b"<a/>", b"<b/>", b"")
        assert (second.header("sip-if-match"), last.header("sip-if-match"), last.header("expires")) == ("e1", "e2", "0")
        states = [notice.state for notice in told(notices, "publication")]
        assert states == ["trying", "published", "published", "removed"]


async def test_D05_a_publication_that_is_refused_raises() -> None:
    async with served() as (notifier, account, _):
        notifier.answer = lambda request: response(request, 489, "Bad Event")
        with pytest.raises(Refused, match="489"):
            await asyncio.wait_for(account.publish("nothing", b"x", "text/plain"), 30)


async def test_D05_is_composing_goes_out_and_comes_in_quietly() -> None:
    async with served() as (notifier, account, notices):
        await asyncio.wait_for(account.composing("bob"), 30)
        (sent,) = notifier.requests("MESSAGE")
        composing = "application/im-iscomposing+xml"
        assert (sent.header("content-type"), b"<state>active</state>" in sent.body) == (composing, True)
        caller = Caller(uri=f"sip:{sent_to(account)}", to="<sip:alice@127.0.0.1>", address=f"127.0.0.1:{notifier.port}")
        for number, (body, kind) in enumerate(
            (
                (sent.body, composing),
                (sent.body.replace(b"active", b"idle"), composing),
                (b"<!DOCTYPE x><isComposing/>", composing),
                (b"<p>hi</p>", "text/html"),
                (
                    b"--b\r\nContent-Type: image/png\r\n\r\n\0\r\n--b\r\n\r\nseen\r\n--b--\r\n",
                    "multipart/mixed;boundary=b",
                ),
            )
        ):
            notifier.send(caller.request("MESSAGE", body=body, kind=kind))
            await eventually(lambda number=number: sum(heard.is_response for heard in notifier.heard) == number + 1)
        assert [(n.state, n.refresh_s) for n in told(notices, "composing")] == [("active", 120), ("idle", None)]
        assert [(n.content_type, n.body) for n in told(notices, "message")] == [
            ("text/html", "<p>hi</p>"),
            ("text/plain", "seen"),
        ]


def sent_to(account: Account) -> str:
    (at,) = [at for at in account.agent.listening if at.transport == "udp"]
    return f"alice@{at.host}:{at.port}"


async def test_D05_info_goes_only_to_who_takes_its_package() -> None:
    async with site(box={"challenged": frozenset()}) as s:
        account = s.account(register=False)
        call = await account.call("echo", audio="null")
        await call.answered(timeout=5)
        with pytest.raises(LocalProtocolError, match="takes no INFO of foo"):
            await call.info("foo", b"x")
        call._answer = call._answer.adding("Recv-Info", "Foo;x=1, bar")  # type: ignore[union-attr]
        assert (await call.info("foo", b"x", "text/plain")).code == 469
        assert s.box.requests("INFO")[-1].find("Info-Package") == "foo"
        await call.hangup()


async def test_D05_waiting_messages_that_the_server_tells_of_unasked() -> None:
    async with served() as (notifier, account, notices):
        done = asyncio.ensure_future(account.register())
        await eventually(lambda: bool(notifier.requests("REGISTER")))
        await done
        pbx = Caller(uri=f"sip:{sent_to(account)}", to="<sip:alice@127.0.0.1>")
        notifier.send(pbx.request("NOTIFY", "Event: message-summary", body=b"Messages-Waiting: yes\r\n", kind=SUMMARY))
        await eventually(lambda: bool(told(notices, "notification")))
        [heard] = told(notices, "notification")
        fields = heard.to_json()
        assert (fields["subscription"], fields["account"], fields["mwi"]["waiting"]) == (None, "work", True)
        notifier.send(pbx.request("NOTIFY", "Event: message-summary", body=b"\xff: ?", kind=SUMMARY))
        await eventually(lambda: bool(told(notices, "warning")))
