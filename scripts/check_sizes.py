"""Modules over 600 lines and functions over 60 are refused; over 400 and 50 they are named."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

SOFT_MODULE, HARD_MODULE, SOFT_FUNCTION, HARD_FUNCTION = 400, 600, 50, 60


def main() -> int:
    listing = subprocess.run(["git", "ls-files", "sipcli", "providers"], capture_output=True, text=True, check=True)
    bad = False
    for name in listing.stdout.split():
        path = Path(name)
        if path.suffix != ".py" or not path.exists():
            continue
        text = path.read_text()
        lines = text.count("\n")
        if lines > SOFT_MODULE:
            bad |= lines > HARD_MODULE
            print(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno + 1
                if length > SOFT_FUNCTION:
                    bad |= length > HARD_FUNCTION
                    print(f"{name}:{node.lineno}: {node.name} has {length} lines")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
