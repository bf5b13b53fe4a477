"""The table of telephones claims nothing without a test or a reason, and is what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.support.test_support_conformance import ROOT, script

interop = script("make_interop")

PEER = '[[peer]]\nname = "X 1.0"\nabout = "A telephone."\n'


def told(root: Path, peer: str) -> Path:
    for folder in ("docs", "tests/e2e"):
        (root / folder).mkdir(parents=True)
    (root / "tests/e2e/test_x.py").write_text("class TestA:\n    def test_b(self): ...\ndef test_c(): ...\n")
    (root / "docs" / "interop.toml").write_text('features = ["hold", "TLS"]\n' + PEER + peer)
    return root


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        ('[peer.tests]\nhold = ["e2e/test_x.py::test_c"]', "TLS: wants tests, or a reason"),
        ('[peer.cannot]\nhold = "none"\nTLS = "none"\n[peer.lacking]\nTLS = "none"', "TLS: wants tests, or a reason"),
        ('[peer.cannot]\nhold = "none"\nTLS = "none"\nfax = "none"', "fax: is not among the features"),
        (
            '[peer.tests]\nhold = ["e2e/test_x.py::test_z"]\nTLS = ["e2e/test_x.py::test_c"]',
            "there is no test e2e/test_x.py::test_z",
        ),
        (
            '[peer.tests]\nhold = ["e2e/test_y.py::test_c"]\nTLS = ["e2e/test_x.py::test_c"]',
            "there is no test e2e/test_y.py::test_c",
        ),
        (
            '[peer.tests]\nhold = ["e2e/test_x.py::test_b"]\nTLS = ["e2e/test_x.py::test_c"]',
            "there is no test e2e/test_x.py::test_b",
        ),
        ('[peer.tests]\nhold = []\n[peer.cannot]\nTLS = "none"', "hold: wants tests, or a reason"),
    ],
)
def test_a_cell_wants_a_test_that_is_there_or_a_reason(tmp_path: Path, peer: str, why: str) -> None:
    with pytest.raises(interop.Unfit, match=why):
        interop.load(told(tmp_path, peer))


def test_the_page_has_a_word_for_each_cell_and_its_tests(tmp_path: Path) -> None:
    peer = '[peer.tests]\nhold = ["e2e/test_x.py::TestA::test_b[a-b]"]\n[peer.lacking]\nTLS = "no time"'
    page = interop.page(interop.load(told(tmp_path, peer)))
    assert "| hold | yes |" in page and "| TLS | **no** |" in page
    assert "| hold | `e2e/test_x.py::TestA::test_b[a-b]` |" in page and "| TLS | no time |" in page
    assert "(#x-10)" in page


def test_the_page_is_as_the_table() -> None:
    assert (ROOT / "docs" / "interop.md").read_text() == interop.page(interop.load(ROOT))
