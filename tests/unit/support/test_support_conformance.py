"""The generated page of conformance claims no more than names of tests do, and the table of defences is true."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEFENCES = tomllib.loads((ROOT / "tests" / "defences.toml").read_text()).get("defence", [])


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks for its module there
    spec.loader.exec_module(module)
    return module


conformance = script("make_conformance")
prove = script("prove_defences")


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_A07_several", {"A07"}),
        ("test_A07_t13_both", {"A07", "T13"}),
        ("test_b12", {"B12"}),
        ("test_A070_not", set()),
        ("test_sha_256", set()),
        ("test_a_word_of_the_A05", {"A05"}),
        ("test_xA05_y", set()),
        ("test_f01_is_no_section", set()),
    ],
)
def test_an_id_is_a_word_of_the_name(name: str, ids: set[str]) -> None:
    assert conformance.ids_in(name) == ids


TREE = '''
"""A module about A02 and T03."""
class TestA03:
    """A04."""
    def test_T01_proven(self):
        """Fails without the check."""
    def test_A01_x(self): ...
def test_T02_y(): ...
def test_T05_z(): ...
def test_A04_u(): ...
def test_A05_v(): ...
def test_B01_w(): ...
'''

TOLD = """
[not_met]
A02 = "not built yet"
[in_part]
A01 = "half of it"
[[part]]
title = "All"
otherwise = "nobody did"
items = [["A01", "RFC 1", "a"], ["A02", "", "b"], ["A03", "", "c"],
  ["A04", "", "g"], ["A05", "", "h"], ["B01", "", "i"],
  ["T01", "", "d"], ["T02", "", "e"], ["T05", "", "f"]]
"""


def test_each_verdict(tmp_path: Path) -> None:
    for name, text in {"tests/test_one.py": TREE, "docs/conformance.toml": TOLD}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/defences.toml").write_text('[[defence]]\nid = "T05"\n[[defence]]\nid = "A05"\n')
    rows = [
        line.split("|")[1:5]
        for line in conformance.page(tmp_path).splitlines()
        if line.startswith(("| A", "| B", "| T"))
    ]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["A01", "a (RFC 1)", "**in part:** half of it", "`test_one.py::TestA03::test_A01_x`"],
        ["A02", "b", "**not met:** not built yet", ""],
        ["A03", "c", "**not met:** nobody did", ""],
        ["A04", "g", "met, not proven by removal", "`test_one.py::test_A04_u`"],
        ["A05", "h", "met", "`test_one.py::test_A05_v`"],
        ["B01", "i", "met", "`test_one.py::test_B01_w`"],
        ["T01", "d", "met", "`test_one.py::TestA03::test_T01_proven`"],
        ["T02", "e", "met, not proven by removal", "`test_one.py::test_T02_y`"],
        ["T05", "f", "met", "`test_one.py::test_T05_z`"],
    ]


@pytest.mark.parametrize("row", DEFENCES, ids=[f"{row['id']}-{n}" for n, row in enumerate(DEFENCES)])
def test_a_defence_is_where_its_row_says_and_so_are_its_tests(row: dict[str, object]) -> None:
    """Else `make prove` would stop at it; this is quicker, and comes with every run."""
    home = prove.home(row, ROOT)
    assert home is not None, f"{row['old']!r} is not exactly once in {row['file']}, nor in one of its neighbours"
    text = home.read_text()
    without = text.replace(str(row["old"]), str(row["new"]))
    assert without != text
    ast.parse(without)
    tests = row["tests"]
    assert isinstance(tests, list) and tests
    for test in tests:
        path = test.split("::")[0]
        known = {place for place, _ in conformance.tests_of(ast.parse((ROOT / path).read_text()), path)}
        assert test in known
    assert any(row["id"] in conformance.ids_in(test.rpartition("::")[2]) for test in tests)
