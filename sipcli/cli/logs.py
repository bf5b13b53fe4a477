"""What the libraries log, as sentences for people: escaped, redacted, and a traceback only with -vv (T12, T14)."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from sipcli.cli.console import Console, Style

__all__ = ["logs_on", "redact"]

# requests_oauthlib writes whole token requests into its debug log, urllib3 whole addresses.
_SECRET = re.compile(
    r"(\bbearer\s+|\b(?:response|password|passwd|secret|client_secret|access_token|"
    r"refresh_token|id_token|token|code|assertion|x-vault-token)[\"']?\s*[:=]\s*[\"']?)([^\s\"',;&}]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(\bauthorization[\"']?\s*[:=]\s*).*", re.IGNORECASE)


def redact(text: str) -> str:
    """*text* with ``***`` where a secret may stand; rather one too many than one too few."""
    return _SECRET.sub(r"\1***", _HEADER.sub(r"\1***", text))


class _ToConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = redact(record.getMessage())
        except Exception:  # a wrong format string of somebody else's
            message = str(record.msg)
        ours = record.name.partition(".")[0] == "sipcli"
        level = 0 if record.levelno >= logging.WARNING else 1 if record.levelno >= logging.INFO else 2
        if not ours:
            if record.levelno < logging.ERROR:
                level = max(level, 1)  # asyncio, urllib3, keyring: for those who look
            message = f"{record.name}: {message}"
        style = Style.WARN if record.levelno >= logging.WARNING else Style.DIM
        for line in message.split("\n"):
            self._console.say(line, style=style, level=level)
        if record.levelno >= logging.WARNING and ours:
            self._console.event("warning", {"code": "log", "message": message})
        if record.exc_info is not None and record.exc_info[0] is not None:
            for line in "".join(traceback.format_exception(*record.exc_info)).rstrip().split("\n"):
                self._console.say(redact(line), style=Style.DIM, level=2)


@contextmanager
def logs_on(console: Console) -> Iterator[None]:
    """Everything that is logged meanwhile goes to *console*; other people's debug lines are not even made."""
    handler = _ToConsole(console)
    root, ours = logging.getLogger(), logging.getLogger("sipcli")
    before = (root.level, ours.level)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel({0: logging.WARNING, 1: logging.INFO}.get(console.verbose, logging.DEBUG))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
