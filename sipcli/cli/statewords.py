"""What a mailbox, somebody's presence or his phone says, in a line; every word of theirs made harmless (threat T12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sipcli.observe.text import quoted, safe_text

__all__ = ["state_words"]

_LONGEST = 200
_OPEN = {True: "available", False: "not available", None: "nothing known"}


def state_words(fields: Mapping[str, Any]) -> str:
    """The fields of a ``notification`` event as a line for people: who, and what of him."""
    who = safe_text(fields["target"], limit=_LONGEST)
    if "mwi" in fields:
        return f"{who}: {_mailbox(fields['mwi'])}"
    if "presence" in fields:
        return f"{who}: {_presence(fields['presence'])}"
    if "dialogs" in fields:
        return f"{who}: {_dialogs(fields['dialogs'])}"
    return f"{who}: {'not allowed yet' if fields['state'] == 'pending' else 'nothing known'}"


def _mailbox(mwi: Mapping[str, Any]) -> str:
    counts = []
    for count in mwi["messages"]:
        urgent = f" ({count['urgent_new']} urgent)" if count["urgent_new"] else ""
        counts.append(f"{count['new']} new{urgent} and {count['old']} old {count['kind']} messages")
    waiting = "messages wait" if mwi["waiting"] else "no new messages"
    account = f" for {safe_text(mwi['account'], limit=_LONGEST)}" if mwi.get("account") else ""
    return f"{waiting}{account}" + (f": {', '.join(counts)}" if counts else "")


def _presence(presence: Mapping[str, Any]) -> str:
    known = _OPEN[presence.get("open")]
    doing = ", ".join(safe_text(activity) for activity in presence["activities"])
    note = f" \N{EN DASH} {quoted(presence['note'])}" if presence.get("note") else ""
    return known + (f" ({doing})" if doing else "") + note


def _dialogs(dialogs: list[Mapping[str, Any]]) -> str:
    calls = [_call(dialog) for dialog in dialogs if dialog["state"] != "terminated"]
    return "; ".join(calls[:8]) if calls else "no calls"


def _call(dialog: Mapping[str, Any]) -> str:
    other = safe_text(dialog["remote"], limit=_LONGEST) if dialog.get("remote") else "somebody"
    if dialog["state"] == "confirmed":
        return f"in call with {other}"
    return f"called by {other}" if dialog.get("direction") == "recipient" else f"calling {other}"
