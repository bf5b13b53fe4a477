"""One message in all the forms that RFC 3261 section 7.3 allows it, and what is read from each (B17)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import Request, parse_message

PLAIN = (
    "Via: SIP/2.0/UDP [2001:db8::9]:5061;branch=z9hG4bK1;rport",
    "Via: SIP/2.0/TCP far.example.com;branch=z9hG4bK0",
    'From: "Bob \\"the \\\\ B\\" <sip:x@y>, Jr." <sip:bob@example.net>;tag=b',
    "To: <sip:alice@[2001:db8::1]:5070>",
    "Call-ID: one",
    "CSeq: 7 INVITE",
    "Contact: <sip:bob@[2001:db8::9]:5061;transport=tcp>",
    "Route: <sip:p1.example.com;lr>",
    "Route: <sip:p2.example.com;lr>",
    "Supported: timer",
    "Supported: 100rel",
    "Content-Type: application/sdp",
    "Subject: tea and cake",
)
COMPACT = {
    "Via": "v",
    "From": "f",
    "To": "t",
    "Call-ID": "i",
    "Contact": "m",
    "Supported": "k",
    "Content-Type": "c",
    "Subject": "s",
}


def parsed(*lines: str, length: str = "Content-Length: 0") -> Request:
    text = "\r\n".join(("INVITE sip:alice@[2001:db8::1]:5070 SIP/2.0", *lines, length, "", ""))
    message = parse_message(text.encode())
    assert isinstance(message, Request)
    return message


def read(message: Request) -> tuple[object, ...]:
    return (
        message.uri,
        message.vias,
        (message.from_.display, str(message.from_.uri), message.from_.tag),
        (str(message.to.uri), message.to.tag),
        message.call_id,
        message.cseq,
        [str(contact.uri) for contact in message.contacts],
        [str(route.uri) for route in message.routes],
        message.supported,
        message.content_type,
        message.find("Subject"),
    )


def each(change: str) -> tuple[str, ...]:
    match change:
        case "compact":
            return tuple(f"{COMPACT.get(name, name)}: {value}" for name, value in split())
        case "upper case":
            return tuple(f"{name.upper()}: {value}" for name, value in split())
        case "lower case":
            return tuple(f"{name.lower()}:{value}" for name, value in split())
        case "spaces":
            return tuple(f"{name} \t:  \t{value} \t" for name, value in split())
        case "folded":
            return tuple(f"{name}:\r\n {value}" for name, value in split())
        case "folded by a tab":
            return tuple(f"{name}: \r\n\t {value}" for name, value in split())
        case "folded inside":
            return tuple(line.replace(";", "\r\n ;") if "<" not in line else line for line in PLAIN)
        case _:
            lists = {"Via": [], "Route": [], "Supported": []}  # type: dict[str, list[str]]
            rest = []
            for name, value in split():
                lists[name].append(value) if name in lists else rest.append(f"{name}: {value}")
            return (*rest, *(f"{name}: {' , '.join(values)}" for name, values in lists.items()))


def split() -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in PLAIN)]


@pytest.mark.parametrize(
    "change",
    ["compact", "upper case", "lower case", "spaces", "folded", "folded by a tab", "folded inside", "comma lists"],
)
def test_B17_every_form_says_the_same(change: str) -> None:
    assert each(change) != PLAIN
    assert read(parsed(*each(change))) == read(parsed(*PLAIN))


def test_B17_what_it_says() -> None:
    message = parsed(*PLAIN)
    assert (message.uri.host, message.uri.port) == ("2001:db8::1", 5070)
    assert [(via.host, via.port) for via in message.vias] == [("2001:db8::9", 5061), ("far.example.com", None)]
    assert message.from_.display == 'Bob "the \\ B" <sip:x@y>, Jr.'
    assert (str(message.from_.uri), message.from_.tag) == ("sip:bob@example.net", "b")
    assert message.contacts[0].sip_uri.hop.host == "2001:db8::9"
    assert message.supported == ("timer", "100rel")
    assert parse_message(message.to_bytes()) == message


def test_B17_a_method_and_a_tag_have_their_case_and_schemes_hosts_and_names_have_none() -> None:
    """Section 7.3.1: what is a token of a field is compared without case, unless its definition says otherwise."""
    assert parsed(*PLAIN).uri == parse_message(parsed(*PLAIN).to_bytes().replace(b"sip:alice@", b"SIP:alice@")).uri  # type: ignore[union-attr]
    lines = tuple(line.replace("application/sdp", "APPLICATION/Sdp").replace(";tag=b", ";TAG=b") for line in PLAIN)
    assert (parsed(*lines).content_type, parsed(*lines).from_.tag) == ("application/sdp", "b")
    text = parsed(*PLAIN).to_bytes()
    lower = parse_message(text.replace(b"INVITE", b"invite"))
    assert isinstance(lower, Request)
    assert (lower.method, lower.cseq.method) == ("invite", "invite"), "another method than INVITE"


@pytest.mark.parametrize("length", ["Content-Length: 9", "l: 9"])
def test_B16_a_datagram_that_is_shorter_than_it_says_is_refused(length: str) -> None:
    with pytest.raises(ParseError):
        parsed(*PLAIN, length=length)
