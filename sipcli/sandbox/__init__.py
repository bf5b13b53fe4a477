"""An embedded SIP server on loopback, built from the same core, that challenges as it is told.

Names are handed out lazily (PEP 562): the gate and its configuration need no event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sipcli.sandbox.config import SandboxConfig
    from sipcli.sandbox.phone import CallRecord
    from sipcli.sandbox.sandbox import Sandbox
    from sipcli.sandbox.server import Seen

__all__ = ["CallRecord", "Sandbox", "SandboxConfig", "Seen"]

_HOME = {"CallRecord": "phone", "Sandbox": "sandbox", "SandboxConfig": "config", "Seen": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
