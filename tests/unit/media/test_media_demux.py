"""RFC 7983 section 7, octet by octet."""

from __future__ import annotations

import pytest

from sipcli.media.demux import kind_of

# The table of the section, its gaps included: first octet of the range, last octet, whose it is.
TABLE = [
    (0, 3, "stun"),
    (4, 15, "other"),
    (16, 19, "other"),  # ZRTP, which we do not speak
    (20, 63, "dtls"),
    (64, 79, "channel"),
    (80, 127, "other"),
    (128, 191, "rtp"),
    (192, 255, "other"),
]


@pytest.mark.parametrize(("first", "last", "kind"), TABLE)
def test_E03_every_first_octet_belongs_to_one_protocol(first: int, last: int, kind: str) -> None:
    assert {kind_of(bytes([octet, 1, 2])) for octet in range(first, last + 1)} == {kind}


def test_the_table_leaves_no_octet_out() -> None:
    assert [first for first, _, _ in TABLE] == [0, *(last + 1 for _, last, _ in TABLE[:-1])]


def test_nothing_is_nobodys() -> None:
    assert kind_of(b"") == "other"
