"""The index of the decisions has all of them, each by its own number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.support.test_support_conformance import ROOT, script

decisions = script("make_decisions")


@pytest.mark.parametrize("heading", ["# 8. Tea", "# Tea", "7. Tea", ""])
def test_a_record_is_headed_by_its_number(tmp_path: Path, heading: str) -> None:
    (tmp_path / "0007-tea.md").write_text(f"{heading}\n\nIt is hot.\n")
    with pytest.raises(decisions.Unfit, match=r"0007-tea\.md: its first line must be “# 7\. ”"):
        decisions.index(tmp_path)


def test_a_number_is_given_once(tmp_path: Path) -> None:
    for name in ("0007-coffee.md", "0007-tea.md"):
        (tmp_path / name).write_text("# 7. A hot drink\n")
    with pytest.raises(decisions.Unfit, match=r"0007-tea\.md: there is another record 7"):
        decisions.index(tmp_path)


def test_the_index_is_as_the_records() -> None:
    page = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert page == decisions.index(ROOT / "docs" / "decisions")
