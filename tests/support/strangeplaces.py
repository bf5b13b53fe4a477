"""Names that somebody laid a link, a pipe or a folder behind, where a file of ours is to be written."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["strange_place"]


def strange_place(folder: Path, name: str, kind: str) -> tuple[Path, Path]:
    """The name, and a precious file beside it, which says "keep me" and must go on to.

    *kind*: ``link`` and ``hard link`` lead to that file, ``dangling`` leads to "nowhere"; ``pipe``, ``folder``.
    """
    path, precious = folder / name, folder / "precious"
    precious.write_text("keep me")
    match kind:
        case "link":
            path.symlink_to(precious)
        case "dangling":
            path.symlink_to(folder / "nowhere")
        case "hard link":
            path.hardlink_to(precious)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            raise ValueError(kind)
    return path, precious
