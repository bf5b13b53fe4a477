"""The ladder picture: who sent what and when, and how long each provider took, drawn line by line as it happens.

::

      sipcli 192.0.2.5:41822                    203.0.113.9:5061 (tls)
       0.000 ──REGISTER 1──────────────────────────▶
       0.031 ◀──────────────────── 401 Unauthorized   Digest realm="trunk" SHA-256, MD5  qop=auth
       0.032     credentials? keychain: not found → vault: 118 ms ✓ voip/trunk#7
       0.151 ──REGISTER 2  SHA-256 alice ──────────▶
       0.183 ◀──────────────────── 200 OK             expires 600

It reads events only (``trace``, ``auth.*``, ``media``), so it can be fed live or from a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sipcli.observe.text import safe_text

__all__ = ["Ladder", "SipSummary"]

Fields: TypeAlias = Mapping[str, Any]

_WIDTH = 38
"""Columns of an arrow with its label."""
_AT_ONCE_MS = 20.0
"""An answer this quick, with nobody asked, came from memory."""
_ASIDE = 100
"""Columns of the remark beside an arrow that are shown."""

_LINE, _RIGHT, _LEFT = (
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}",
    "\N{BLACK RIGHT-POINTING TRIANGLE}",
    "\N{BLACK LEFT-POINTING TRIANGLE}",
)
_WAVE, _TICK, _CROSS, _NEXT = (
    "\N{BOX DRAWINGS DOUBLE HORIZONTAL}",
    "\N{CHECK MARK}",
    "\N{BALLOT X}",
    "\N{RIGHTWARDS ARROW}",
)

_COMPACT = {
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "v": "via",
    "l": "content-length",
    "c": "content-type",
}
_AUTH_PARAMETER = re.compile(r'(?:^|[\s,])(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


@dataclass(frozen=True, slots=True)
class SipSummary:
    """What of one (masked) message the picture shows."""

    start_line: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, sip: str) -> SipSummary:
        """Of the text of a message; a broken one still has a first line."""
        head = sip.replace("\r\n", "\n").split("\n\n", 1)[0]
        lines = re.sub(r"\n[ \t]+", " ", head).split("\n")
        headers = tuple(
            (_COMPACT.get(name.strip().lower(), name.strip().lower()), value.strip())
            for name, _, value in (line.partition(":") for line in lines[1:])
        )
        return cls(lines[0].strip(), headers)

    def values(self, *names: str) -> Iterable[str]:
        return (value for name, value in self.headers if name in names)

    def first(self, name: str) -> str:
        return next(iter(self.values(name)), "")

    @property
    def status(self) -> int | None:
        """None for a request."""
        found = re.match(r"SIP/2\.0 (\d{3})", self.start_line, re.IGNORECASE)
        return int(found[1]) if found else None

    @property
    def label(self) -> str:
        """``REGISTER 2`` or ``401 Unauthorized``."""
        if self.status is not None:
            return self.start_line[8:].strip()
        method = self.start_line.split(" ", 1)[0]
        number = self.first("cseq").split(" ", 1)[0]
        return f"{method} {number}".strip()


@dataclass(slots=True)
class _Decision:
    """One pending challenge: when it came, and what the providers said."""

    at_ms: float
    realm: str
    said: list[str] = field(default_factory=list)
    found: bool = False
    stale: bool = False

    def line(self, end: str = "") -> str:
        known = "nonce was stale: same secret again" if self.stale else "known already"
        return _row(self.at_ms, f"    credentials? {f' {_NEXT} '.join(self.said) or known}{end}")


class Ladder:
    """Feed it events in order; each call returns the lines to draw now."""

    def __init__(self) -> None:
        self._sides: tuple[str, str, str] | None = None
        self._decisions: dict[str, _Decision] = {}
        self._expires_wanted = ""
        self._origin: float | None = None

    def feed(self, event: str, fields: Fields, ms: float) -> list[str]:
        """Lines for *event*, which happened at *ms* (milliseconds on any clock); the first message is at zero."""
        if self._origin is None and event == "trace":
            self._origin = ms
        ms -= self._origin or 0.0
        match event:
            case "trace":
                return self._message(fields, ms)
            case "auth.challenged" if fields["chosen"] is not None:
                stale = any(scheme.get("stale") for scheme in fields.get("schemes", ()))
                self._decisions[fields["challenge"]] = _Decision(ms, fields["realm"], stale=stale)
            case "auth.provider":
                decision = self._decisions.get(fields["challenge"])
                if decision is not None:
                    decision.said.append(_provider_words(fields))
                    decision.found |= fields["outcome"] == "found"
            case "auth.done":
                return self._decided(fields)
            case "media" if fields["state"] in ("flowing", "silent"):
                return [_row(ms, _audio(fields))]
        return []

    def _message(self, fields: Fields, ms: float) -> list[str]:
        summary = SipSummary.of(fields["sip"])
        lines: list[str] = []
        sides = (fields["local"], fields["remote"], fields["transport"])
        if sides != self._sides:
            self._sides = sides
            left = f"sipcli {safe_text(sides[0])}"
            lines.append(f"  {left:<{_WIDTH + 4}}{safe_text(sides[1])} ({sides[2].lower()})")
        lines += self._decided_by_sending(fields["direction"], summary, ms)
        lines.append(_row(ms, self._arrow(fields["direction"], summary)))
        return lines

    def _decided_by_sending(self, direction: str, summary: SipSummary, ms: float) -> list[str]:
        """The answer goes out before ``auth.done`` is told; its line belongs above the arrow."""
        if direction != "out" or summary.status is not None:
            return []
        realms = {_parameters(value).get("realm") for value in summary.values("authorization", "proxy-authorization")}
        lines = []
        for challenge, decision in list(self._decisions.items()):
            known = not decision.said and ms - decision.at_ms < _AT_ONCE_MS
            if decision.realm in realms and (decision.found or known):
                lines.append(decision.line())
                del self._decisions[challenge]
        return lines

    def _arrow(self, direction: str, summary: SipSummary) -> str:
        label, aside = safe_text(summary.label, limit=34), self._aside(summary)
        if summary.status is None:
            attached = _credentials_words(summary)
            label = f"{label}  {attached} " if attached else label
        if direction == "out":
            arrow = f"{_LINE * 2}{label}".ljust(_WIDTH - 1, _LINE) + _RIGHT
        else:
            arrow = _LEFT + f" {label}".rjust(_WIDTH - 1, _LINE)
        return f"{arrow}   {aside}".rstrip()

    def _aside(self, summary: SipSummary) -> str:
        if summary.status is None:
            self._expires_wanted = summary.first("expires") or self._expires_wanted
            return ""
        if summary.status in (401, 407):
            challenges = summary.values("www-authenticate", "proxy-authenticate")
            return safe_text(_challenge_words(list(challenges)), limit=_ASIDE)
        remarks = []
        if summary.status == 200 and "REGISTER" in summary.first("cseq"):
            remarks.append(self._expires_words(summary))
        if summary.first("service-route"):
            remarks.append(f"Service-Route: {summary.first('service-route')}")
        return safe_text(", ".join(filter(None, remarks)), limit=_ASIDE)

    def _expires_words(self, summary: SipSummary) -> str:
        found = re.search(r";\s*expires=(\d+)", summary.first("contact"), re.IGNORECASE)
        got = found[1] if found else summary.first("expires")
        if not got:
            return ""
        wanted = self._expires_wanted
        return f"expires {wanted}{_NEXT}{got} (server)" if wanted and wanted != got else f"expires {got}"

    def _decided(self, fields: Fields) -> list[str]:
        decision = self._decisions.pop(fields["challenge"], None)
        if decision is None:
            return []
        answered = fields["outcome"] == "answered"
        end = "" if answered else f" {_NEXT} {fields['outcome']} after {fields['waited_ms'] / 1000:.1f} s"
        decision.stale |= fields["cause"] == "stale"
        return [decision.line(end)]


def _row(ms: float, text: str) -> str:
    return f"{ms / 1000:8.3f} {text}"


def _provider_words(fields: Fields) -> str:
    name, took = safe_text(fields["provider"]), f"{fields['took_ms']:.0f} ms"
    if fields["outcome"] == "found":
        where = f" {safe_text(fields['secret_ref'])}" if fields.get("secret_ref") else ""
        return f"{name}: {took} {_TICK}{where}"
    why = f" ({safe_text(fields['message'], limit=80)})" if fields.get("message") else ""
    outcome = fields["outcome"].replace("_", " ")
    return f"{name}: {outcome}{why}" + ("" if fields["outcome"] == "not_found" else f" {took} {_CROSS}")


def _parameters(value: str) -> dict[str, str]:
    return {name.lower(): quoted or plain for name, quoted, plain in _AUTH_PARAMETER.findall(value)}


def _challenge_words(values: list[str]) -> str:
    """``Digest realm="trunk" SHA-256, MD5  qop=auth``: one clause per scheme and realm."""
    clauses: dict[tuple[str, str], list[str]] = {}
    ends: dict[tuple[str, str], str] = {}
    for value in values:
        scheme, _, rest = value.partition(" ")
        found = _parameters(rest)
        key = (scheme, found.get("realm", ""))
        clauses.setdefault(key, []).append(found.get("algorithm", "MD5") if scheme.lower() == "digest" else "")
        qop = f"  qop={found['qop']}" if "qop" in found else ""
        ends[key] = qop + ("  stale" if found.get("stale", "").lower() == "true" else "")
    return "; ".join(
        f'{scheme} realm="{realm}" {", ".join(filter(None, algorithms))}{ends[scheme, realm]}'.strip()
        for (scheme, realm), algorithms in clauses.items()
    )


def _credentials_words(summary: SipSummary) -> str:
    words = []
    for value in summary.values("authorization", "proxy-authorization"):
        scheme, _, rest = value.partition(" ")
        found = _parameters(rest)
        who = f"{found.get('algorithm', 'MD5')} {found.get('username', '')}" if scheme.lower() == "digest" else scheme
        words.append(safe_text(who.strip(), limit=24))
    return ", ".join(words)


def _audio(fields: Fields) -> str:
    codec = f" {fields['codec']}/{fields['rate']} " if fields.get("codec") else " audio "
    if fields["state"] == "silent":
        return f"{_CROSS} no audio arrives"
    return _LEFT + codec.center(_WIDTH - 2, _WAVE) + _RIGHT
