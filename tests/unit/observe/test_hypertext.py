"""HTML from strangers, as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.observe.hypertext import text_of_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello,<br>you &amp; me</p>", "Hello, you & me"),
        ("<script>alert(1)</script>a<style>b{}</style>c", "ac"),
        ("plain", "plain"),
        ("<b>unclosed", "unclosed"),
        ("<a href='javascript:x'>link</a>", "link"),
        ("<!-- hidden -->seen", "seen"),
    ],
)
def test_what_html_shows(html: str, text: str) -> None:
    assert text_of_html(html) == text


@given(st.text(alphabet="<>!-[]&;/'\"ab =\n", max_size=300))
def test_any_text_is_read(html: str) -> None:
    text_of_html(html)


@pytest.mark.parametrize("piece", ["<", "<!", "<!--", "<a ", "<a b='", "&", "</", "<![", "<script>"])
def test_T23_no_html_is_expensive(piece: str) -> None:
    began = time.process_time()
    text_of_html(piece * 100_000)
    assert time.process_time() - began < 2
