"""One line of the control socket: newline JSON, bounded, each command answered with its ``id`` (docs/events.md).

::

    → {"id":"1","command":"auth.answer","account":"ops","secret":"…"}
    ← {"v":1,"id":"1","ok":true,"outcome":"registered","code":200}
    ← {"v":1,"id":"1","ok":false,"error":"not_waiting","message":"ops does not wait for anybody: it is registered"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from sipcli.credentials import Secret

__all__ = ["LONGEST_LINE", "ControlError", "Id", "LineSplitter", "Request", "parse_request", "reply"]

LONGEST_LINE = 16384
"""Octets.  The longest command carries a secret of 4096, every octet of which JSON may write as six."""
_LONGEST_ID = 64
_SECRETS = frozenset(("secret",))

Id: TypeAlias = str | int | None


class ControlError(Exception):
    """What a command is answered with when it fails: *kind* for programs, the message for people."""

    def __init__(self, kind: str, message: str, *, hint: str | None = None, id: Id = None) -> None:  # noqa: A002
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.id = id


@dataclass(frozen=True, slots=True)
class Request:
    """One command.  Its secrets are wrapped already, and are not in *fields*."""

    id: Id
    command: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The field *name*, or None.  Raises ControlError if it is no text."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise ControlError("bad_request", f"“{name}” is a text")
        return value

    def wipe(self) -> None:
        """Zero what nobody took."""
        for secret in self.secrets.values():
            secret.wipe()


class Line(NamedTuple):
    """A whole line, without its newline; or None for one that was too long, and was thrown away."""

    octets: bytearray | None


class LineSplitter:
    """Octets in, lines out; holds at most :data:`LONGEST_LINE` octets, however long a line is."""

    __slots__ = ("_buffer", "_skipping")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False

    def feed(self, data: bytes | bytearray) -> list[Line]:
        """The lines that *data* completes, in order."""
        lines: list[Line] = []
        view = memoryview(data)
        start = 0
        while start < len(data):
            end = data.find(b"\n", start)
            upto = len(data) if end < 0 else end
            if not self._skipping:
                if len(self._buffer) + upto - start > LONGEST_LINE:
                    self.wipe()
                    self._skipping = True
                    lines.append(Line(None))
                else:
                    self._buffer += view[start:upto]
            if end < 0:
                break
            if not self._skipping:
                lines.append(Line(self._buffer))
                self._buffer = bytearray()
            self._skipping = False
            start = end + 1
        return lines

    def wipe(self) -> None:
        """Zero the unfinished line: it may hold half a secret."""
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer.clear()


def parse_request(line: bytearray) -> Request:
    """The command in *line*, which is zeroed.  Raises ControlError, with the ``id`` if one could be read.

    No error quotes the line, nor carries it along: it may hold a secret.
    """
    try:
        value: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        value = None
    finally:
        line[:] = bytes(len(line))
    if not isinstance(value, dict):
        raise ControlError("bad_request", "a command is one JSON object per line")
    name = value.pop("id", None)
    if not _is_id(name):
        raise ControlError("bad_request", f"“id” is a number, or a text of at most {_LONGEST_ID} characters")
    command = value.pop("command", None)
    if not isinstance(command, str):
        raise ControlError("bad_request", "“command” is missing", id=name)
    secrets: dict[str, Secret] = {}
    for key in _SECRETS & value.keys():
        text = value.pop(key)
        if not isinstance(text, str):
            raise ControlError("bad_request", f"“{key}” is a text", id=name)
        # surrogateescape: what is typed under another locale than UTF-8 is a password, too.
        try:
            secrets[key] = Secret(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise ControlError("bad_request", f"“{key}” is no text", id=name) from None
    return Request(name, command, value, secrets)


def _is_id(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return (
        value is None
        or (isinstance(value, int) and abs(value) < 2**53)
        or (isinstance(value, str) and len(value) <= _LONGEST_ID)
    )


def reply(id: Id, fields: Mapping[str, Any] | ControlError) -> bytes:  # noqa: A002 - the protocol's word
    """The line that answers the command *id*: what it gave, or why it failed."""
    line: dict[str, Any] = {"v": 1, "id": id, "ok": not isinstance(fields, ControlError)}
    if isinstance(fields, ControlError):
        line |= {"error": fields.kind, "message": str(fields)}
        if fields.hint is not None:
            line["hint"] = fields.hint
    else:
        line |= fields
    return json.dumps(line, separators=(",", ":"), default=str).encode() + b"\n"
