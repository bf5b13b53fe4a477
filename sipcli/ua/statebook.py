"""What is kept across restarts: the pins of each account, and its restraint, in one small file (decision 30).

Never a secret.  The core gives and takes snapshots; this is the shell that
keeps them.  Everything here may be missing, read-only or damaged, and sipcli
works all the same: what went wrong is a warning, said once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sipcli.config import AccountConfig
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.restraint import Restraint

__all__ = ["StateBook", "default_state_path", "key_of"]

log = logging.getLogger(__name__)

_LARGEST = 1 << 20
_MOST_ACCOUNTS = 64
_LOCK_WAIT = 0.2
"""Seconds for which the loop may stand still, should another process have been stopped in the middle of a change."""
_VERSION = 1

Entry: TypeAlias = dict[str, Any]


def default_state_path(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_STATE_HOME/sipcli/state.json``, else below ``~/.local/state``; None without a home."""
    if sys.platform == "darwin":
        folder = Path("~/Library/Application Support")
    else:
        folder = Path(environ.get("XDG_STATE_HOME") or "~/.local/state")
    try:
        path = (folder / "sipcli" / "state.json").expanduser()
    except RuntimeError:
        return None
    return path if path.is_absolute() else None


def key_of(account: AccountConfig) -> str:
    """An account by its name and by whom it talks to: what another server did says nothing of this one."""
    proxy = "" if account.proxy is None else str(account.proxy)
    return " ".join((account.name, str(account.aor), str(account.registrar), proxy)).strip()[:1024]


class StateBook:
    """The file at *path*; None keeps nothing.

    Every change is read, merged, written and renamed under a lock, so that of two
    processes neither loses what the other learned.
    """

    def __init__(self, path: Path | None, *, warn: Callable[[str], None] = log.warning) -> None:
        self._path = path
        self._warn = warn
        self._warned = False
        self._pins: dict[str, dict[str, frozenset[str]]] = {}

    @property
    def folder(self) -> Path | None:
        """Where it is kept; None: nowhere."""
        return None if self._path is None else self._path.parent

    def pins(self, account: AccountConfig) -> Pins:
        """What is remembered of *account*'s servers."""
        pins = Pins()
        pins.restore(self._part(account, "pins"))
        self._pins[key_of(account)] = _content(pins.snapshot())
        return pins

    def keep_pins(self, account: AccountConfig, pins: Pins) -> None:
        """Write down what *pins* know and the file does not; nothing happens if that is nothing."""
        key, learned = key_of(account), pins.snapshot()
        if self._pins.get(key) == _content(learned):
            return
        self._pins[key] = _content(learned)

        def merge(entry: Entry) -> None:
            both = Pins()
            for kept in (_table(entry, "pins"), learned):
                both.restore(kept)
            entry["pins"] = both.snapshot()

        self._change(key, merge)

    def restraint(self, account: AccountConfig) -> Restraint:
        """How often *account* was refused of late."""
        return Restraint.restored(self._part(account, "restraint"))

    def keep_restraint(self, account: AccountConfig, change: Callable[[Restraint], Restraint]) -> None:
        """Replace the restraint of *account* by what *change* makes of it."""

        def merge(entry: Entry) -> None:
            entry["restraint"] = change(Restraint.restored(_table(entry, "restraint"))).snapshot()

        self._change(key_of(account), merge)

    def pardon(self, account: AccountConfig) -> None:
        """Its secret is another one now: how often it was refused does not count any more, by whichever server."""
        for key in self._keys_of(account):
            self._change(key, lambda entry: entry.pop("restraint", None))

    def forget(self, account: AccountConfig) -> bool:
        """Everything about *account*, whichever server or proxy it was used with.

        False if there was nothing, or if it could not be done.
        """
        keys = self._keys_of(account)
        return bool(keys) and all(self._change(key, lambda entry: entry.clear()) for key in keys)

    # -- the file --------------------------------------------------------------------------------------------------

    def _keys_of(self, account: AccountConfig) -> list[str]:
        """``--proxy`` and ``--registrar`` are said where it registers, and not where it is forgotten."""
        ours = f"{account.name} {account.aor} "
        return [key for key in self._read() if key.startswith(ours)]

    def _part(self, account: AccountConfig, part: str) -> Entry:
        return _table(self._read().get(key_of(account), {}), part)

    def _read(self) -> dict[str, Entry]:
        """The accounts of the file; none if there is no file, or none that can be believed."""
        if self._path is None:
            return {}
        try:
            document = json.loads(_read_guarded(self._path))
            if document["v"] != _VERSION:
                raise ValueError("it was written by another version")
            return {key: entry for key, entry in document["accounts"].items() if isinstance(entry, dict)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._complain(f"{self._path} is not believed, and begun anew: {_reason(error)}")
            return {}

    def _change(self, key: str, change: Callable[[Entry], object]) -> bool:
        if self._path is None:
            return False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _judge(os.lstat(self._path.parent), folder=True)
            with _locked(self._path.with_suffix(".lock")):
                accounts = self._read()
                entry = accounts.pop(key, {})
                change(entry)
                if entry:
                    accounts[key] = entry  # the latest at the end
                for oldest in list(accounts)[:-_MOST_ACCOUNTS]:
                    del accounts[oldest]
                _write(self._path, json.dumps({"v": _VERSION, "accounts": accounts}, indent=1))
        except OSError as error:
            # Where the disk is read-only, or there is no home, nobody expects us to remember.
            log.debug("%s cannot be written: %s", self._path, _reason(error))
            return False
        except ValueError as error:
            self._complain(f"{self._path} is not written: {_reason(error)}")
            return False
        return True

    def _complain(self, words: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(words)


def _table(entry: Entry, name: str) -> Entry:
    part = entry.get(name)
    return part if isinstance(part, dict) else {}


def _content(entry: Entry) -> dict[str, frozenset[str]]:
    """What *entry* says, whatever was heard last: two realms that take turns are no news."""
    return {
        part: frozenset(map(repr, kept.items() if isinstance(kept, dict) else kept)) for part, kept in entry.items()
    }


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | KeyError | TypeError | AttributeError):
        return "it is damaged"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _read_guarded(path: Path) -> str:
    """The descriptor that is judged is the one that is read.  ValueError for what nobody should believe."""
    _judge(os.lstat(path.parent), folder=True)
    # O_NONBLOCK: opening a named pipe must not wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        _judge(os.fstat(descriptor), folder=False)
        octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise ValueError("it is larger than 1 MiB")
    return octets.decode()


def _judge(status: os.stat_result, *, folder: bool) -> None:
    what = "its folder" if folder else "it"
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(status.st_mode):
        raise ValueError(f"{what} is a link" if stat.S_ISLNK(status.st_mode) else f"{what} is of the wrong kind")
    if status.st_uid != os.geteuid():
        raise ValueError(f"{what} belongs to somebody else (uid {status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"{what} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")


def _write(path: Path, text: str) -> None:
    """A whole new file in the place of the old one, or the old one as it was."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with the file beside *path*.  Raises OSError when another process does not let go."""
    if sys.platform == "win32":
        raise OSError("there is no lock that we know on this system")
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
