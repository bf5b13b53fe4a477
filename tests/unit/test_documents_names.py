"""What the documents name exists: files and rooms, modules, classes and their members."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = {"conformance.md", "cli.md"}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in GENERATED),
]
ROOMS = "bench|cli|config|docs|examples|media|observe|providers|sandbox|scripts|sip|sipcli|testing|tests|ua"

FILE = re.compile(rf"((?:{ROOMS})/[\w./-]+)(?:::.*)?")
MODULE = re.compile(r"(sipcli(?:_providers)?(?:\.\w+)+)")
CLASS = re.compile(r"([A-Z]\w*[a-z]\w*(?:\.[a-z]\w*)+|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)(?:\((?:\.\.\.)?\))?")


def said(page: Path) -> list[str]:
    """What stands between backticks, outside of whole blocks of code."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


@cache
def names() -> frozenset[str]:
    """Every name that the code defines or uses."""
    found = set[str]()
    for place in ("sipcli", "providers", "examples"):
        for file in (ROOT / place).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.alias):
                    found.add(node.name)
                elif isinstance(node, ast.Name):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute):
                    found.add(node.attr)
    return frozenset(found)


def is_file(name: str) -> bool:
    """``sip/auth`` is short for ``sipcli/sip/auth.py``."""
    return any((ROOT / start / (name + end)).exists() for start in ("", "sipcli") for end in ("", ".py"))


def is_module(name: str) -> bool:
    """A module, a name in one, or a group of entry points."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    top, *rest = name.split(".")
    place = (ROOT / "providers" if top == "sipcli_providers" else ROOT) / top
    while rest and ((place / rest[0]).is_dir() or (place / f"{rest[0]}.py").exists()):
        place /= rest.pop(0)
    return name in groups or names().issuperset(rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    for code in said(page):
        if match := FILE.fullmatch(code):
            assert is_file(match[1].rstrip("/")), code
        elif match := MODULE.fullmatch(code):
            assert is_module(match[1]), code
        elif match := CLASS.fullmatch(code):
            assert names().issuperset(match[1].split(".")), code


@pytest.mark.parametrize(
    ("kind", "name"), [(is_file, "sip/oauth"), (is_module, "sipcli.sip.oauth"), (is_module, "sipcli.sip.auth.Nobody")]
)
def test_what_is_not_there_is_found_out(kind: object, name: str) -> None:
    assert callable(kind) and not kind(name)
    assert not names().issuperset(["AuthSession", "answer_everybody"])
