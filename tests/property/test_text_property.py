"""What the network says cannot move a cursor, whatever it is: checked on an emulated terminal (threat T12)."""

from __future__ import annotations

import json
import unicodedata

import pyte
from hypothesis import given
from hypothesis import strategies as st

from sipcli.observe.text import json_line, quoted, safe_line, safe_text

HOSTILE = st.sampled_from(
    ["\x1b]52;c;aGk=\x07", "\x1b]0;title\x07", "\x1b[2J", "\x1b[1A", "\r", "\n", "\x07", "\u202e", "\u2066", "\u200b",
     "\u2028", "\u2029", "\x9b31m", "\x90q", "\x00", "\x7f", "\ud800", "\U000e0001", "\ufeff", "\xad"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(HOSTILE, st.text(max_size=10)), max_size=8).map("".join)


@given(TEXTS)
def test_T12_nothing_unfit_is_left(text: str) -> None:
    for character in safe_text(text, limit=None):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(TEXTS)
def test_twice_is_once(text: str) -> None:
    assert safe_text(safe_text(text, limit=None), limit=None) == safe_text(text, limit=None)


@given(st.binary(max_size=400))
def test_T12_octets_are_shown_whatever_they_are(octets: bytes) -> None:
    shown = safe_text(octets)
    shown.encode()  # raises if a lone surrogate were left
    assert len(shown) <= 64 * 10 + 1


@given(TEXTS, st.integers(1, 80))
def test_T12_at_most_so_many_characters_of_theirs(text: str, limit: int) -> None:
    whole = safe_text(text, limit=limit)
    assert whole == safe_text(text[:limit], limit=None) + ("…" if len(text) > limit else "")


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs", "M"]), max_size=64))
def test_readable_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@given(TEXTS)
def test_T12_a_terminal_shows_one_line_and_does_nothing_else(text: str) -> None:
    screen = pyte.Screen(1200, 3)
    titles: list[str] = []
    screen.set_title = titles.append  # type: ignore[method-assign]
    stream = pyte.Stream(screen)
    line = f"refused: server says {quoted(text)}"
    stream.feed(safe_line(line))
    assert screen.cursor.y == 0
    assert titles == []
    assert screen.display[0].startswith("refused: server says “")
    assert all(not row.strip() for row in screen.display[1:])


@given(st.text(alphabet='a”“"\\\u202e', max_size=80))
def test_T12_what_is_quoted_cannot_close_the_quotes(text: str) -> None:
    """Fails without the replacement in ``quoted``."""
    shown = quoted(text)
    assert (shown[0], shown[-1]) == ("“", "”")
    assert shown.count("”") == 1


def test_T12_a_realm_of_64_kilobytes_is_cut_before_it_is_read() -> None:
    assert safe_text(b"\xff" * 65536) == "\\xff" * 64 + "…"
    assert len(safe_text("x" * 65536)) == 65


@given(TEXTS)
def test_T12_a_line_of_json_is_inert_and_means_the_same(text: str) -> None:
    """JSON leaves DEL, C1 controls and bidi overrides as they are.  Fails without ``_in_json``."""
    line = json_line({"realm": text})
    assert json.loads(line) == {"realm": text}
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in line)
