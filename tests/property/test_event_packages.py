"""The bodies of NOTIFYs and MESSAGEs from strangers: read, or refused with ParseError, and never expensive (T23)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ParseError
from sipcli.sip.subscriptions.packages.composing import Composing, composing_document, parse_composing
from sipcli.sip.subscriptions.packages.dialoginfo import DialogInfo, DialogTable, WatchedDialog, parse_dialog_info
from sipcli.sip.subscriptions.packages.presence import PresenceContact, PresenceState, parse_presence
from sipcli.sip.subscriptions.packages.summary import MessageCount, MessageSummary, parse_summary
from sipcli.sip.subscriptions.packages.tree import MAX_DEPTH, MAX_ELEMENTS, MAX_OCTETS, parse_xml
from sipcli.sip.syntax.bodies import MAX_PARTS
from sipcli.sip.syntax.letterbody import words_of
from sipcli.sip.syntax.message import Request
from tests.support.speed import least_time

PARSERS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    "presence": ("presence", parse_presence),
    "dialog": ("dialog-info", parse_dialog_info),
    "composing": ("isComposing", parse_composing),
}
LAUGHS = (
    b'<!DOCTYPE %b [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY a%d "%b">' % (n, b"&a%b;" % (b"" if n == 1 else b"%d" % (n - 1)) * 10) for n in range(1, 12))
    + b"]><%b>&a11;</%b>"
)
HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "billion laughs": lambda root: LAUGHS % (root, root, root),
    "external entity": lambda root: (
        b'<!DOCTYPE %b [<!ENTITY x SYSTEM "file:///etc/hosts">]><%b>&x;</%b>' % (root, root, root)
    ),
    "external subset": lambda root: b'<!DOCTYPE %b SYSTEM "http://198.51.100.1/x.dtd"><%b/>' % (root, root),
    "parameter entity": lambda root: b'<!DOCTYPE %b [<!ENTITY %% p "x"> %%p;]><%b/>' % (root, root),
    "a megabyte": lambda root: b"<%b>%b</%b>" % (root, b"x" * 2**20, root),
    "a megabyte of elements": lambda root: b"<%b>%b</%b>" % (root, b"<a/>" * 2**18, root),
    "many elements": lambda root: b"<%b>%b</%b>" % (root, b"<a/>" * (MAX_ELEMENTS + 1), root),
    "deep": lambda root: b"<%b>%b" % (root, b"<a>" * (MAX_DEPTH + 1)),
    "unfinished": lambda root: b"<%b" % root,
    "nothing": lambda root: b"",
    "another root": lambda root: b"<html/>",
    "an entity nobody declared": lambda root: b"<%b>&nbsp;</%b>" % (root, root),
    "two roots": lambda root: b"<%b/><%b/>" % (root, root),
    "another encoding": lambda root: b"<?xml version='1.0' encoding='utf-7'?><%b>\xff</%b>" % (root, root),
    "a NUL": lambda root: b"<%b>\0</%b>" % (root, root),
}  # fmt: skip


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("attack", HOSTILE)
def test_T23_D05_hostile_xml_is_refused_at_once(kind: str, attack: str) -> None:
    """Fails without the bounds in ``parse_xml``."""
    root, parse = PARSERS[kind]
    octets = HOSTILE[attack](root.encode())

    def refused() -> None:
        with pytest.raises(ParseError):
            parse(octets)

    assert least_time(refused) < 0.5


def test_T23_D05_a_document_type_is_refused_whatever_it_holds() -> None:
    """Fails without ``StartDoctypeDeclHandler`` in ``parse_xml``: expat itself stops only what grows absurdly."""
    with pytest.raises(ParseError, match="document type"):
        parse_xml(b'<!DOCTYPE a SYSTEM "http://198.51.100.1/x.dtd"><a/>', "a")
    with pytest.raises(ParseError, match="document type"):
        parse_xml(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a")


@given(st.binary(max_size=4000))
def test_D05_any_octets_are_read_or_refused(octets: bytes) -> None:
    for parse in (parse_presence, parse_dialog_info, parse_composing, parse_summary):
        try:
            parse(octets)
        except ParseError:
            pass


names = st.sampled_from(
    [
        "presence",
        "tuple",
        "status",
        "basic",
        "note",
        "contact",
        "person",
        "activities",
        "dialog-info",
        "dialog",
        "state",
        "local",
        "remote",
        "identity",
        "target",
        "duration",
        "isComposing",
        "refresh",
    ]
)
texts = st.text(st.characters(blacklist_characters="<&\r\0", blacklist_categories=("Cs", "Cc")), max_size=20)
elements = st.recursive(
    st.builds(lambda name, text: f"<{name}>{text}</{name}>", names, texts),
    lambda inner: st.builds(
        lambda name, parts, n: f"<{name} id='{n}' version='{n}' state='full'>{''.join(parts)}</{name}>",
        names,
        st.lists(inner, max_size=4),
        st.integers(0, 2**33),
    ),
    max_leaves=25,
)


@given(elements)
def test_D05_any_nesting_of_known_elements_is_read_or_refused(document: str) -> None:
    for parse in (parse_presence, parse_dialog_info, parse_composing):
        try:
            parse(document.encode())
        except ParseError:
            pass


def test_D05_a_tree_as_large_as_allowed_is_read() -> None:
    deep = b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH
    assert parse_xml(deep, "a").children[0].name == "a"
    wide = b"<a>%b</a>" % (b"<b/>" * (MAX_ELEMENTS - 1))
    assert len(parse_xml(wide, "a").children) == MAX_ELEMENTS - 1
    assert len(parse_xml(b"<a>%b</a>" % (b"x" * (MAX_OCTETS - 7)), "a").text) == MAX_OCTETS - 7


# -- what the RFCs show --------------------------------------------------------------------------------


def test_D05_a_message_summary_of_the_rfc() -> None:
    """RFC 3842 section 4.1, and its counters at their ends (section 3.5)."""
    body = (
        b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 4/8 (1/2)\r\n"
        b"fax-message : 99999999999999999999/0\r\nX-Other: 1/2\r\n"
        b"Text-Message: 00000000000000000007/1000000000\r\n\r\n"
        b"To: <alice@atlanta.example.com>\r\nText-Message: 9/9\r\n"
    )
    assert parse_summary(body) == MessageSummary(
        True,
        "sip:alice@vmail.example.com",
        (
            MessageCount("voice", 4, 8, 1, 2),
            MessageCount("fax", 2**32 - 1, 0),
            MessageCount("text", 7, 10**9),
        ),
    )
    assert parse_summary(b"messages-waiting: no\n") == MessageSummary(False)


PIDF = b"""<?xml version="1.0" encoding="UTF-8"?>
<impp:presence xmlns:impp="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
  xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:someone@example.com">
  <impp:tuple id="sg89ae"><impp:status><impp:basic>open</impp:basic></impp:status>
    <impp:contact priority="0.8">tel:+09012345678</impp:contact></impp:tuple>
  <impp:tuple id="x"><impp:status><impp:basic>closed</impp:basic></impp:status>
    <impp:note>At home</impp:note></impp:tuple>
  <dm:person id="p"><rpid:activities><rpid:on-the-phone/><rpid:busy/></rpid:activities></dm:person>
