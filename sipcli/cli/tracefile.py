"""``--trace FILE``: SIP messages, masked - as JSON lines, or as a capture where FILE ends in ``.pcap`` (T32)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sipcli.cli.environment import Environment
from sipcli.cli.privatefile import open_private
from sipcli.errors import ConfigError
from sipcli.observe.capture import BEGINNING, address_of, packet_record
from sipcli.observe.text import json_line

__all__ = ["TraceFile"]

_OTHER_CAPTURES = frozenset((".pcapng", ".cap"))
"""Names that promise a form which we do not write."""


class TraceFile:
    """Opened before anything is sent, so that a place that cannot be written is said at once.  Raises ConfigError."""

    def __init__(self, path: Path, environment: Environment) -> None:
        self._form = _form_of(path)(environment)
        self._stream: BinaryIO | None = os.fdopen(open_private(path, "a trace"), "wb")
        self._stream.write(self._form.beginning)  # stays in the buffer: a full disk is told at the first record

    def write(self, event: str, fields: Mapping[str, Any]) -> str | None:
        """One event; a full disk ends the trace, not the call.  Returns why it has ended, once."""
        if self._stream is None or not (record := self._form.record(event, fields)):
            return None
        try:
            self._stream.write(record)
            self._stream.flush()
        except OSError as error:
            self.close()
            return error.strerror or str(error)
        return None

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # what could not be flushed is lost; the call was not


class _JsonLines:
    """Every event, as ``--json`` prints it."""

    beginning = b""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def record(self, event: str, fields: Mapping[str, Any]) -> bytes:
        line = {"v": 1, "t": self._environment.now(), "ms": self._environment.milliseconds(), "event": event, **fields}
        return (json_line(line) + "\n").encode()


class _Capture:
    """The messages alone, from ``trace`` events: masked there, so that no form can forget it (T14)."""

    beginning = BEGINNING

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def record(self, event: str, fields: Mapping[str, Any]) -> bytes:
        if event != "trace":
            return b""
        ends = address_of(fields["local"]), address_of(fields["remote"])
        source, destination = ends if fields["direction"] == "out" else reversed(ends)
        return packet_record(source, destination, fields["sip"].encode(), self._environment.microseconds())


def _form_of(path: Path) -> type[_JsonLines | _Capture]:
    ending = path.suffix.lower()
    if ending in _OTHER_CAPTURES:
        raise ConfigError(
            f"{path}: no capture of that form is written", hint="name it FILE.pcap; sngrep and Wireshark open that"
        )
    return _Capture if ending == ".pcap" else _JsonLines
