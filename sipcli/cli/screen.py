"""The live call screen as text: the state of the calls in, the line below the log and the panes out; no terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipcli.observe.quality import verdict
from sipcli.observe.text import safe_text

if TYPE_CHECKING:
    from sipcli.media.quality import Level, MediaReport
    from sipcli.ua.media.mediafacts import MediaFacts

__all__ = ["CallView", "View", "fit", "media_words", "statistics_rows", "status_line", "width_of"]

_UP, _OTHER = "\N{BLACK CIRCLE}", "\N{WHITE CIRCLE}"
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_GAP = "  "
_SILENT_DBFS = -80.0
_LEAST_WHO = 8
"""Columns of an address that still say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """What is shown of one call.  *who* comes from the network; figures are None until they were measured."""

    id: str
    who: str
    state: str
    incoming: bool = False
    seconds: float | None = None
    """Since the answer."""
    media: str = ""
    """``opus/48k srtp``."""
    loss_pct: float | None = None
    jitter_ms: float | None = None
    mos: float | None = None
    sent: Level | None = None
    heard: Level | None = None
    muted: bool = False
    recording: bool = False
    conference: int = 0
    """How many calls are in the conference that it is in."""

    @property
    def rings(self) -> bool:
        """Somebody calls us."""
        return self.incoming and self.state in ("ringing", "early")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything the line says.  *front* is the call that keys are about; *others* are there, too."""

    front: CallView | None = None
    others: tuple[CallView, ...] = ()
    ready: str = ""
    """What we do while there is no call."""
    asked: bool = False
    leaving: bool = False
    digits: bool = False


# ── the line below the log ────────────────────────────────────────────────────────────────────────────────────


def status_line(view: View, columns: int) -> str:
    """One line of at most *columns*; what matters least is left out first.  Empty: there is nothing to say."""
    call = view.front or next((other for other in view.others if other.rings), None)
    if call is None:
        return fit(f"{_OTHER} {view.ready}{_GAP}[q]uit [?]", columns) if view.ready else ""
    head = f"{_UP if call.state == 'answered' else _OTHER} {_doing(call)}"
    who = safe_text(call.who, limit=200)
    figures = _figures(call)
    parts = [
        # What it says, and how early it goes when there is no room.
        (_media_of(call), 1),
        (figures[0], 2),
        (figures[1], 4),
        ("" if view.leaving or view.asked or view.digits else _levels(call), 3),
        (_marks(call), 6),
        (_beside(view, call), 5),
        (_keys(view, call), 7),
    ]
    if width_of(_join([head, who, *(part for part, _ in parts)])) > columns:
        parts[-1] = (_keys(view, call, short=True), 7)
    for gone in range(8):
        kept = [part for part, rank in parts if rank > gone]
        room = columns - width_of(_join([head, *kept])) - len(_GAP)
        if room >= min(width_of(who), _LEAST_WHO):
            return _join([head, fit(who, room), *kept])
    return fit(_join([head, who]), columns)


def _doing(call: CallView) -> str:
    words = {"answered": "in call", "held": "on hold", "ringing": "ringing", "early": "ringing"}
    if call.rings:
        return "call from"
    if call.conference:
        words |= {"answered": f"conference of {call.conference + 1}"}
    doing = words.get(call.state, call.state)
    return doing if call.seconds is None else f"{doing} {clock(call.seconds)}"


def clock(seconds: float) -> str:
    """``00:42``, ``1:00:42``."""
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"


def _media_of(call: CallView) -> str:
    return "" if call.rings else call.media


def _figures(call: CallView) -> tuple[str, str]:
    received = ""
    if call.loss_pct is not None and call.jitter_ms is not None:
        received = f"rx {call.loss_pct:.1f}% loss {call.jitter_ms:.0f} ms jitter"
    return received, "" if call.mos is None else f"mos {call.mos:.1f}"


def _levels(call: CallView) -> str:
    """``tx -21 rx -34 dBFS``; what is clipped is said, for it hurts the other side's ears, or ours."""
    if call.sent is None or call.heard is None:
        return ""
    return f"tx {_level(call.sent)} rx {_level(call.heard)} dBFS"


