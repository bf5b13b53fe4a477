"""Whatever comes in, only ParseError comes out; what is written is read; cuts do not matter; time is linear (T24)."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipcli.errors import ParseError
from sipcli.sip.calls.refer import read_refer
from sipcli.sip.calls.replaces import Replaces
from sipcli.sip.calls.transfer import status_of
from sipcli.sip.syntax import grammar
from sipcli.sip.syntax.framing import KEEPALIVE, Ping, StreamFramer
from sipcli.sip.syntax.headers import CSeq, Via
from sipcli.sip.syntax.message import Message, Request, Response, parse_message
from sipcli.sip.syntax.uri import NameAddr, SipUri, escape_user, parse_addresses, parse_uri
from tests.support.speed import least_time

TORTURE = sorted((Path(__file__).parent.parent / "torture").glob("*/*.dat"))
SEEDS = [path.read_bytes() for path in TORTURE]

tokens = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
users = st.text(min_size=1, max_size=16).map(escape_user)
passwords = st.none() | st.text(string.ascii_letters + "&=+$,", max_size=8)
hosts = st.sampled_from(["example.com", "a", "h-1.example", "192.0.2.7", "2001:db8::1", "::1", "my_host"])
ports = st.none() | st.integers(0, 65535)
uri_params = st.lists(
    st.tuples(tokens.filter(lambda t: "`" not in t and "%" not in t and "+" not in t), st.none() | st.just("v:1")),
    max_size=3,
).map(tuple)
uri_headers = st.lists(st.tuples(st.sampled_from(["subject", "to"]), st.sampled_from(["", "a%20b"])), max_size=2).map(
    tuple
)
uris = st.builds(
    lambda scheme, user, password, host, port, params, headers: SipUri(
        scheme, user, host, port, params, headers, password if user is not None else None
    ),
    st.sampled_from(["sip", "sips"]),
    st.none() | users,
    passwords,
    hosts,
    ports,
    uri_params,
    uri_headers,
)
quotable = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
header_params = st.lists(
    st.tuples(tokens, st.none() | tokens | quotable.map(grammar.quote)),
    max_size=3,
    unique_by=lambda pair: pair[0].lower(),
).map(tuple)
addresses = st.builds(NameAddr, quotable, uris, header_params)
plain_values = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=30).map(str.strip)


@given(uris)
def test_uri_identity(uri: SipUri) -> None:
    assert SipUri.parse(str(uri)) == uri
    assert uri.equivalent(SipUri.parse(str(uri)))


@given(addresses)
def test_address_identity(address: NameAddr) -> None:
    assert NameAddr.parse(str(address)) == address


@given(st.lists(addresses, min_size=1, max_size=4))
def test_address_list_identity(many: list[NameAddr]) -> None:
    assert parse_addresses(", ".join(map(str, many))) == tuple(many)


@given(st.builds(Via, st.sampled_from(["UDP", "TCP", "TLS"]), hosts, ports, header_params))
def test_via_identity(via: Via) -> None:
    assert Via.parse(str(via)) == via


@given(quotable)
def test_quoting_identity(text: str) -> None:
    assert grammar.take_quoted(grammar.quote(text) + " rest") == (text, " rest")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method = draw(st.sampled_from(["INVITE", "OPTIONS", "FOO"]))
    uri = draw(uris.map(lambda uri: uri.replace(headers=())))
    headers = [
        ("Via", str(draw(st.builds(Via, st.just("UDP"), hosts, ports, header_params)))),
        ("From", str(draw(addresses))),
        ("t", str(draw(addresses))),
        ("Call-ID", draw(tokens)),
        ("CSeq", f"{draw(st.integers(0, 2**32 - 1))} {method}"),
        *draw(st.lists(st.tuples(tokens.map(lambda t: f"X-{t}"), plain_values), max_size=4)),
    ]
    return Request.build(method, uri, headers, draw(st.binary(max_size=60)))


@given(requests())
def test_request_identity(request: Request) -> None:
    again = parse_message(request.to_bytes())
    assert again == request
    assert isinstance(again, Request)
    assert (again.method, again.uri, again.body) == (request.method, request.uri, request.body)
    assert list(again.headers) == list(request.headers)
    assert (again.from_, again.to, again.cseq, again.via) == (request.from_, request.to, request.cseq, request.via)


@given(requests(), st.integers(100, 699), st.binary(max_size=20))
def test_response_identity(request: Request, status: int, body: bytes) -> None:
    response = request.reply(status, to_tag="x", body=body, content_type="text/plain")
    again = parse_message(response.to_bytes())
    assert again == response
    assert isinstance(again, Response)
    assert (again.status, again.call_id, again.cseq) == (status, request.call_id, request.cseq)


# --- never another exception -----------------------------------------------------


ACCESSORS = (
    *("via", "vias", "from_", "to", "call_id", "cseq", "contacts", "contact_star", "routes", "record_routes", "uri"),
    *("max_forwards", "expires", "content_type", "require", "supported", "allow"),
)
SPECIAL = [b"\r\n", b"\\", b'"', b"<", b">", b";", b",", b"\0", b"%", b"[", b" ", b"\xff"]


def touch_everything(message: Message) -> None:
    """Every typed accessor gives its type or ParseError."""
    for name in ACCESSORS:
        try:
            getattr(message, name, None)
        except ParseError:
            pass
    list(message.headers)
    repr(message)
    assert parse_message(message.to_bytes()) == message


def survives(data: bytes) -> None:
    try:
        message = parse_message(data)
    except ParseError as error:
        if error.partial is not None:
            reply = error.partial.reply(error.status, to_tag="t").to_bytes()
            assert reply.startswith(b"SIP/2.0 ")
            assert reply.count(b"\r\n\r\n") == 1
        return
    touch_everything(message)


@given(st.binary(max_size=300))
def test_T24_any_octets(data: bytes) -> None:
    survives(data)


@settings(max_examples=300)
@given(st.data())
def test_T24_damaged_torture(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "swap"]))
        if kind == "flip":
            octets[at] = data.draw(st.integers(0, 255))
        elif kind == "cut" and len(octets) > 20:
            del octets[at : at + data.draw(st.integers(1, 10))]
        elif kind == "insert":
            octets[at:at] = data.draw(
                st.sampled_from([b"\r\n", b"\\", b'"', b"<", b">", b";", b",", b"\0", b"%", b"[", b" ", b"\xff"])
            )
        else:
            end = min(len(octets), at + 20)
            octets[at:end] = octets[at:end][::-1]
    survives(bytes(octets))


GRAMMAR_TEXT = st.text('sip:@<>"\\;,=?&%20aA[]: \t.tag*()!é\0', max_size=60)


@given(GRAMMAR_TEXT)
@example('"\\')
@example('"abc\\" <sip:a@b>')
@example("<sip:/>")
@example("sip:%@h")
@example("[")
def test_T24_every_parser_of_text(text: str) -> None:
    for parse in (
        SipUri.parse,
        parse_uri,
        NameAddr.parse,
        parse_addresses,
        Via.parse,
        CSeq.parse,
        grammar.parse_params,
    ):
        try:
            str(parse(text))
        except ParseError:
            pass
    try:
        grammar.split_commas(text)
    except ParseError:
        pass
    grammar.unescape(text)
    grammar.unquote(text)


NAMES = st.sampled_from(["From", "To", "Contact", "Via", "CSeq", "f", "t", "m", "v"])


@settings(max_examples=300)
@given(NAMES, GRAMMAR_TEXT | addresses.map(str) | st.builds(Via, st.just("UDP"), hosts, ports, header_params).map(str))
def test_the_short_cut_accepts_nothing_that_the_grammar_refuses(name: str, value: str) -> None:
    """parse_message looks at usual shapes with one pattern each; whatever it lets pass must parse later."""
    fields = {"via": "SIP/2.0/UDP h;branch=z9hG4bK1", "from": "<sip:a@b>;tag=1", "to": "<sip:a@b>", "cseq": "1 OPTIONS"}
    long = {"f": "from", "t": "to", "m": "contact", "v": "via"}.get(name, name.lower())
    fields[long] = value
    text = "OPTIONS sip:h SIP/2.0\r\nCall-ID: 1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    try:
        message = parse_message(text.encode())
    except ParseError:
        return
    _ = message.via, message.from_, message.to, message.contacts, message.cseq
    assert "\r" not in str(message.from_)


# --- framing ---------------------------------------------------------------------


def frames(pieces: list[bytes]) -> list[bytes | Ping]:
    framer = StreamFramer()
    return [frame for piece in pieces for frame in framer.feed(piece)]


ONE = b"OPTIONS sip:h SIP/2.0\r\nl: 4\r\nSubject: a\r\n b\r\n\r\n1\r\n\r"
TWO = b"SIP/2.0 200 OK\r\nContent-Length : 0\r\n\r\n"


@given(st.lists(st.sampled_from([ONE, TWO, KEEPALIVE, b"\r\n" + ONE, ONE + b"\r\n" + TWO]), max_size=5), st.data())
def test_B16_framing_at_any_cuts(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    whole = frames([stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames(pieces) == whole
    assert [frame for frame in whole if isinstance(frame, bytes)].count(TWO) == stream.count(TWO)


def test_B16_framing_at_every_cut_and_octet_by_octet() -> None:
    stream = ONE + KEEPALIVE + TWO + b"\r\n" + ONE
    whole = [ONE, Ping.PING, TWO, ONE]
    assert frames([stream]) == whole
    for cut in range(len(stream)):
        assert frames([stream[:cut], stream[cut:]]) == whole
    assert frames([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_T24_framing_any_octets(pieces: list[bytes]) -> None:
    framer = StreamFramer()
    try:
        for piece in pieces:
            list(framer.feed(piece))
    except ParseError:
        with pytest.raises(ParseError):
            list(framer.feed(b""))


@settings(max_examples=200)
@given(st.sampled_from(SEEDS), st.integers(1, 40))
def test_framing_torture_is_the_same_however_cut(data: bytes, step: int) -> None:
    def run(pieces: list[bytes]) -> tuple[list[bytes | Ping], bool]:
        framer, found = StreamFramer(), []
        try:
            for piece in pieces:
                for frame in framer.feed(piece):
                    found.append(frame)  # noqa: PERF402 - what came before the error counts
        except ParseError:
            return found, True
        return found, False

    assert run([data]) == run([data[i : i + step] for i in range(0, len(data), step)])


# --- linear time -------------------------------------------------------------------

VIA = b"Via: SIP/2.0/UDP h;branch=z9hG4bK1"
HEAD = b"OPTIONS sip:h SIP/2.0\r\n" + VIA + b"\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nTo: <sip:a@b>\r\n"
EVIL: dict[str, Callable[[int], bytes]] = {
    "quotes": lambda n: HEAD + b'From: "' + b"\\" * n + b"\r\n\r\n",
    "pairs": lambda n: HEAD + b'From: "' + b'\\"' * (n // 2) + b" <sip:a@b>\r\n\r\n",
    "brackets": lambda n: HEAD + b"From: " + b"<" * n + b"\r\n\r\n",
    "words": lambda n: HEAD + b"From: " + b"a " * (n // 2) + b"\x01 <sip:a@b>\r\n\r\n",
    "params": lambda n: HEAD + b"From: <sip:a@b>" + b";a" * (n // 2) + b"\x01\r\n\r\n",
    "uri params": lambda n: HEAD + b"From: <sip:a@b" + b";a=b" * (n // 4) + b"\x01>\r\n\r\n",
    "escapes": lambda n: HEAD + b"From: <sip:" + b"%41" * (n // 3) + b"%>\r\n\r\n",
    "commas": lambda n: HEAD + b"From: <sip:a@b>\r\nContact: " + b"<sip:a@b>," * (n // 10) + b"<\r\n\r\n",
    "vias": lambda n: HEAD.replace(VIA, VIA + b",SIP/2.0/UDP h" * (n // 14)) + b"From: <sip:a@b>\r\n\r\n",
    "spaces": lambda n: HEAD + b"From:" + b" " * n + b"x\r\n\r\n",
    "start line": lambda n: b"A" * n + b" " + b"b" * n + b"\r\n\r\n",
    "folds": lambda n: HEAD + b"From: <sip:a@b>" + b"\r\n " * (n // 3) + b"\x01\r\n\r\n",
}


@pytest.mark.parametrize("kind", EVIL)
def test_T24_time_is_linear(kind: str) -> None:
    def cost(n: int) -> float:
        data = EVIL[kind](n)
        return least_time(lambda: survives(data), 9)

    # Sixteen times the octets may cost 64 times the time; quadratic would be 256.  The floor is the clock's noise.
    assert cost(7600) < max(64 * cost(475), 0.004)


@given(st.text(max_size=80) | st.text(';=-abt0 ,"@', max_size=60).map(lambda text: f"a@b;to-tag=1{text};from-tag=2"))
def test_T24_a_replaces_is_read_or_refused(text: str) -> None:
    try:
        replaces = Replaces.parse(text)
    except ParseError:
        return
    assert Replaces.parse(str(replaces)) == replaces


@given(
    st.lists(
        st.sampled_from(["Refer-To", "Referred-By", "Refer-Sub", "Replaces"]).flatmap(
            lambda name: plain_values.map(lambda value: (name, value))
        ),
        max_size=4,
    )
)
def test_T24_a_refer_is_read_or_refused(headers: list[tuple[str, str]]) -> None:
    request = Request.build("REFER", SipUri.parse("sip:a@b"), [("Via", "SIP/2.0/UDP h"), *headers], b"")
    try:
        reference = read_refer(request)
    except ParseError as error:
        assert 400 <= error.status < 500
        return
    assert reference.target.headers == () and reference.target.scheme in ("sip", "sips")


@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: b"SIP/2.0 200" + tail))
def test_T24_a_sipfrag_is_read_or_not(body: bytes) -> None:
    said = status_of(body)
    assert said is None or 100 <= said[0] <= 699
