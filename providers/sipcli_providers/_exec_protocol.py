"""The helper protocol, version 1: lines of ``key=value``, ended by an empty line (docs/providers/exec.md).

No value may hold CR, LF or NUL, in either direction: a line break in a value
is a line of its own to whoever reads it (git's CVE-2020-5260).  Octets in,
octets out: a password need not be UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

VERSION = "1"

Verb: TypeAlias = Literal["get", "sign", "store", "erase", "capability"]

NOT_FOUND, FAILED, CANCELLED, DENIED = 1, 2, 3, 4
"""Exit statuses of a helper; 0 is success, and any other is a failure."""

SECRETS = ("password", "ha1", "bearer", "response")
"""An answer has exactly one of these."""

_SINGLE = frozenset({"version", "username", "expires_utc", "ephemeral", "quit", "rspauth", "auts", *SECRETS})
_LISTS = frozenset({"capability[]", "state[]", "algorithm[]"})
_FORBIDDEN = (b"\r", b"\n", b"\0")


class Garbled(ValueError):
    """What a helper said is not of the protocol; the sentence never quotes it, for it may hold a secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a helper said: the keys that we know, each value as octets."""

    values: dict[str, bytes]
    capabilities: frozenset[str]
    state: tuple[bytes, ...]
    algorithms: tuple[str, ...]

    def text(self, key: str) -> str | None:
        """A value as text; None if it is absent.  Raises Garbled."""
        value = self.values.get(key)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            raise Garbled(f"its {key} is not UTF-8") from None

    def flag(self, key: str) -> bool:
        return self.values.get(key) in (b"1", b"true")

    def secret(self) -> tuple[str, bytes] | None:
        """The kind and the octets of what it gave; None if it gave nothing.  Raises Garbled."""
        given = [kind for kind in SECRETS if kind in self.values]
        if len(given) > 1:
            raise Garbled(f"it gives {' and '.join(given)} at once")
        return (given[0], self.values[given[0]]) if given else None


def encode(pairs: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The request as a helper reads it.  Raises ValueError for a value with CR, LF or NUL."""
    lines = []
    for key, value in pairs:
        octets = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value
        if any(bad in octets for bad in _FORBIDDEN):
            raise ValueError(f"the {key.removesuffix('[]')} contains CR, LF or NUL")
        lines.append(key.encode() + b"=" + octets + b"\n")
    return b"".join(lines) + b"\n"


def decode(octets: bytes | bytearray) -> Answer:
    """What a helper answered, up to the first empty line.  Unknown keys are skipped.  Raises Garbled."""
    values: dict[str, bytes] = {}
    lists: dict[str, list[bytes]] = {key: [] for key in _LISTS}
    for number, line in enumerate(bytes(octets).split(b"\n"), 1):
        if not line:
            break
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise Garbled(f"line {number} of its answer is not key=value")
        if b"\r" in line or b"\0" in line:
            raise Garbled(f"line {number} of its answer contains CR or NUL")
        key = name.decode("ascii", "replace")
        if key in _LISTS:
            lists[key].append(value)
        elif key in _SINGLE:
            if key in values:
                raise Garbled(f"it gives {key} twice")
            values[key] = value
    capabilities, algorithms = (
        tuple(word.decode("ascii", "replace") for word in lists[key]) for key in ("capability[]", "algorithm[]")
    )
    answer = Answer(values, frozenset(capabilities), tuple(lists["state[]"]), algorithms)
    if values.get("version", VERSION.encode()) != VERSION.encode():
        raise Garbled(f"it speaks another version of the protocol than {VERSION}, the only one that sipcli speaks")
    return answer
