"""STUN Binding: the vectors of RFC 5769, and what nobody should believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ParseError
from sipcli.sip.registrations.stun import BindingAnswer, binding_request, is_stun, parse_answer

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
# RFC 5769 sections 2.1, 2.2 and 2.3.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
V4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
V6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a147"
    "0113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)


def test_C05_the_published_answers() -> None:
    assert parse_answer(V4) == BindingAnswer(TRANSACTION, ("192.0.2.1", 32853))
    assert parse_answer(V6) == BindingAnswer(TRANSACTION, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))


def test_a_request_is_no_answer() -> None:
    assert is_stun(REQUEST)
    assert parse_answer(REQUEST) is None


def test_C05_our_request_has_the_fingerprint_that_a_server_wants() -> None:
    request = binding_request(TRANSACTION)
    assert request[:20] == bytes.fromhex("000100082112a442") + TRANSACTION
    assert request[20:24] == bytes.fromhex("80280004")
    # The published request's own fingerprint comes out of the same sum (RFC 8489 section 14.7).
    import zlib

    assert REQUEST[-4:] == (zlib.crc32(REQUEST[:-8]) ^ 0x5354554E).to_bytes(4)
    assert request[-4:] == (zlib.crc32(request[:-8]) ^ 0x5354554E).to_bytes(4)


def test_an_error_and_an_old_server() -> None:
    head = bytes.fromhex("0111000c2112a442") + TRANSACTION
    assert parse_answer(head + bytes.fromhex("0009000800000400") + b"Bad!") == BindingAnswer(TRANSACTION, None, 400)
    old = bytes.fromhex("0101000c2112a442") + TRANSACTION + bytes.fromhex("000100080001 1234 c0000207")
    assert parse_answer(old) == BindingAnswer(TRANSACTION, ("192.0.2.7", 0x1234))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"OPTIONS sip:a SIP/2.0",
        V4[:-1],
        V4[:-4] + b"\0\0\0\0",
        V4[:22] + b"\xff\xff" + V4[24:],
        bytes.fromhex("010100082112a442") + TRANSACTION + bytes.fromhex("0020000400010000"),
        bytes.fromhex("0101000c2112a442") + TRANSACTION + bytes.fromhex("002000080007a147e112a643"),
    ],
    ids=["nothing", "SIP", "cut", "fingerprint", "a long attribute", "a short address", "a family"],
)
def test_T24_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_answer(data)


@given(st.binary(max_size=64))
def test_T24_any_attributes(tail: bytes) -> None:
    data = bytes.fromhex("0101") + len(tail).to_bytes(2) + bytes.fromhex("2112a442") + TRANSACTION + tail
    try:
        parse_answer(data)
    except ParseError:
        pass
