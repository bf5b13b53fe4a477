"""docs/transactions.md is what scripts/draw_tables.py draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sipcli.sip.transactions.tables import MACHINES

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/draw_tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_has_a_diagram_and_every_row_of_each_machine() -> None:
    page = (ROOT / "docs/transactions.md").read_text(encoding="utf-8")
    assert page.count("stateDiagram-v2") == len(MACHINES)
    data_rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| state")]
    assert len(data_rows) == sum(len(machine.table) for machine in MACHINES)
