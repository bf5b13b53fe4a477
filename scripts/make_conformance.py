"""Writes docs/conformance.md: each item of docs/conformance.toml beside the tests that carry its id in their names.

An item without a test is shown as such; ``--check`` says (exit status 1) that the page is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA, PAGE = ROOT / "docs" / "conformance.toml", ROOT / "docs" / "conformance.md"
ID = re.compile(r"(?<![A-Za-z0-9])([A-E]|T)(\d\d)(?!\d)")
SHOWN = 3

HEAD = """# Conformance

What is met, and the tests that show it; their ids are in their names, or in the docstring of their class or module.
Written by `make docs` from [conformance.toml](conformance.toml) and the tests themselves.
"""


def tests_by_id() -> dict[str, list[str]]:
    """``{"A05": ["tests/unit/…::test_A05_…", …]}``; an id in a docstring counts for every test below it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text())
        _collect(tree, name, ids_of(ast.get_docstring(tree)), found)
    return found


def _collect(node: ast.Module | ast.ClassDef, place: str, inherited: set[str], found: dict[str, list[str]]) -> None:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            _collect(child, f"{place}::{child.name}", ids_of(child.name, ast.get_docstring(child)) or inherited, found)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            own = ids_of(child.name.replace("_", " "), ast.get_docstring(child))
            for item in own or inherited:
                found[item].append(f"{place}::{child.name}")


def ids_of(*texts: str | None) -> set[str]:
    found: set[str] = set()
    for text in texts:
        spread = re.sub(r"([A-ET])(\d\d)-\1?(\d\d)", _range, text or "")
        found |= {letter + number for letter, number in ID.findall(spread)}
    return found


def _range(match: re.Match[str]) -> str:
    letter, first, last = match.groups()
    return " ".join(f"{letter}{number:02d}" for number in range(int(first), int(last) + 1))


def page() -> str:
    found = tests_by_id()
    lines = [HEAD]
    for part in tomllib.loads(DATA.read_text())["part"]:
        lines += [f"## {part['title']}", "", "| id | what | tests |", "|---|---|---|"]
        for item, clause, words, *still_open in part["items"]:
            tests = found.get(item, [])
            shown = "<br/>".join(f"`{test.removeprefix('tests/')}`" for test in tests[:SHOWN])
            more = f"<br/>and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
            verdict = f"**not met:** {still_open[0]}" if still_open else shown + more or "**no test**"
            lines.append(f"| {item} | {words}{f' ({clause})' if clause else ''} | {verdict} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    fresh = page()
    if "--check" in sys.argv:
        stale = not PAGE.exists() or PAGE.read_text() != fresh
        if stale:
            print("docs/conformance.md is out of date: run `make docs`", file=sys.stderr)
        return int(stale)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
