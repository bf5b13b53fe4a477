"""Judges a program before it is run: only its owner, root or we could have put it there (threat T16).

Whoever may write the program, a folder on the way to it, or a link on that
way, decides what is run with our secrets.  So the way is walked one component
at a time, links included, and each is judged; the sticky bit of ``/tmp`` keeps
strangers from renaming what is ours.  The order of ``PATH`` and the current
folder cannot matter, because neither is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sipcli.credentials import Denied, Unavailable
from sipcli_providers._lookup import printable

NEVER_SOON = 3600.0
"""``retry_after`` of what a second try in the same challenge would not mend."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40  # as the kernel's own walk (path_resolution(7))


def trusted_program(path: Path) -> Path:
    """The program that *path* leads to, links followed; it may be run as it is.

    Raises Denied when somebody else could have changed it, Unavailable when
    there is none.
    """
    try:
        place = path
        for place, facts in _walk(path):
            _judge(path, place, facts)
        if not stat.S_ISREG(place.stat().st_mode):
            raise Denied(f"{_shown(path)} is not a program but another kind of file")
        if not os.access(place, os.X_OK):
            raise Denied(f"{_shown(path)} may not be run by this user: chmod u+x {_shown(path)}")
    except (FileNotFoundError, NotADirectoryError):
        raise Unavailable(f"there is no program {_shown(path)}", retry_after=NEVER_SOON) from None
    except OSError as error:
        raise Denied(f"{_shown(path)} cannot be looked at: {error.strerror}") from error
    return place


def absolute(text: str, where: str) -> Path:
    """The whole path that a configuration must give; *where* names table and key.  Raises ValueError."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # no HOME, no such user
        raise ValueError(f"{where} starts with ~ but there is no home directory: write the whole path") from error
    if not path.is_absolute() or "\0" in text:
        raise ValueError(
            f"{where} must be the whole path of a program, for example /usr/local/bin/helper: PATH is not searched"
        )
    return path


def _walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every folder, link and file on the way, from the root to the target, each with its own facts."""
    place = Path("/")
    yield place, place.lstat()
    ahead = list(reversed(path.parts[1:]))
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            place = place.parent  # judged when we came through it
            continue
        facts = (place / part).lstat()
        yield place / part, facts
        if not stat.S_ISLNK(facts.st_mode):
            place = place / part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise Denied(f"{_shown(path)} is a link that leads to itself")
        target = (place / part).readlink()
        if target.is_absolute():
            place = Path("/")
        ahead.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    yield place, place.lstat()


def _judge(path: Path, place: Path, facts: os.stat_result) -> None:
    what = _shown(path) if place == path else f"{_shown(path)} is reached through {_shown(place)}, which"
    if facts.st_uid not in (os.geteuid(), 0):
        raise Denied(f"{what} belongs to another user (uid {facts.st_uid}): chown it to yourself or to root")
    sticky_folder = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
    if stat.S_ISLNK(facts.st_mode) or sticky_folder:
        return  # a link has no mode of its own
    if facts.st_mode & _OTHERS_WRITE:
        mode = facts.st_mode & 0o777
        raise Denied(f"{what} can be written by others (mode {mode:04o}): chmod go-w {_shown(place)}")


def _shown(path: Path) -> str:
    return printable(str(path))
