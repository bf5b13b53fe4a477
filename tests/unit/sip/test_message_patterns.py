"""The patterns of the parsers are right on every Python that we say we run on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*(ROOT / "sipcli").rglob("*.py"), *(ROOT / "providers").rglob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_group_is_possessive(path: Path) -> None:
    """Before 3.11.5 - Debian 12 has 3.11.2 - ``(?:ab?)*+`` keeps half of a turn that did not match (cpython gh-106052).

    There ``sip:h;`` passed for a URI.  ``(?>(?:ab?)*)`` means the same and is right everywhere; a class, ``[a-z]*+``,
    may be possessive, for it has no halves.
    """
    found = [line for line in path.read_text().splitlines() if re.search(r"\)[*?+]\+", line) and "(?" in line]
    assert not found, found
