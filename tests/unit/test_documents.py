"""Every link of the documents leads somewhere, and every page can be reached from the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(page: Path) -> list[tuple[Path, str]]:
    """What *page* links to beside the web: the file, and the heading in it."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        name, _, heading = target.partition("#")
        if "://" not in target:
            found.append(((page.parent / name).resolve() if name else page, heading))
    return found


def headings(page: Path) -> set[str]:
    """The anchors of *page*, as GitHub makes them of its headings."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line.lower()) for line in lines)
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in links(page):
        assert target.exists(), target
        assert not heading or heading in headings(target), f"{target}#{heading}"


def test_every_page_is_reached_from_the_readme() -> None:
    """A link to a folder reaches what is in it."""
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.is_dir():
            ahead += page.glob("*.md")
        elif page.suffix == ".md":
            ahead += [target for target, _ in links(page)]
    assert set(PAGES) - reached == set()


def test_what_is_unreleased_is_in_order() -> None:
    """Added, changed, removed, fixed: each once, nothing outside of them, and no line twice."""
    text = (ROOT / "CHANGELOG.md").read_text().partition("## [Unreleased]")[2].partition("\n## ")[0]
    before, *parts = re.split(r"^### ", text, flags=re.MULTILINE)
    assert before.strip() == ""
    kinds = [part.partition("\n")[0] for part in parts]
    assert kinds == [kind for kind in ("Added", "Changed", "Removed", "Fixed") if kind in kinds]
    entries = re.findall(r"^- .+$", text, flags=re.MULTILINE)
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_half_of_a_merge_is_left(page: Path) -> None:
    assert not re.search(r"^(<{7} |={7}$|>{7} )", page.read_text(), flags=re.MULTILINE)
