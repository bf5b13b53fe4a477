"""Writes docs/interop.md: which telephone does what with sipcli, and the tests that heard it (docs/interop.toml).

A cell is a list of tests, or the reason why there is none: *cannot* - the other telephone has no such thing; *lacking*
- we have not; *untried* - nobody has tried.  A cell without either, or with a test that is not there, is an error.
``--check`` says (exit status 1) that the page is out of date; ``--tests`` prints the tests of all cells, which is what
`make interop` runs.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HEAD = """# Other telephones

What was tried with telephones that nobody here wrote, through Kamailio, and with a media relay between. Written by
`make docs` from [interop.toml](interop.toml); `make interop` runs the tests of all cells and no others, and `make test`
has them among the rest. Where there is audio, a test has listened to it: the frequency, the level and the length of
the tone, on both sides where the other telephone records.

*yes* - the tests below passed. *-* - the other telephone cannot. *no* - sipcli cannot. *?* - not tried. The reasons
are below.
"""


class Unfit(ValueError):
    """interop.toml does not say what it should; the message says where."""


def load(root: Path) -> dict[str, Any]:
    """docs/interop.toml, every cell of it checked against the tests there are."""
    told = tomllib.loads((root / "docs" / "interop.toml").read_text())
    for peer in told["peer"]:
        kinds = [peer.get(kind, {}) for kind in ("tests", "cannot", "lacking", "untried")]
        for feature in told["features"]:
            if sum(bool(kind.get(feature)) for kind in kinds) != 1:
                raise Unfit(f"{peer['name']}, {feature}: wants tests, or a reason under cannot, lacking or untried")
        for feature in {name for kind in kinds for name in kind} - set(told["features"]):
            raise Unfit(f"{peer['name']}, {feature}: is not among the features")
        for feature, tests in kinds[0].items():
            for test in tests:
                if not exists(root, test):
                    raise Unfit(f"{peer['name']}, {feature}: there is no test {test}")
    return told


def exists(root: Path, test: str) -> bool:
    """Whether ``tests/e2e/test_e2e_call.py::TestX::test_y[z]`` is a test; what stands in brackets pytest will judge."""
    name, *names = test.partition("[")[0].split("::")
    path = root / "tests" / name
    return path.exists() and "::".join(names) in set(functions(ast.parse(path.read_text()), ""))


def functions(node: ast.Module | ast.ClassDef, place: str) -> Iterator[str]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from functions(child, f"{place}{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            yield place + child.name


def cell(peer: dict[str, Any], feature: str) -> str:
    if feature in peer.get("tests", {}):
        return "yes"
    if feature in peer.get("untried", {}):
        return "?"
    return "-" if feature in peer.get("cannot", {}) else "**no**"


def page(told: dict[str, Any]) -> str:
    peers = told["peer"]
    lines = [HEAD, "| | " + " | ".join(f"[{peer['name']}](#{anchor(peer)})" for peer in peers) + " |"]
    lines.append("|---|" + "---|" * len(peers))
    lines += [
        f"| {feature} | " + " | ".join(cell(peer, feature) for peer in peers) + " |" for feature in told["features"]
    ]
    for peer in peers:
        lines += [
            "",
            f"## {peer['name']}",
            "",
            peer["about"],
            "",
            "| what | tests, or why there is none |",
            "|---|---|",
        ]
        for feature in told["features"]:
            tests = "<br/>".join(f"`{test}`" for test in peer.get("tests", {}).get(feature, ()))
            reasons = (peer.get(kind, {}).get(feature) for kind in ("cannot", "lacking", "untried"))
            why = next((reason for reason in reasons if reason), "")
            lines.append(f"| {feature} | {tests or why} |")
    return "\n".join(lines) + "\n"


def anchor(peer: dict[str, Any]) -> str:
    return str(peer["name"]).lower().replace(" ", "-").replace(".", "")


def main() -> int:
    place = ROOT / "docs" / "interop.md"
    try:
        told = load(ROOT)
    except Unfit as error:
        print(f"docs/interop.toml: {error}", file=sys.stderr)
        return 1
    if "--tests" in sys.argv:
        cells = (tests for peer in told["peer"] for tests in peer.get("tests", {}).values())
        print("\n".join(sorted({f"tests/{test}" for tests in cells for test in tests})))
        return 0
    fresh = page(told)
    if "--check" in sys.argv:
        stale = not place.exists() or place.read_text() != fresh
        if stale:
            print("docs/interop.md is out of date: run `make docs`", file=sys.stderr)
        return int(stale)
    place.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
