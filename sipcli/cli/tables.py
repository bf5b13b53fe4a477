"""Small tables as lines: laid out by rich where it is installed, else in plain columns; never an escape sequence."""

from __future__ import annotations

import io
from collections.abc import Sequence

from sipcli.cli.screen import fit, width_of

__all__ = ["table_lines"]

_GAP = 2


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """*rows* below *header* (which may be empty), as lines of at most *columns*.  Cells are fit to be printed.

    Loading rich takes a while: call this on a worker thread while calls are up.
    """
    try:
        return _by_rich(header, rows, columns)
    except ImportError:
        return _plain([list(header), *rows] if any(header) else list(rows), columns)


def _by_rich(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=any(header))
    for place, name in enumerate(header):
        table.add_column(Text(name), no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # never a str: rich reads [words] as markup
    out = io.StringIO()
    Console(
        file=out, width=columns, color_system=None, force_terminal=False, force_jupyter=False, legacy_windows=False
    ).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _plain(rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    widths = [max(width_of(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell + " " * (width - width_of(cell) + _GAP) for cell, width in zip(row, widths, strict=True)]
        lines.append(fit("".join(cells).rstrip(), columns))
    return lines