def _level(level: Level) -> str:
    number = f"{level.dbfs:.0f}" if level.dbfs > _SILENT_DBFS else "--"
    return f"{number} clips" if level.clipped else number


def _marks(call: CallView) -> str:
    return " ".join(word for word, holds in (("muted", call.muted), ("recording", call.recording)) if holds)


def _beside(view: View, call: CallView) -> str:
    """The other calls: one that rings by name, the rest by number."""
    others = [other for other in view.others if other is not call]
    ringing = [other for other in others if other.rings]
    if ringing:
        return f"{fit(safe_text(ringing[0].who, limit=200), 24)} calls: [a]nswer [r]eject"
    return f"+{len(others)} [Tab]" if others else ""


def _keys(view: View, call: CallView, *, short: bool = False) -> str:
    if view.leaving:
        return "[q] leave?" if short else "hang up and leave? [q] once more"
    if view.asked:
        return "[y]/[n]" if short else "go there? [y]es [n]o"
    if view.digits:
        return "digits" if short else "digits: 0-9 * # A-D, Enter"
    if call.rings:
        return "[a] [r]" if short else "[a]nswer [r]eject [R] decline"
    if short:
        return "[?]"
    if call.state == "held":
        return "[o] resume [h]ang up [?]"
    if call.state == "answered":
        return f"{'un[m]ute' if call.muted else '[m]ute'} [o]hold [h]ang up [?]"
    return "[h]ang up [?]"


def _join(parts: list[str]) -> str:
    return _GAP.join(part for part in parts if part)


# ── panes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def media_words(facts: MediaFacts) -> str:
    """``opus/48k srtp``; empty before anything is agreed on."""
    if facts.codec is None or facts.rate is None:
        return ""
    rate = f"{facts.rate // 1000}k" if facts.rate % 1000 == 0 else str(facts.rate)
    return f"{facts.codec.lower()}/{rate}" + (" srtp" if facts.srtp else "")


def statistics_rows(report: MediaReport, facts: MediaFacts) -> tuple[list[tuple[str, str, str]], list[str]]:
    """A table - what, received, the far end's view of ours - and the lines below it."""
    rx, tx, far = report.rx, report.tx, report.remote
    rows = [
        ("packets", str(rx.packets), str(tx.packets)),
        ("lost", f"{rx.lost} ({rx.lost_pct:.1f} %)", "" if far is None else f"{far.lost_pct:.1f} %"),
        ("jitter", f"{rx.jitter_ms:.1f} ms", "" if far is None else f"{far.jitter_ms:.1f} ms"),
        ("late", str(rx.late), ""),
    ]
    if rx.rms_dbfs is not None:
        rows.append(("level", f"{rx.rms_dbfs:.1f} dBFS", "" if tx.rms_dbfs is None else f"{tx.rms_dbfs:.1f} dBFS"))
    if far is not None and far.mos_cq is not None:
        rows.append(("MOS", "" if report.mos is None else f"{report.mos:.1f}", f"{far.mos_cq:.1f}"))
    keys = f" ({facts.srtp}, keys by {facts.srtp_keys})" if facts.srtp else ", not encrypted"
    way = f", ICE {facts.ice}" if facts.ice else ""
    to = "nowhere yet" if facts.remote is None else f"{facts.remote[0]}:{facts.remote[1]}"
    lines = [f"{facts.codec or 'no codec yet'}{'' if not facts.rate else f'/{facts.rate}'} to {to}{keys}{way}"]
    trip = None if report.rtt_ms is None else f"round trip {report.rtt_ms:.0f} ms"
    grade = verdict({"rx": {"packets": rx.packets, "rms_dbfs": rx.rms_dbfs}, "mos": report.mos})
    if said := ", ".join(filter(None, (trip, grade))):
        lines.append(said)
    return rows, lines


# ── columns ───────────────────────────────────────────────────────────────────────────────────────────────────


def width_of(text: str) -> int:
    """Columns that *text*, fit to be printed, takes: none for what combines, two for what is wide (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """*text*, or its beginning and an ellipsis, in at most *columns*."""
    if width_of(text) <= columns:
        return text
    if columns < 1:
        return ""
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + _CUT
