"""``make networks``: runs the tests of bad networks and writes what they measured into docs/networks.md.

Needs root.  The tests hand their rows over as properties of the JUnit report (tests/support/figures.py).
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "networks.md"
REPORT = ROOT / ".work" / "networks.xml"
BEGIN, END = "<!-- figures: written by make networks -->", "<!-- end of figures -->"
TESTS = ["test_e2e_bad_networks.py", "test_e2e_networks.py", "test_e2e_ice_nat.py"]
MEASURED = "bad_networks or another_address or rebooted or between_two_homes"


def run() -> None:
    """Two at a time, as everything here is mostly waiting; users do not run in development mode either."""
    REPORT.parent.mkdir(exist_ok=True)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        f"--junitxml={REPORT}",
        "-k",
        MEASURED,
    ]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
    done = subprocess.run([*argv, *(f"tests/e2e/{name}" for name in TESTS)], cwd=ROOT, env=env, check=False)
    if done.returncode:
        raise SystemExit("the tests failed, and docs/networks.md is as it was")


def natural(text: str) -> list[object]:
    """Numbers in a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def rows() -> list[dict[str, Any]]:
    found = [
        (TESTS.index(case.get("classname", "").rpartition(".")[2] + ".py"), json.loads(item.get("value", "")))
        for case in ET.parse(REPORT).iter("testcase")
        for item in case.iter("property")
        if item.get("name") == "network"
    ]
    found.sort(key=lambda pair: (pair[0], natural(pair[1]["network"]), pair[1]["between"]))
    return [row for _, row in found]


def table(found: list[dict[str, Any]]) -> str:
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    lines = [
        f"{machine}, load average {os.getloadavg()[1]:.0f}; two tests at a time. Of the two sides the worse one.",
        "",
        "| network | between | answered after | codec | clear tone | over noise | longest gap | > 60 ms | the call |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        setup = "" if row["setup_ms"] is None else f"{row['setup_ms']:.0f} ms"
        lines.append(
            f"| {row['network']} | {row['between']} | {setup} | {row['codec'] or ''} | {row['heard_pct']} % of "
            f"{row['seconds']} s | {row['snr_db']} dB | {row['longest_gap_ms']} ms | {row['gaps']} | {row['how']} |"
        )
    return "\n".join(lines)


def main() -> None:
    run()
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows())}\n{END}{after}")


if __name__ == "__main__":
    main()
