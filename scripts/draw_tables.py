#!/usr/bin/env python3
"""Draw the transaction tables for docs/transactions.md: ``--check`` says whether the page is up to date.

Inputs that lead from one state to the same next state share an arrow; what is
done stands behind the slash, in the words of ``sipcli.sip.transactions.tables.Do``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sipcli.sip.transactions.tables import MACHINES, Do, In, Machine, State  # noqa: E402

PAGE = ROOT / "docs" / "transactions.md"
HEAD = """\
# The four transactions

Generated from `sipcli/sip/transactions/tables.py` by `python scripts/draw_tables.py`: do not edit, a test compares.
Read an arrow as *what happens / what is done*. Letters are the timers of RFC 3261 table 4 and RFC 6026 section 8.11;
what is on no arrow is ignored in that state.
"""
SHORT = {In.TRYING: "200 ms", In.LATE_TRYING: "3.5 s", In.CANCEL: "64*T1 after CANCEL"}


def event_text(event: In) -> str:
    return SHORT.get(event, f"timer {event}" if len(event) == 1 else event.value)


def do_text(do: Do) -> str:
    if do.startswith("ARM_"):
        return f"arm {SHORT.get(In(do[4:]), do[4:])}"
    words = (word if len(word) < 2 or word in ("ACK", "T2") else word.lower() for word in do.split("_"))
    return " ".join(words)


def mermaid(machine: Machine) -> str:
    """A state diagram in Mermaid's words."""
    opening = ", ".join(map(do_text, machine.opening))
    lines = ["stateDiagram-v2", f"    [*] --> {machine.start} : {opening}"]
    arrows: dict[tuple[State, State, tuple[Do, ...]], list[In]] = {}
    for (state, event), (target, actions) in machine.table.items():
        arrows.setdefault((state, target, actions), []).append(event)
    for (state, target, actions), events in arrows.items():
        what = " or ".join(map(event_text, events))
        done = ", ".join(map(do_text, actions)) or "-"
        lines.append(f"    {state} --> {target} : {what} / {done}")
    lines.append(f"    {State.TERMINATED} --> [*]")
    return "\n".join(lines)


def rows(machine: Machine) -> str:
    """The same as a table to hold beside the RFC's figure."""
    lines = ["| state | input | next state | actions |", "|---|---|---|---|"]
    for (state, event), (target, actions) in machine.table.items():
        done = ", ".join(map(do_text, actions)) or "-"
        lines.append(f"| {state} | {event_text(event)} | {target if target is not state else '(same)'} | {done} |")
    return "\n".join(lines)


def page() -> str:
    parts = [
        f"## {machine.title}\n\n{machine.source}.\n\n```mermaid\n{mermaid(machine)}\n```\n\n{rows(machine)}\n"
        for machine in MACHINES
    ]
    return "\n".join([HEAD, *parts])


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python scripts/draw_tables.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
