"""Writes every generated document again, or with ``--check`` says which are out of date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
GENERATORS = (
    "draw_architecture.py",
    "draw_tables.py",
    "make_cli_docs.py",
    "make_conformance.py",
    "make_decisions.py",
    "make_interop.py",
)


def main() -> int:
    arguments = sys.argv[1:]
    return max(
        subprocess.run([sys.executable, str(HERE / name), *arguments], check=False).returncode for name in GENERATORS
    )


if __name__ == "__main__":
    sys.exit(main())
