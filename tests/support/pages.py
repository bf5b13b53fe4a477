"""What stands in README and docs/: fenced blocks, and what they say to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "ROOT", "blocks", "of", "typed_in_blocks"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_TYPED = re.compile(r"(?:^|^\$ |\| |\$\(|^ExecStart=\S*/|sudo -u \w+ )(sipcli [^)|]+)")


def blocks(*languages: str) -> Iterator[tuple[Path, str]]:
    """The fenced blocks of all pages that are written in one of *languages*, each with its page."""
    for page in PAGES:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            if language in languages:
                yield page, block


def typed_in_blocks() -> list[tuple[Path, str]]:
    """Command lines: after a prompt, a pipe, sudo or a unit's ExecStart=; comments and synopses are left out."""
    found = []
    for page, block in blocks("", "sh", "bash", "ini"):
        for line in block.replace("\\\n", " ").splitlines():
            found += [(page, re.sub(r"\s+#\s.*", "", typed).strip()) for typed in _TYPED.findall(line)]
    return [(page, line) for page, line in found if "[OPTIONS]" not in line]


def of(value: object) -> str:
    """A test's name for a page or a text."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value).strip().partition("\n")[0][:60]
