"""HTML from strangers, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.observe.hypertext import text_of_html
from tests.support.speed import least_time


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello,<br>you &amp; me</p>", "Hello, you & me"),
        ("<script>alert(1)</script>a<style>b{}</style>c", "ac"),
        ("plain", "plain"),
        ("<b>unclosed", "unclosed"),
        ("<a href='javascript:x'>link</a>", "link"),
        ("<!-- hidden -->seen", "seen"),
        ("<!-- a > b -->seen<!doctype html><?xml?>", "seen"),
        ("<SCRIPT>if (a<b) '</b>'</SCRIPT >a", "a"),
        ("<title>a <b></title>seen", "seen"),
        ("<head><meta x></head><body>seen", "seen"),
        ("<style>never closed", ""),
        ("</head>seen", "seen"),
        ("3 < 4 &lt;b&gt; <3", "3 < 4 <b> <3"),
        ("a<!-- unclosed", "a<!-- unclosed"),
    ],
)
def test_what_html_shows(html: str, text: str) -> None:
    assert text_of_html(html) == text


@given(st.text(alphabet="<>!-[]&;/'\"ab =\n", max_size=300))
def test_any_text_is_read(html: str) -> None:
    text_of_html(html)


@pytest.mark.parametrize(
    "piece",
    ["<", "<!", "<!--", "<a ", "<a b='", "&", "&#", "</", "</a", "<![", "<?", "<script>", "<style></style", "<head>"],
)
def test_T23_no_html_is_expensive(piece: str) -> None:
    """Two milliseconds; ``html.parser`` took a second over ``<a ``, in which no call was answered."""
    assert least_time(lambda: text_of_html(piece * 3000)) < 0.05
