"""``make bench``: runs every bench_*.py in turn, beside peers from the registries, and writes docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".work" / "bench-peers"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def install_peers() -> str | None:
    """An environment of their own for the Python peers; None (and said) where they cannot be installed."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    wanted = ["pyVoIP==1.6.8", "baresip-python==0.5.2a3"]
    done = subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=False)
    if done.returncode:
        print("bench: the Python peers could not be installed; their rows are missing", file=sys.stderr)
        return None
    return str(python)


def run(script: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    """The JSON objects a script printed, one a line."""
    print(f"bench: {script.stem} ...", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{script.stem}"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: {script.name} failed with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def table(results: list[dict[str, Any]]) -> str:
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    lines = [
        f"{machine}, shared with the registrar. Medians of one run; ratios travel better than milliseconds.",
        "",
        "| what | ours | to reach | beside |",
        "|---|---|---|---|",
    ]
    for result in results:
        mine = result["value"]
        rows = {name: row for name, row in result.get("rows", {}).items() if name != "sipcli"}
        beside = ", ".join(
            f"{name} {row['median']} {result['unit']}" + (f" (x{mine / row['median']:.2f})" if row["median"] else "")
            for name, row in rows.items()
        )
        detail = f" ({result['detail']})" if result.get("detail") else ""
        lines.append(
            f"| {result['name']} | **{mine} {result['unit']}**{detail} | {result.get('target', '')} | {beside} |"
        )
    return "\n".join(lines)


def main() -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env.pop("PYTHONDEVMODE", None)
    peers = install_peers()
    if peers:
        env["SIPCLI_BENCH_PEERS"] = peers
    chosen = sys.argv[1:]
    scripts = sorted(HERE.glob("bench_*.py"))
    results = [
        result
        for script in scripts
        if not chosen or script.stem.removeprefix("bench_") in chosen
        for result in run(script, env)
    ]
    for result in results:
        print(json.dumps(result))
    if not chosen:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
