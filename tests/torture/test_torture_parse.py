"""RFC 4475's 49 and RFC 5118's 12 messages at the parser: taken, refused, and what was read of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import Request, Response, parse_message
from sipcli.sip.syntax.uri import OpaqueUri, SipUri

HERE = Path(__file__).parent
with (HERE / "rfc4475" / "oracle.tsv").open(newline="", encoding="utf-8") as table:
    ORACLE = {row["file"]: row for row in csv.DictReader(table, delimiter="\t")}


def octets(name: str) -> bytes:
    return (HERE / "rfc4475" / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse_message(octets(name))
    assert isinstance(message, Request)
    return message


def response(name: str) -> Response:
    message = parse_message(octets(name))
    assert isinstance(message, Response)
    return message


def refusal(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    return caught.value


def test_the_oracle_and_the_messages_belong_together() -> None:
    assert len(ORACLE) == 49
    assert {path.stem for path in (HERE / "rfc4475").glob("*.dat")} == set(ORACLE)


@pytest.mark.parametrize("name", ORACLE)
def test_R01_taken_or_refused_as_the_oracle_says(name: str) -> None:
    if ORACLE[name]["parse"] == "reject":
        refusal(octets(name))
    else:
        message = parse_message(octets(name))
        again = parse_message(message.to_bytes())
        assert again == message
        assert again.to_bytes() == message.to_bytes()


# What a refusal says, and whether it can be said at all: a response is never answered.
REFUSALS = {
    "badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "scalarlg": None, "quotbal": 400, "ltgtruri": 400,
    "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400, "regbadct": 400, "badaspec": 400, "baddn": 400,
    "badvers": 505, "mismatch01": 400, "mismatch02": 501, "bigcode": None, "insuf": 400, "multi01": 400, "mcl01": 400,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), REFUSALS.items())
def test_a_refused_request_can_be_answered(name: str, status: int | None) -> None:
    assert ORACLE[name]["parse"] == "reject"
    error = refusal(octets(name))
    if status is None:
        assert error.partial is None
        return
    assert error.status == status
    answer = error.partial.reply(error.status, to_tag="ours").to_bytes()
    assert answer.startswith(b"SIP/2.0 %d " % status)
    assert b"\r\nVia:" in answer
    assert answer.endswith(b"Content-Length: 0\r\n\r\n")


def test_R01_every_refusal_is_looked_at() -> None:
    assert set(REFUSALS) == {name for name, row in ORACLE.items() if row["parse"] == "reject"}


# --- what was read -------------------------------------------------------------


def test_wsinv() -> None:
    invite = request("wsinv")
    assert invite.to.tag == "1918181833n"
    assert invite.from_.display == 'J Rosenberg \\"'
    assert invite.from_.tag == "98asjd8"
    assert invite.max_forwards == 68
    assert invite.cseq == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in invite.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert invite.find("subject") == ""
    assert invite.find("NewFangledHeader") == "newfangled value continued newfangled value"
    assert invite.find("unknownheaderwithunusualvalue") == ";;,,;;,;"
    (contact,) = invite.contacts
    assert contact.display == 'Quoted string ""'
    assert (contact.param("newparam"), contact.param("secondparam"), contact.param("q")) == ("newvalue", "", "0.33")
    assert len(invite.body) == 150


def test_intmeth() -> None:
    odd = request("intmeth")
    assert odd.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert odd.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert odd.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert odd.uri.host == "example.com"
    assert odd.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert odd.from_.display == "token1~` token2'+_ token3*%!.-"
    assert odd.from_.tag == "_token~1'+`*%!-."
    assert odd.from_.param("fromParam''~+*_!.-%") == "работающий"
    assert odd.max_forwards == 255
    assert odd.find("extensionHeader-!.%*+_`'~") == "\ufeff大停電"


def test_esc01() -> None:
    invite = request("esc01")
    assert invite.uri.scheme == "sip"
    assert invite.uri.user_text == "sips:user@example.com"
    assert isinstance(invite.to.uri, SipUri)
    assert invite.to.uri.user_text == "user"
    contact = invite.contacts[0].sip_uri
    assert contact.user_text == "caller"
    assert contact.has_param("lr")
    assert contact.param("name") == "value%41"


def test_escnull() -> None:
    register = request("escnull")
    assert [contact.sip_uri.user_text for contact in register.contacts] == ["\0", "\0\0"]
    assert register.to.sip_uri.user_text == "null-\0-null"


def test_esc02() -> None:
    strange = request("esc02")
    assert strange.method == "RE%47IST%45R"
    assert [str(contact.uri) for contact in strange.contacts] == [
        "sip:alias1@host1.example.com",
        "sip:alias3@host3.example.com",
    ]
    assert strange.to.display == "%Z%45"


def test_lwsdisp() -> None:
    assert request("lwsdisp").from_.display == "caller"


def test_longreq() -> None:
    invite = request("longreq")
    assert len(invite.vias) == 34
    assert len(invite.call_id) > 100
    assert invite.contacts[0].sip_uri.host == "host5.example.net"


def test_dblreq() -> None:
    register = request("dblreq")
    assert (register.method, register.body) == ("REGISTER", b"")


def test_semiuri() -> None:
    options = request("semiuri")
    assert options.uri.user_text == "user;par=u@example.net"
    assert options.uri.params == ()
    assert len(options.values("accept")) == 6


def test_transports() -> None:
    assert [via.transport for via in request("transports").vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def test_mpart01() -> None:
    message = request("mpart01")
    assert message.content_type == "multipart/mixed"
    assert len(message.body) == 553
    assert b"\x00" in message.body


def test_reason_phrases() -> None:
    assert response("unreason").reason.startswith("= 2**3 * 5**2 но сто")
    assert (response("noreason").status, response("noreason").reason) == (100, "")


def test_badbranch_has_the_cookie_and_nothing_else() -> None:
    assert request("badbranch").via.branch == "z9hG4bK"


@pytest.mark.parametrize("name", ["unkscm", "novelsc"])
def test_a_scheme_that_is_not_sip(name: str) -> None:
    with pytest.raises(ParseError) as caught:
        _ = request(name).uri
    assert caught.value.status == 416


def test_unksm2() -> None:
    register = request("unksm2")
    assert register.to.uri == OpaqueUri("isbn", "isbn:2983792873")
    assert register.from_.uri == OpaqueUri("http", "http://www.example.com")
    assert register.from_.tag == "3234233"
    assert register.contacts[0].uri == OpaqueUri("name", "name:John_Smith")


def test_bext01() -> None:
    assert request("bext01").require == ("nothingSupportsThis", "nothingSupportsThisEither")
    assert request("bext01").values("proxy-require") == ("noProxiesSupportThis", "norDoAnyProxiesSupportThis")


def test_regaut01() -> None:
    assert request("regaut01").all("authorization") == ("NoOneKnowsThisScheme opaque-data=here",)


def test_whose_parameter() -> None:
    outside, inside = request("cparam01").contacts[0], request("cparam02").contacts[0]
    assert (outside.param("unknownparam"), outside.sip_uri.has_param("unknownparam")) == ("", False)
    assert (inside.param("unknownparam"), inside.sip_uri.has_param("unknownparam")) == (None, True)


def test_regescrt() -> None:
    assert request("regescrt").contacts[0].sip_uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)


def test_zeromf_and_baddate() -> None:
    assert request("zeromf").max_forwards == 0
    assert request("baddate").find("date") == "Fri, 01 Jan 2010 16:00:00 EST"


def test_inv2543() -> None:
    invite = request("inv2543")
    assert (invite.via.branch, invite.from_.tag) == (None, None)
    assert (invite.to.param("user"), invite.to.sip_uri.params) == ("phone", ())
    assert invite.body.startswith(b"v=0\r\n")


def test_baddn_is_refused_for_its_display_name() -> None:
    # As printed it also lacks the end of its header; with one, the comma outside of quotes must still be seen.
    assert "display name" in str(refusal(octets("baddn") + b"\r\n"))


def test_bcast_names_another_host() -> None:
    assert [via.host for via in response("bcast").vias] == ["192.0.2.198", "255.255.255.255"]


# --- RFC 5118 --------------------------------------------------------------------


def ipv6(name: str) -> Request:
    message = parse_message((HERE / "rfc5118" / f"{name}.dat").read_bytes())
    assert isinstance(message, Request)
    return message


def test_R02_all_of_rfc5118_are_here() -> None:
    assert len(list((HERE / "rfc5118").glob("*.dat"))) == 12


def test_R02_ipv6_good() -> None:
    register = ipv6("ipv6-good")
    assert register.uri.host == "2001:db8::10"
    assert (register.via.host, register.via.port) == ("2001:db8::9:1", None)
    assert register.contacts[0].sip_uri.host == "2001:db8::1"


def test_R02_ipv6_bad_has_no_brackets() -> None:
    error = refusal((HERE / "rfc5118" / "ipv6-bad.dat").read_bytes())
    assert (error.status, error.partial.method) == (400, "REGISTER")


def test_where_the_port_stands() -> None:
    assert (ipv6("port-ambiguous").uri.host, ipv6("port-ambiguous").uri.port) == ("2001:db8::10:5070", None)
    assert (ipv6("port-unambiguous").uri.host, ipv6("port-unambiguous").uri.port) == ("2001:db8::10", 5070)


@pytest.mark.parametrize("name", ["via-received-param-with-delim", "via-received-param-no-delim"])
def test_received_with_and_without_brackets(name: str) -> None:
    assert ipv6(name).via.received == "2001:db8::9:255"


def test_addresses_in_the_body_are_no_concern_of_the_header() -> None:
    assert b"c=IN IP6 2001:db8::20" in ipv6("ipv6-in-sdp").body
    assert b"c=IN IP6 2001:db8::1" in ipv6("mult-ip-in-sdp").body
    assert b"c=IN IP4 192.0.2.1" in ipv6("mult-ip-in-sdp").body


def test_both_families_in_one_header() -> None:
    assert [via.sent_by for via in ipv6("mult-ip-in-header").vias] == [
        ("2001:db8::9:1", 6050),
        ("192.0.2.1", 5060),
        ("2001:db8::9:255", 5060),
    ]
    assert ipv6("mult-ip-in-header").vias[2].received == "192.0.2.200"


def test_mapped_addresses() -> None:
    invite = ipv6("ipv4-mapped-ipv6")
    assert [via.host for via in invite.vias] == ["::ffff:192.0.2.10", "::ffff:192.0.2.2"]
    assert invite.contacts[0].sip_uri.host == "::ffff:192.0.2.2"


@pytest.mark.parametrize("name", ["ipv6-correct-abnf-2-colons", "ipv6-bug-abnf-3-colons"])
def test_the_third_colon_is_forgiven(name: str) -> None:
    # RFC 5118 section 4.10: "an implementation must tolerate both".
    assert ipv6(name).uri.user == "user"
    assert ipv6(name).uri.hop.host == "2001:db8::192.0.2.1"
