"""Which addresses this machine has, and when that changes: netlink on Linux, a look now and then elsewhere."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final

from sipcli.ua.net.localhost import source_towards

__all__ = ["NetworkWatch", "is_change", "still_ours"]

SETTLE: Final = 0.3
"""Seconds of calm before a change is told: an address comes with its routes, and several at a time."""
POLL: Final = 5.0

# linux/rtnetlink.h
_GROUPS = 0x10 | 0x100 | 0x40 | 0x400
"""RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE."""
_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 20, 21, 24, 25
_SCOPE_LINK = 253
_HEAD = struct.Struct("=LHHLL")
# Somewhere beyond every router: nothing is sent there (RFC 5737, RFC 3849).
_FAR = ("192.0.2.1", "2001:db8::1")


def still_ours(host: str) -> bool:
    """Is *host* an address of this machine now?  Whoever has it can bind it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def is_change(data: bytes) -> bool:
    """Do netlink's messages in *data* say that an address or a default route came or went?

    What has link scope alone - every container that starts - is none of ours.
    """
    at = 0
    while at + _HEAD.size + 8 <= len(data):
        size, kind, *_ = _HEAD.unpack_from(data, at)
        body = at + _HEAD.size
        if kind in (_NEWADDR, _DELADDR) and data[body + 3] < _SCOPE_LINK:  # ifaddrmsg: family, prefix, flags, scope
            return True
        if kind in (_NEWROUTE, _DELROUTE) and data[body + 1] == 0:  # rtmsg: family, length of the destination
            return True
        at += max(_HEAD.size, size + -size % 4)
    return False


class NetworkWatch:
    """Calls *on_change* on *loop* when the addresses of this machine, or its default routes, have changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None], *, netlink: bool = True) -> None:
        self._loop = loop
        self._on_change = on_change
        self._timer: asyncio.TimerHandle | None = None
        self._socket = _netlink() if netlink else None
        self._sources = _sources()
        if self._socket is not None:
            loop.add_reader(self._socket, self._on_readable)
        else:
            self._timer = loop.call_later(POLL, self._poll)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _on_readable(self) -> None:
        assert self._socket is not None
        changed = False
        while True:
            try:
                changed |= is_change(self._socket.recv(65536))
            except BlockingIOError:
                break
            except OSError:  # more came than the kernel kept for us: that is a change; the rest is for the next call
                changed = True
                break
        if changed:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(SETTLE, self._on_change)

    def _poll(self) -> None:
        self._timer = self._loop.call_later(POLL, self._poll)
        before, self._sources = self._sources, _sources()
        if before != self._sources:
            self._on_change()


def _netlink() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except OSError:  # a sandbox may forbid it
        return None
    try:
        made.bind((0, _GROUPS))
    except OSError:
        made.close()
        return None
    return made


def _sources() -> tuple[str | None, ...]:
    """The addresses that packets to far away leave from."""
    return tuple(source_towards(host, 9) for host in _FAR)
