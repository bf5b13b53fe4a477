"""Draws the rooms of sipcli and who imports whom, from the code itself, into docs/architecture.md.

``python scripts/draw_architecture.py`` rewrites what stands between the two marks;
``--check`` only says (exit status 1) that it is out of date.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: drawn by scripts/draw_architecture.py -->", "<!-- end of rooms -->"

# Top to bottom, as the layers contract in pyproject.toml has them.
ORDER = ["cli", "sandbox", "observe", "testing", "plugins", "ua", "config", "sip", "media", "errors", "credentials"]


def room_of(module: str) -> str | None:
    """``sipcli.sip.auth`` lives in ``sip``; the providers are one room."""
    head, _, rest = module.partition(".")
    if head == "sipcli_providers":
        return "providers"
    return rest.partition(".")[0] if head == "sipcli" and rest else None


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "sipcli"}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def survey() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Lines per room, and how many modules of one room import another."""
    lines: dict[str, int] = defaultdict(int)
    arrows: dict[tuple[str, str], int] = defaultdict(int)
    for base, package in ((ROOT, "sipcli"), (ROOT / "providers", "sipcli_providers")):
        for path in sorted((base / package).rglob("*.py")):
            module = ".".join(path.relative_to(base).with_suffix("").parts)
            room = room_of(module)
            if room is None or room.startswith("__"):
                continue
            lines[room] += path.read_text().count("\n")
            for other in {room_of(name) for name in imports(path)} - {room, None}:
                if other in ORDER or other == "providers":
                    arrows[room, str(other)] += 1
    return lines, arrows


def draw() -> str:
    lines, arrows = survey()
    rooms = [room for room in ORDER if room in lines] + ["providers"]
    out = ["```mermaid", "flowchart TD"]
    out += [f'    {room}["{room}<br/>{max(100, round(lines[room], -2))} lines"]' for room in rooms]
    out += [
        f"    {a} --> {b}" for (a, b) in sorted(arrows, key=lambda pair: (rooms.index(pair[0]), rooms.index(pair[1])))
    ]
    out += ["    plugins -. entry points, by name .-> providers", "```"]
    return "\n".join([*out, "", draw_inner()])


def draw_inner() -> str:
    """The rooms inside ``sip`` and ``ua``: what each is, by the first line of its package."""
    out = ["| room | what is in it | lines |", "|---|---|---|"]
    for home in ("sip", "ua"):
        for init in sorted((ROOT / "sipcli" / home).glob("*/__init__.py")):
            text = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n")[0].replace("  ", " ")
            lines = sum(path.read_text().count("\n") for path in init.parent.rglob("*.py"))
            out.append(f"| `{home}/{init.parent.name}` | {text} | {max(100, round(lines, -2))} |")
    return "\n".join(out)


def main() -> int:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n{draw()}\n{END}{after}"
    if "--check" in sys.argv:
        if fresh != text:
            print("docs/architecture.md is out of date: run `make docs`", file=sys.stderr)
        return int(fresh != text)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
