"""How a failure reaches a person: one sentence, the next step, the raw cause; a traceback only with -vv."""

from __future__ import annotations

import errno
import traceback
from typing import Any

from sipcli import errors
from sipcli.cli.console import Console
from sipcli.cli.exits import ExitStatus, outcome_of, status_of
from sipcli.credentials import ProviderError
from sipcli.errors import AuthError, RequestFailed, SipcliError

__all__ = ["report_failure"]


_NEXT_STEPS: dict[type[BaseException], str] = {
    errors.Busy: "try again later",
    errors.Declined: "they do not want to talk now",
    errors.NotReachable: "is the address right? The server knows nobody of that name",
    errors.MediaFailed: "no codec is common to both sides: `sipcli doctor` lists ours, `--codec` chooses among them",
    errors.ServerFailed: "the server is in trouble: try again later, or ask its owner",
    errors.NoAnswer: "try again later, or look at what was sent with --ladder",
    errors.AuthAbandoned: "run it again, and answer the prompt",
    errors.RemoteProtocolError: "look at what the server sent with -vv",
}
"""The next step where the one who raised the error knew none."""
_MEDIA_STEPS = {
    "no relay": "is turn in the account right, and does that server take us? Or do without: --ice optional",
    "does no ICE": "do without: --ice optional",
    "ICE found no path": "look at what was offered with --ladder, or do without: --ice off",
    "does not encrypt": "if this call may be heard by others: --srtp optional",
    "SRTP keys": "if this call may be heard by others: --srtp optional",
    "has no SDP": "look at what was sent with --ladder",
    "our offer": "look at what was sent with --ladder",
}
"""By words of what stood in the way of the audio, where it is no codec."""


def report_failure(
    console: Console, verb: str, error: BaseException, *, verbose: bool = False, **more: Any
) -> ExitStatus:
    """Print *error* as the result of *verb*; returns the exit status it earns."""
    status, outcome = status_of(error), outcome_of(error)
    if verbose:
        for line in "".join(traceback.format_exception(error)).rstrip().split("\n"):
            console.insist(line)
    message, hint = _sentence(error)
    if isinstance(error, RequestFailed):
        more.setdefault("code", error.code)
        more.setdefault("reason", error.reason or None)
        if error.refused is not None:
            more.setdefault("refused", error.refused)
    if isinstance(error, AuthError):
        more.setdefault("realm", error.realm)
        more.setdefault("provider", error.provider)
    console.result(verb, status, outcome, message, hint=hint, cause=_cause(error), **more)
    return status


def _sentence(error: BaseException) -> tuple[str, str | None]:
    if isinstance(error, SipcliError):
        hint = error.hint or _next_step(error)
        return str(error) or type(error).__name__, hint
    if isinstance(error, ProviderError):
        return str(error) or type(error).__name__, None
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        hint = {
            errno.EROFS: "the file system is read-only: name another place",
            errno.ENOSPC: "the disk is full: make room, or name another place",
            errno.ENOENT: "make that place, or name another one",
            errno.ENOTDIR: "a part of that is a file: name another place",
            errno.EACCES: "you may not do that here: name another place",
        }.get(error.errno or 0)
        return f"{where}{error.strerror or error}", hint
    return (
        f"this is a bug of sipcli: {type(error).__name__}: {error}",
        "run it again with -vv and report what it prints",
    )


def _next_step(error: SipcliError) -> str | None:
    if isinstance(error, errors.MediaFailed):
        for words, step in _MEDIA_STEPS.items():
            if words in str(error):
                return step
    return next((_NEXT_STEPS[kind] for kind in type(error).__mro__ if kind in _NEXT_STEPS), None)


def _cause(error: BaseException) -> str | None:
    """The innermost cause, if it says something that the sentence does not."""
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is None:
        return None
    text = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    said = (isinstance(cause, OSError) and cause.strerror) or str(cause)
    return None if said and said in str(error) else text
