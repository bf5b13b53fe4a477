"""Writes docs/decisions/README.md, the index of the records: each by its number and its heading.

A record whose heading has another number than its file, or whose number is taken, is an error.  ``--check`` says (exit
status 1) that the index is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HEAD = """# Decisions

What was weighed, what was decided, and what it costs; one page each. A record says how it is *now*: whoever decides
otherwise writes it anew. Not every number is taken. Written by `make docs`.

"""


class Unfit(ValueError):
    """A record is not called what it should be; the message says which."""


def index(folder: Path) -> str:
    """The page for all records of *folder*, in their order."""
    lines: dict[int, str] = {}
    for path in sorted(folder.glob("[0-9]*.md")):
        heading = re.match(r"# (\d+)\. (.+)\n", path.read_text())
        if heading is None or int(heading[1]) != int(path.name[:4]):
            raise Unfit(f"{path.name}: its first line must be “# {int(path.name[:4])}. ” and what was decided")
        number = int(heading[1])
        if number in lines:
            raise Unfit(f"{path.name}: there is another record {number}")
        lines[number] = f"- [{number}]({path.name}) {heading[2]}\n"
    return HEAD + "".join(lines.values())


def main() -> int:
    page = ROOT / "docs" / "decisions" / "README.md"
    try:
        fresh = index(page.parent)
    except Unfit as error:
        print(f"docs/decisions/{error}", file=sys.stderr)
        return 1
    if "--check" in sys.argv:
        stale = not page.exists() or page.read_text() != fresh
        if stale:
            print("docs/decisions/README.md is out of date: run `make docs`", file=sys.stderr)
        return int(stale)
    page.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
