"""Other people's calls: ``application/dialog-info+xml`` (RFC 4235)."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.subscriptions.packages.tree import Element, parse_xml

__all__ = ["DialogInfo", "DialogTable", "WatchedDialog", "parse_dialog_info"]

MAX_DIALOGS = 256
_STATES = frozenset(("trying", "proceeding", "early", "confirmed", "terminated"))


class WatchedDialog(NamedTuple):
    """One call of the person who is watched (section 4.1.1); *local* is he, *remote* the other side, both URIs."""

    id: str
    state: str
    direction: str | None = None
    local: str | None = None
    remote: str | None = None
    remote_name: str | None = None
    event: str | None = None
    code: int | None = None
    duration_s: int | None = None


class DialogInfo(NamedTuple):
    """One document.  *full* is all there is; otherwise what changed since *version* - 1."""

    version: int
    full: bool
    entity: str
    dialogs: tuple[WatchedDialog, ...]


class DialogTable:
    """What the documents of one notifier add up to (section 4.3)."""

    __slots__ = ("_rows", "_version")

    def __init__(self) -> None:
        self._rows: dict[str, WatchedDialog] = {}
        self._version: int | None = None

    @property
    def dialogs(self) -> tuple[WatchedDialog, ...]:
        """The calls that are not over, and those that the last document ended."""
        return tuple(self._rows.values())

    def take(self, info: DialogInfo) -> bool:
        """Apply *info*.  False: something is missing, and a refresh would bring all of it."""
        if self._version is not None and info.version < self._version:
            return True  # older than what we have: discarded
        gap = not info.full and (self._version is None or info.version > self._version + 1)
        self._version = info.version
        rows = {} if info.full else {key: row for key, row in self._rows.items() if row.state != "terminated"}
        for dialog in info.dialogs:
            if dialog.id in rows or len(rows) < MAX_DIALOGS:
                rows[dialog.id] = dialog
        self._rows = rows
        return not gap


def parse_dialog_info(octets: bytes) -> DialogInfo:
    """Raises ParseError."""
    root = parse_xml(octets, "dialog-info")
    version = _number(root.attributes.get("version"))
    if version is None:
        raise ParseError("this dialog-info has no version")
    dialogs = tuple(
        found for element in list(root.all("dialog"))[:MAX_DIALOGS] if (found := _dialog(element)) is not None
    )
    # One of the RFC's own examples says notify-state (section 4.1), and phones have copied it.
    state = root.attributes.get("state") or root.attributes.get("notify-state")
    return DialogInfo(version, state != "partial", root.attributes.get("entity", ""), dialogs)


def _dialog(element: Element) -> WatchedDialog | None:
    """None when it lacks what it must have."""
    state = element.find("state")
    word = state.text.strip().lower() if state is not None else ""
    if state is None or word not in _STATES or "id" not in element.attributes:
        return None
    remote, name = _party(element.find("remote"))
    direction = element.attributes.get("direction")
    return WatchedDialog(
        id=element.attributes["id"],
        state=word,
        direction=direction if direction in ("initiator", "recipient") else None,
        local=_party(element.find("local"))[0],
        remote=remote,
        remote_name=name,
        event=state.attributes.get("event"),
        code=_number(state.attributes.get("code")),
        duration_s=_number(element.word("duration")),
    )


def _party(participant: Element | None) -> tuple[str | None, str | None]:
    """URI and display name: the identity, or the target where there is none."""
    if participant is None:
        return None, None
    identity = participant.find("identity")
    if identity is not None:
        # Both names of the attribute are in the RFC: sections 4.1.6.1 and 4.4.
        name = identity.attributes.get("display") or identity.attributes.get("display-name")
        return identity.text.strip() or None, name
    target = participant.find("target")
    return (target.attributes.get("uri") if target is not None else None), None


def _number(text: str | None) -> int | None:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None
