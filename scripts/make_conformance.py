"""Writes docs/conformance.md: each item of docs/conformance.toml, its verdict, and the tests whose NAMES carry its id.

A docstring claims nothing: ``test_A07_T13_...`` counts for A07 and T13, and for no other.  An item without a test is
"not met"; where it is about authentication, or a threat, and nobody has taken out what makes it so to see a test fail
(tests/defences.toml, ``make prove``), it is not plainly "met" either.  ``--check`` says (exit status 1) that the page
is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ID = re.compile(r"(?<=_)([A-ERT]\d\d)(?=_|$)", re.IGNORECASE)
PROVEN = re.compile(r"\bFails without\b")
SHOWN = 4
TO_PROVE = ("A", "T")
"""The parts whose items are met only if a test is known to fail without what makes them so."""

HEAD = """# Conformance

What must be so, whether it is, and the tests that show it: their ids are in their names. Written by `make docs` from
[conformance.toml](conformance.toml) and from the tests themselves.

*met* - a test carries the item's id. For the items of authentication and for the threats it also means that a test is
known to fail when what makes it so is taken out: `make prove` does that again for every row of `tests/defences.toml`.
*met, not proven by removal* - there is a test, and nobody took it out. *in part* - what the tests show is less than the
item says; the rest is named. *not met* - no test, and the reason.
"""


@dataclass
class Evidence:
    """The tests that name an item, and whether one of them is known to fail without what it guards."""

    tests: list[str] = field(default_factory=list)
    proven: bool = False


def evidence(root: Path) -> dict[str, Evidence]:
    """``{"A05": Evidence(["tests/unit/…::test_A05_…"])}``, from the names of the test functions below ``root``."""
    found: dict[str, Evidence] = defaultdict(Evidence)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for place, test in tests_of(ast.parse(path.read_text()), str(path.relative_to(root))):
            for item in ids_in(test.name):
                found[item].tests.append(place)
                found[item].proven |= bool(PROVEN.search(ast.get_docstring(test) or ""))
    for row in tomllib.loads((root / "tests" / "defences.toml").read_text()).get("defence", ()):
        found[row["id"]].proven = True
    return found


def tests_of(
    node: ast.Module | ast.ClassDef, place: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from tests_of(child, f"{place}::{child.name}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            yield f"{place}::{child.name}", child


def ids_in(name: str) -> set[str]:
    """The ids a test's name carries: ``test_A07_t13_x`` gives A07 and T13."""
    return {item.upper() for item in ID.findall(name)}


def verdict(item: str, shown: Evidence, told: Mapping[str, Any], otherwise: str) -> str:
    """``told`` is conformance.toml: what it says is missing of an item stays said beside the tests there are."""
    if not shown.tests:
        return f"**not met:** {told['not_met'].get(item, otherwise)}"
    if part := told["in_part"].get(item):
        return f"**in part:** {part}"
    return "met" if shown.proven or not item.startswith(TO_PROVE) else "met, not proven by removal"


def page(root: Path) -> str:
    found = evidence(root)
    told = tomllib.loads((root / "docs" / "conformance.toml").read_text())
    lines = [HEAD]
    for part in told["part"]:
        lines += [f"## {part['title']}", "", "| id | what | verdict | tests |", "|---|---|---|---|"]
        for item, source, words in part["items"]:
            tests = found[item].tests
            shown = "<br/>".join(f"`{test.removeprefix('tests/')}`" for test in tests[:SHOWN])
            more = f"<br/>and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
            said = verdict(item, found[item], told, part.get("otherwise", "no test carries its id"))
            lines.append(f"| {item} | {words}{f' ({source})' if source else ''} | {said} | {shown}{more} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    fresh, place = page(ROOT), ROOT / "docs" / "conformance.md"
    if "--check" in sys.argv:
        stale = not place.exists() or place.read_text() != fresh
        if stale:
            print("docs/conformance.md is out of date: run `make docs`", file=sys.stderr)
        return int(stale)
    place.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
