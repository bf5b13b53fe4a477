"""Info packages: what the INFO requests of a call may carry (RFC 6086).

We take none yet, and say so: an empty Recv-Info, which makes the other side's
packages visible to us; an INFO of a package is refused with 469.  An INFO
without one is legacy usage (section 2) and passes as before: digits come so.
"""

from __future__ import annotations

from typing import Final

from sipcli.errors import LocalProtocolError
from sipcli.sip.syntax.message import Message, Request

__all__ = ["RECEIVED", "info_headers", "is_refused", "receives", "willing"]

RECEIVED: Final = ("Recv-Info", "")
"""The packages that we take (section 5.2.3)."""


def receives(request: Request) -> tuple[tuple[str, str], ...]:
    """For the 2xx to *request*: only whoever says what he takes is told what we take (section 5.2.3)."""
    return (RECEIVED,) if "recv-info" in request.headers else ()


def is_refused(info: Request) -> bool:
    """An INFO of a package that we did not ask for: 469 (section 4.2.2)."""
    return "info-package" in info.headers


def info_headers(package: str, taken: frozenset[str] | None) -> tuple[tuple[str, str], ...]:
    """What an INFO of *package* carries (sections 4.2.1 and 6) to somebody who takes those *taken*.

    Raises LocalProtocolError for any other package: it must not be sent.
    """
    if taken is None or package.lower() not in taken:
        known = ", ".join(sorted(taken)) if taken else "none"
        raise LocalProtocolError(f"the other side takes no INFO of {package}; it takes: {known}")
    return (("Info-Package", package), ("Content-Disposition", "Info-Package"))


def willing(message: Message) -> frozenset[str] | None:
    """The packages whose INFOs the sender of an INVITE or its 2xx takes; None: it knows no packages at all."""
    if "recv-info" not in message.headers:
        return None
    return frozenset(value.partition(";")[0].strip().lower() for value in message.values("Recv-Info"))
