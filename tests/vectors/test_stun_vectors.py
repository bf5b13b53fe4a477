"""The four messages of RFC 5769, against the STUN that our checks are made with (aioice)."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from tests.support.real import require

MESSAGES = {
    vector["name"]: bytes.fromhex(vector["message"])
    for vector in json.loads((Path(__file__).parent / "stun_rfc5769.json").read_text(encoding="utf-8"))
}
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"


@pytest.fixture(autouse=True)
def _aioice() -> None:
    require("ice")


def test_E04_a_request_is_read_and_its_integrity_proven() -> None:
    from aioice import stun

    message = stun.parse_message(MESSAGES["request"])
    assert message.message_class is stun.Class.REQUEST and message.message_method is stun.Method.BINDING
    assert message.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert message.attributes["USERNAME"] == "evtj:h6vY"
    assert message.attributes["SOFTWARE"] == "STUN test client"
    assert message.attributes["PRIORITY"] == 0x6E0001FF
    assert message.attributes["ICE-CONTROLLED"] == 0x932FF9B151263B36
    assert message.check_message_integrity(PASSWORD)
    assert not message.check_message_integrity(b"VOkJxbRl1RmTxUk/WvJxBu")


@pytest.mark.parametrize(
    ("name", "host"), [("ipv4 response", "192.0.2.1"), ("ipv6 response", "2001:db8:1234:5678:11:2233:4455:6677")]
)
def test_E04_a_response_says_how_we_are_seen(name: str, host: str) -> None:
    from aioice import stun

    message = stun.parse_message(MESSAGES[name])
    assert message.message_class is stun.Class.RESPONSE
    assert message.attributes["XOR-MAPPED-ADDRESS"] == (host, 32853)
    assert message.attributes["SOFTWARE"] == "test vector"
    assert message.check_message_integrity(PASSWORD)


def test_E04_long_term_credentials_as_turn_has_them() -> None:
    """The password is the one after SASLprep: aioice prepares none, so ours must be plain (docs/media.md)."""
    from aioice import stun

    message = stun.parse_message(MESSAGES["long-term request"])
    assert message.attributes["USERNAME"] == "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
    assert message.attributes["REALM"] == "example.org"
    assert message.attributes["NONCE"] == b"f//499k954d6OL34oL9FSTvy64sA"
    key = hashlib.md5("\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org:TheMatrIX".encode()).digest()
    assert message.check_message_integrity(key)


@pytest.mark.parametrize("name", ["request", "ipv4 response", "ipv6 response"])
def test_E04_one_flipped_bit_anywhere_is_noticed(name: str) -> None:
    from aioice import stun

    good = MESSAGES[name]
    for place in range(20, len(good) - 8):
        bad = bytearray(good)
        bad[place] ^= 1
        try:
            message = stun.parse_message(bytes(bad))
        except (ValueError, struct.error):
            continue  # the fingerprint, mostly; Wire.datagram_received takes either
        assert not message.check_message_integrity(PASSWORD), f"octet {place}"