</impp:presence>"""


def test_D05_presence_with_activities() -> None:
    assert parse_presence(PIDF) == PresenceState(
        "pres:someone@example.com",
        True,
        "At home",
        ("on-the-phone", "busy"),
        (PresenceContact("sg89ae", True, "tel:+09012345678"), PresenceContact("x", False, None, "At home")),
    )
    assert parse_presence(b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"/>').open is None


def dialogs(version: int, state: str, *rows: tuple[str, str]) -> DialogInfo:
    inner = "".join(f'<dialog id="{row}"><state>{word}</state></dialog>' for row, word in rows)
    return parse_dialog_info(
        f'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}" state="{state}" entity="sip:a@b">'
        f"{inner}</dialog-info>".encode()
    )


def test_D05_dialog_info_of_the_rfc() -> None:
    """RFC 4235 section 4.2, and the state element of section 4.1.2."""
    info = parse_dialog_info(
        b'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full"'
        b' entity="sip:alice@example.com">'
        b'<dialog id="123456" direction="initiator"><state event="rejected" code="486">terminated</state>'
        b'<duration>274</duration><local><identity display="Alice">sip:alice@example.com</identity></local>'
        b'<remote><identity display="Bob">sip:bob@example.org</identity></remote></dialog>'
        b'<dialog><state>early</state></dialog><dialog id="2"><state>unheard-of</state></dialog></dialog-info>'
    )
    bob = WatchedDialog(
        *("123456", "terminated", "initiator", "sip:alice@example.com", "sip:bob@example.org", "Bob"),
        "rejected",
        486,
        274,
    )
    assert info == DialogInfo(1, True, "sip:alice@example.com", (bob,))


def test_D05_partial_dialog_info_adds_up_and_a_gap_is_noticed() -> None:
    """RFC 4235 section 4.3."""
    table = DialogTable()
    assert table.take(dialogs(3, "full", ("a", "early"), ("b", "confirmed")))
    assert table.take(dialogs(4, "partial", ("a", "terminated")))
    assert [(row.id, row.state) for row in table.dialogs] == [("a", "terminated"), ("b", "confirmed")]
    assert table.take(dialogs(3, "full")), "older than what is known: nothing changes"
    assert len(table.dialogs) == 2
    assert not table.take(dialogs(7, "partial", ("c", "trying")))
    assert [row.id for row in table.dialogs] == ["b", "c"]
    assert table.take(dialogs(8, "full"))
    assert table.dialogs == ()
    assert not DialogTable().take(dialogs(0, "partial", ("a", "early")))


@given(st.booleans(), st.integers(0, 10**6))
def test_D05_is_composing_comes_back_as_it_was_said(active: bool, refresh: int) -> None:
    heard = parse_composing(composing_document(active=active, refresh_s=refresh))
    assert heard == (Composing(True, max(refresh, 60)) if active else Composing(False))


# -- the texts of messages -------------------------------------------------------------------------------


def message(content_type: str | None, body: bytes) -> Request:
    headers = [("Content-Type", content_type)] if content_type is not None else []
    return Request.build("MESSAGE", "sip:a@b", headers, body)


def mixed(*parts: tuple[str, bytes], boundary: str = "b1") -> bytes:
    pieces = [
        b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (boundary.encode(), kind.encode(), text) for kind, text in parts
    ]
    return b"".join(pieces) + b"--%b--\r\n" % boundary.encode()


@pytest.mark.parametrize(
    ("kind", "body", "want"),
    [
        ("text/plain", "grüß".encode(), ("text/plain", "grüß", 0)),
        ("text/plain;charset=ISO-8859-1", b"gr\xfc\xdf", ("text/plain", "grüß", 0)),
        ("text/plain;charset=rot13", b"abc", ("text/plain", "abc", 0)),
        ("text/plain", b"\xff", ("text/plain", "\\xff", 0)),
        ("text/html", b"<b>hi</b>", ("text/html", "<b>hi</b>", 0)),
        ("multipart/mixed;boundary=b1", mixed(("image/png", b"\0"), ("text/plain", b"hi")), ("text/plain", "hi", 1)),
        ('multipart/mixed; boundary="b1"', mixed(("text/html", b"<i>"), ("text/plain", b"x")), ("text/plain", "x", 1)),
        ("multipart/mixed;boundary=b1", b"--b1\r\n\r\nbare\r\n--b1--", ("text/plain", "bare", 0)),
        ("multipart/mixed;boundary=b1", mixed(("image/png", b"\0")), None),
        ("multipart/mixed", mixed(("text/plain", b"hi")), None),
        ("multipart/related;boundary=b1", mixed(("text/plain", b"hi")), None),
        ("application/xml", b"<x/>", None),
        (None, b"hi", None),
    ],
)  # fmt: skip
def test_D05_what_a_message_says(kind: str | None, body: bytes, want: tuple[str, str, int] | None) -> None:
    assert words_of(message(kind, body)) == want


def test_D05_a_multipart_in_a_multipart_is_bounded() -> None:
    body = mixed(("text/plain", b"deep"), boundary="n0")
    for n in range(1, 6):
        body = mixed((f"multipart/mixed;boundary=n{n - 1}", body), boundary=f"n{n}")
        found = words_of(message(f"multipart/mixed;boundary=n{n}", body))
        assert (found is not None) is (n < 3)
    many = mixed(*[("image/png", b"x")] * MAX_PARTS, ("text/plain", b"beyond"))
    assert words_of(message("multipart/mixed;boundary=b1", many)) is None


@given(st.binary(max_size=2000), st.sampled_from(["text/plain", "multipart/mixed;boundary=a", 'multipart/mixed;x="']))
def test_D05_any_message_is_read_or_not(body: bytes, kind: str) -> None:
    words_of(message(kind, body))


def test_T23_D05_a_message_of_nothing_but_boundaries_costs_nothing() -> None:
    bad = message("multipart/mixed;boundary=a", b"\r\n--a" * 13000)
    assert least_time(lambda: words_of(bad)) < 0.05
