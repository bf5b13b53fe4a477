"""Takes each defence of tests/defences.toml out of a copy of the tree and demands that the tests named for it FAIL.

A test that passes with and without its defence shows nothing, and neither does one that fails with everything in
place.  The exit status is the number of defences that nobody misses.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
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
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:  # behind ``&`` or ``nohup``: the tests must not inherit that
            signal.signal(number, lambda *_: None)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("id", nargs="*", help="T03, A07, ...; none: all")
    wanted = set(parser.parse_args().id)
    rows = tomllib.loads((ROOT / "tests" / "defences.toml").read_text())["defence"]
    if strange := wanted - {row["id"] for row in rows}:
        parser.error(f"no row of tests/defences.toml has the id {', '.join(sorted(strange))}")
    rows = [row for row in rows if not wanted or row["id"] in wanted]
    with tempfile.TemporaryDirectory(prefix="sipcli-prove-") as work:
        whole = copy(ROOT, Path(work) / "whole")  # all else is copied from it: whoever edits meanwhile changes nothing
        named = sorted({test for row in rows for test in row["tests"]})
        broken = failures(run(whole, named))
        if broken:
            broken = failures(run(whole, sorted(broken)))  # a busy machine is no reason
        for test in sorted(broken):
            print(f"FAILS ANYWAY, so it shows nothing: {test}", flush=True)
        with ThreadPoolExecutor(WORKERS) as pool:
            missed = list(pool.map(lambda at: prove(at[1], whole, Path(work) / str(at[0]), broken), enumerate(rows)))
    print(f"{sum(missed)} of {len(missed)} defences are missed when they are gone")
    return len(missed) - sum(missed)


def prove(row: Defence, whole: Path, place: Path, broken: set[str]) -> bool:
    """Whether each test that is named for a defence fails without it; says which does not."""
    copy(whole, place)
    target = home(row, place)
    if target is None:
        print(f"{row['id']}  NOT THERE: {row['old']!r} is not exactly once in {row['file']}", flush=True)
        return False
    target.write_text(target.read_text().replace(row["old"], row["new"]))
    done = run(place, row["tests"])
    content = [test for test in row["tests"] if test in broken or test not in failures(done)]
    print(f"{row['id']}  {'STILL PASSES' if content else 'fails'}  without: {row['what']}", flush=True)
    for test in content:
        print(f"     {test}\n{done.stdout[-800:]}", flush=True)
    shutil.rmtree(place)
    return not content


def home(row: Defence, root: Path) -> Path | None:
    """The one file that holds a defence: the named one or, when the code has moved, its only neighbour that does."""
    named = root / row["file"]
    for files in ([named] if named.exists() else [], sorted(named.parent.glob("*.py"))):
        holding = [file for file in files if row["old"] in file.read_text()]
        if len(holding) == 1 and holding[0].read_text().count(row["old"]) == 1:
            return holding[0]
    return None


def failures(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The tests that failed, without what stands in their brackets."""
    lines = (line.split() for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return {words[1].partition("[")[0] for words in lines if len(words) > 1}


def copy(source: Path, place: Path) -> Path:
    """The tree with an interpreter of its own, so that a `sipcli` that a test starts is the copy's too."""
    for name in CARRIED:
        if (source / name).is_dir():
            left = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source / name, place / name, ignore=left, symlinks=True)
        else:
            shutil.copy(source / name, place / name)
    modules = "tests/support/servers/node/node_modules"
    (place / modules).symlink_to(ROOT / modules)
    venv.create(place / ".venv", symlinks=True)
    ours, theirs = (next((root / ".venv/lib").glob("python*")) / "site-packages" for root in (ROOT, place))
    lines = [str(place), str(place / "providers"), f"import site; site.addsitedir({str(ours)!r})"]
    (theirs / "copy.pth").write_text("\n".join(lines) + "\n")
    for program in (ROOT / ".venv/bin").iterdir():
        link, text = place / ".venv/bin" / program.name, program.read_bytes()
        if link.exists():
            continue
        if text.startswith(interpreter := f"#!{ROOT}/.venv/bin/python".encode()):  # `sipcli` would be the original's
            link.write_bytes(text.replace(interpreter, f"#!{place}/.venv/bin/python".encode(), 1))
            link.chmod(0o755)
        else:
            link.symlink_to(program)
    return place


def run(place: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    python = str(place / ".venv/bin/python")
    command = [python, str(place / "scripts/run_alone.py"), python, "-m", "pytest", "-q", "--tb=no", "-rfE"]
    command += ["-p", "no:cacheprovider", f"--timeout={TIME_OUT}", *tests]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
