"""What is told of the network below us (docs/events.md)."""

from __future__ import annotations

from typing import ClassVar, Literal

from sipcli.ua.notices import Notice

__all__ = ["NetworkNotice"]


class NetworkNotice(Notice):
    """*address*, which we used, is no address of this machine any more (``lost``), or is what we use now (``up``)."""

    event: ClassVar[str] = "network"
    state: Literal["lost", "up"]
    address: str
