"""SIP URIs and name-addrs: parts, hops, equivalence (RFC 3261 sections 19.1.1 to 19.1.4)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip.flow import Hop
from sipcli.sip.syntax.uri import NameAddr, OpaqueUri, SipUri, escape_user, parse_addresses, parse_uri


def test_all_parts() -> None:
    uri = SipUri.parse("sips:alice:secretword@[2001:DB8::1]:5070;transport=TCP;lr?Subject=a%20b&to=")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == (
        "sips", "alice", "secretword", "2001:db8::1", 5070,
    )  # fmt: skip
    assert uri.params == (("transport", "TCP"), ("lr", None))
    assert uri.headers == (("Subject", "a%20b"), ("to", ""))
    assert (uri.param("LR"), uri.param("Transport"), uri.param("maddr")) == ("", "TCP", None)
    assert str(uri.aor) == "sips:alice@[2001:db8::1]:5070"
    assert uri.authority == "[2001:db8::1]:5070"


@pytest.mark.parametrize(
    "text",
    [
        "", "sip:", "sip:@h", "sip:a@", "sip:a b@h", "sip:a@h:", "sip:a@h:65536", "sip:a@h:123456", "sip:h;",
        "sip:h;=x", "sip:h;a=", "sip:%4@h", "sip:h?", "sip:h?a", "sip:[::1", "sip:[1:2]", "sip:[::1::2]", "sip:a@b@c",
        "sip:[::1.2.3.999]", "sip:[12345::]", "sip:h<", 'sip:"a"@h', "sip:[1:2:3:4:5:6:7:8:9]", "<sip:a@b>", "sip:é@h",
        "sip:h\n", "sip:/", "sip:a@/",
    ],
)  # fmt: skip
def test_not_a_sip_uri(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["sip:a:never-seen@h", "sips:a:never-seen@h;lr?b=c", "sip:a:never-seen@h h"])
def test_T14_what_is_written_holds_no_password(text: str) -> None:
    """Fails, for what can be read, without the look at the password in ``written``; else, where it quotes the text."""
    with pytest.raises(ParseError, match="password") as caught:
        SipUri.written(text)
    assert "never-seen" not in str(caught.value)
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["tel:+1-201-555-0123", "http://example.com/a?b", "urn:service:sos"])
def test_other_schemes(text: str) -> None:
    assert parse_uri(text) == OpaqueUri(text.partition(":")[0], text)
    with pytest.raises(ParseError) as caught:
        SipUri.parse(text)
    assert caught.value.status == 416


def test_T23_a_uri_has_a_length() -> None:
    with pytest.raises(ParseError):
        SipUri.parse("sip:" + "a" * 2048 + "@h")


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("sip:a@Example.com", Hop("example.com")),
        ("sip:a@h:5080;transport=TCP", Hop("h", 5080, "tcp")),
        ("sip:h;transport=sctp", Hop("h")),
        ("sip:h;transport=WS", Hop("h", None, "ws")),
        ("sips:h;transport=ws", Hop("h", None, "wss", True)),
        ("sips:h", Hop("h", None, "tls", True)),
        ("sips:h;transport=tcp", Hop("h", None, "tls", True)),
        ("sip:h;maddr=[2001:db8::9];transport=udp", Hop("2001:db8::9", None, "udp")),
        ("sip:[::1]:5060", Hop("::1", 5060)),
    ],
)
def test_where_it_leads(text: str, hop: Hop) -> None:
    assert SipUri.parse(text).hop == hop


EQUIVALENT = [  # the RFC's own examples (section 19.1.4)
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob:pw@biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;maddr=192.0.2.1"),
    ("sip:a%40b@h", "sip:a%2540b@h"),
]


@pytest.mark.parametrize(("one", "other"), EQUIVALENT)
def test_equivalent(one: str, other: str) -> None:
    assert SipUri.parse(one).equivalent(SipUri.parse(other))
    assert SipUri.parse(other).equivalent(SipUri.parse(one))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_not_equivalent(one: str, other: str) -> None:
    assert not SipUri.parse(one).equivalent(SipUri.parse(other))
    assert not SipUri.parse(other).equivalent(SipUri.parse(one))


def test_parameters_come_and_go() -> None:
    uri = SipUri.parse("sip:a@h;LR;transport=udp").with_params(transport="tcp", ob=None)
    assert str(uri) == "sip:a@h;LR;transport=tcp;ob"
    assert str(uri.without_param("lr")) == "sip:a@h;transport=tcp;ob"
    assert str(uri.replace(host="x", port=1)) == "sip:a@x:1;LR;transport=tcp;ob"


def test_a_user_from_a_person() -> None:
    assert str(SipUri("sip", escape_user("José #1"), "h")) == "sip:Jos%C3%A9%20%231@h"
    assert SipUri.parse("sip:Jos%C3%A9%20%231@h").user_text == "José #1"


# --- name-addr ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("<sip:a@h>", "", "sip:a@h", None),
        ("sip:a@h;tag=1", "", "sip:a@h", "1"),
        ("Bob <sip:a@h;x=1>;tag=2", "Bob", "sip:a@h;x=1", "2"),
        ('"B, \\"C\\" <d>" <sip:a@h>; tag = 3', 'B, "C" <d>', "sip:a@h", "3"),
        ("Jürgen <sip:a@h>", "Jürgen", "sip:a@h", None),
        ('""<tel:+1>', "", "tel:+1", None),
    ],
)
def test_name_addr(text: str, display: str, uri: str, tag: str | None) -> None:
    address = NameAddr.parse(text)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "<>", "<sip:a@h", '"a <sip:a@h>', '"a" sip:a@h', "a, b <sip:a@h>", "< sip:a@h>", "<sip:a@h >",
        "sip:a@h?x=1", "<sip:a@h>;", "<sip:a@h>;;", "<sip:a@h>x", "<sip:a@h>;tag=\x01", "sip:a@h,b",
    ],
)  # fmt: skip
def test_no_name_addr(text: str) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(text)


def test_B17_a_list_minds_quotes_and_brackets() -> None:
    found = parse_addresses('"a,b" <sip:x,y@h>;q=1 , <sip:c@h>,, sip:d@h')
    assert [str(address.uri) for address in found] == ["sip:x,y@h", "sip:c@h", "sip:d@h"]


def test_a_tag_is_set_in_its_place() -> None:
    assert str(NameAddr.parse("<sip:a@h>;Tag=1;x=2").with_tag("9")) == "<sip:a@h>;Tag=9;x=2"
    assert str(NameAddr.parse("<sip:a@h>").with_tag("9")) == "<sip:a@h>;tag=9"


def test_T13_a_display_name_cannot_break_out() -> None:
    with pytest.raises(ParseError):
        str(NameAddr("a\r\nX: y", SipUri("sip", None, "h")))
    assert str(NameAddr('a"; <b>', SipUri("sip", None, "h"))) == '"a\\"; <b>" <sip:h>'
