"""Takes each defence of tests/defences.toml out of a copy of the tree and demands that the tests named for it FAIL.

A test that passes with and without its defence shows nothing.  First all named tests must pass with everything in
place.  Arguments are ids (``T03``) or nothing for all; the exit status is the number of defences that nobody misses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CARRIED = ("sipcli", "providers", "tests", "examples", "docs", "scripts", "pyproject.toml", "config.example.toml")
WORKERS = int(os.environ.get("WORKERS", "2"))
TIME_OUT = 60
"""Seconds for one test: without its limit, what was limited may well go on for ever; that is a failure too."""

Defence = dict[str, Any]


def main() -> int:
    wanted = set(sys.argv[1:])
    rows = tomllib.loads((ROOT / "tests" / "defences.toml").read_text())["defence"]
    rows = [row for row in rows if not wanted or row["id"] in wanted]
    with tempfile.TemporaryDirectory(prefix="sipcli-prove-") as work:
        whole = copy(Path(work) / "whole")
        named = sorted({test for row in rows for test in row["tests"]})
        if run(whole, named).returncode != 0:
            print("with every defence in place some of the named tests fail: mend that first", file=sys.stderr)
            return 1
        with ThreadPoolExecutor(WORKERS) as pool:
            places = [Path(work) / str(number) for number in range(len(rows))]
            missed = list(pool.map(prove, rows, places))
    print(f"{sum(missed)} of {len(missed)} defences are missed when they are gone")
    return len(missed) - sum(missed)


def prove(row: Defence, place: Path) -> bool:
    """Whether each test that is named for a defence fails without it; says which does not."""
    copy(place)
    target = place / row["file"]
    text = target.read_text()
    assert text.count(row["old"]) == 1, (
        f"{row['id']}: {row['old']!r} is in {row['file']} {text.count(row['old'])} times"
    )
    target.write_text(text.replace(row["old"], row["new"]))
    done = run(place, row["tests"])
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    content = [test for test in row["tests"] if not any(one.partition("[")[0] == test for one in failed)]
    print(f"{row['id']}  {'STILL PASSES' if content else 'fails'}  without: {row['what']}", flush=True)
    for test in content:
        print(f"     {test}\n{done.stdout[-800:] if not failed else ''}", flush=True)
    shutil.rmtree(place)
    return not content


def copy(place: Path) -> Path:
    """The tree with an interpreter of its own, so that a `sipcli` that a test starts is the copy's too."""
    for name in CARRIED:
        if (ROOT / name).is_dir():
            left = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / name, place / name, ignore=left, symlinks=True)
        else:
            shutil.copy(ROOT / name, place / name)
    modules = "tests/support/servers/node/node_modules"
    (place / modules).symlink_to(ROOT / modules)
    venv.create(place / ".venv", symlinks=True)
    ours, theirs = (next((root / ".venv/lib").glob("python*")) / "site-packages" for root in (ROOT, place))
    lines = [str(place), str(place / "providers"), f"import site; site.addsitedir({str(ours)!r})"]
    (theirs / "copy.pth").write_text("\n".join(lines) + "\n")
    for program in (ROOT / ".venv/bin").iterdir():
        if not (link := place / ".venv/bin" / program.name).exists():
            link.symlink_to(program)
    return place


def run(place: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    command = [str(place / ".venv/bin/python"), "-m", "pytest", "-q", "--tb=no", "-rf", "-p", "no:cacheprovider"]
    command += [f"--timeout={TIME_OUT}", *tests]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if place.name == "whole" and done.returncode:
        print(done.stdout[-3000:], done.stderr[-1000:], file=sys.stderr)
    return done


if __name__ == "__main__":
    sys.exit(main())
