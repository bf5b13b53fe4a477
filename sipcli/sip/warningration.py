"""How often one kind of warning is told: strangers cause them as fast as they send (threat T23)."""

from __future__ import annotations

from typing import Final

__all__ = ["WARNINGS", "WARNING_WINDOW", "WarningRation"]

WARNINGS: Final = 20
"""Warnings of one code that are told in a window; each is a line on somebody's terminal and in somebody's journal."""
WARNING_WINDOW: Final = 10.0
"""Seconds."""


class WarningRation:
    """Counts per code: what is not told is in the next warning that is."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, code: str, message: str, now: float) -> str | None:
        """*message*, with how many were left out before it; None if it is left out itself.  *now* is in seconds."""
        begun, count = self._windows.get(code, (now, 0))
        left_out = 0
        if now - begun >= WARNING_WINDOW:
            begun, count, left_out = now, 0, max(0, count - WARNINGS)
        self._windows[code] = begun, count + 1
        if count >= WARNINGS:
            return None
        return f"{message} ({left_out} more like it were not told)" if left_out else message
