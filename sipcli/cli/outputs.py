"""What a run writes beside its events, where it was asked to: the trace, the picture, and the keys of TLS."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.environment import Environment
from sipcli.cli.parameters import GlobalOptions
from sipcli.errors import ConfigError

if TYPE_CHECKING:
    from sipcli.cli.tracefile import TraceFile
    from sipcli.observe.ladder import Ladder

__all__ = ["Outputs"]


class Outputs:
    """Nothing, until :meth:`open`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._trace: TraceFile | None = None
        self._ladder: Ladder | None = None
        self.key_log: Path | None = None
        """Where the keys of TLS connections go."""

    def open(self, options: GlobalOptions) -> None:
        """Raises ConfigError when a file cannot be written, or must not be."""
        if options.trace is not None:
            from sipcli.cli.tracefile import TraceFile

            self._trace = TraceFile(options.trace, self._environment)
        if options.keylog is not None:
            from sipcli.cli.privatefile import open_private

            # Added to, as everybody adds to such a file: others may be writing to it, for a capture that goes on.
            _begin_key_log(open_private(options.keylog, "a key log", keep=True), options.keylog)
            self.key_log = options.keylog.absolute()
        if options.ladder:
            from sipcli.observe.ladder import Ladder

            self._ladder = Ladder()

    @property
    def want_messages(self) -> bool:
        """Whether anything here lives on ``trace`` events."""
        return self._trace is not None or self._ladder is not None

    def write(self, event: str, fields: dict[str, Any]) -> str | None:
        """*event* into the trace; returns why that has ended, once."""
        return None if self._trace is None else self._trace.write(event, fields)

    def draw(self, event: str, fields: dict[str, Any]) -> Iterable[str]:
        """The lines of the picture that *event* adds."""
        return () if self._ladder is None else self._ladder.feed(event, fields, self._environment.milliseconds())

    def close(self) -> None:
        """What was written is on the disk."""
        if self._trace is not None:
            self._trace.close()


def _begin_key_log(descriptor: int, path: Path) -> None:
    """Write a first line, a comment, and close: OpenSSL, which writes the others, tells nobody that a disk is full.

    Raises ConfigError where it is.
    """
    try:
        os.write(descriptor, b"# keys of sipcli\n")
    except OSError as error:
        raise ConfigError(
            f"the key log {path} cannot be written: {error.strerror}",
            hint="make room, name another place, or leave --keylog out",
        ) from None
    finally:
        os.close(descriptor)
