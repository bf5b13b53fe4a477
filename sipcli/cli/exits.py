"""Exit statuses, and the one table from error class to status: the exit status is the result of the verb."""

from __future__ import annotations

from enum import IntEnum

from sipcli import errors
from sipcli.credentials import Cancelled, Denied, NotFound, ProviderError, Unavailable

__all__ = ["ExitStatus", "outcome_of", "status_of"]


class ExitStatus(IntEnum):
    """What a shell sees.  Never the SIP code: 200 mod 256 is no answer to anything."""

    OK = 0
    OTHER = 1
    USAGE = 2
    REFUSED = 3
    NO_CREDENTIALS = 4
    TIMEOUT = 5
    BUSY = 6
    NETWORK = 7
    PROVIDER = 8
    PROTOCOL = 9
    EXPECTATION = 10
    UNREACHABLE = 11
    MEDIA = 12
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


_TABLE: dict[type[BaseException], tuple[ExitStatus, str]] = {
    errors.ConfigError: (ExitStatus.USAGE, "usage"),
    errors.ParseError: (ExitStatus.USAGE, "usage"),
    errors.LocalProtocolError: (ExitStatus.OTHER, "failed"),
    errors.RemoteProtocolError: (ExitStatus.PROTOCOL, "protocol_error"),
    errors.NetworkError: (ExitStatus.NETWORK, "network"),
    errors.ResolveError: (ExitStatus.NETWORK, "unresolved"),
    errors.TlsError: (ExitStatus.NETWORK, "tls"),
    errors.AuthError: (ExitStatus.REFUSED, "refused"),
    errors.AuthRefused: (ExitStatus.REFUSED, "refused"),
    errors.NoCredentials: (ExitStatus.NO_CREDENTIALS, "no_credentials"),
    errors.AuthAbandoned: (ExitStatus.NO_CREDENTIALS, "abandoned"),
    errors.AuthExpired: (ExitStatus.PROVIDER, "expired"),
    errors.ProviderFailed: (ExitStatus.PROVIDER, "provider_failed"),
    errors.NoAnswer: (ExitStatus.TIMEOUT, "no_answer"),
    errors.Busy: (ExitStatus.BUSY, "busy"),
    errors.Declined: (ExitStatus.BUSY, "declined"),
    errors.NotReachable: (ExitStatus.UNREACHABLE, "not_found"),
    errors.MediaFailed: (ExitStatus.MEDIA, "media_failed"),
    errors.ServerFailed: (ExitStatus.NETWORK, "server_failed"),
    errors.SipcliError: (ExitStatus.OTHER, "failed"),
    NotFound: (ExitStatus.NO_CREDENTIALS, "no_credentials"),
    Cancelled: (ExitStatus.NO_CREDENTIALS, "abandoned"),
    Denied: (ExitStatus.PROVIDER, "provider_denied"),
    Unavailable: (ExitStatus.PROVIDER, "provider_unavailable"),
    ProviderError: (ExitStatus.PROVIDER, "provider_failed"),
    TimeoutError: (ExitStatus.TIMEOUT, "timeout"),
    OSError: (ExitStatus.OTHER, "failed"),
}

_BY_CODE: dict[int, ExitStatus] = {
    401: ExitStatus.REFUSED, 403: ExitStatus.REFUSED, 407: ExitStatus.REFUSED,
    408: ExitStatus.TIMEOUT, 480: ExitStatus.TIMEOUT,
    486: ExitStatus.BUSY, 600: ExitStatus.BUSY, 603: ExitStatus.BUSY,
    404: ExitStatus.UNREACHABLE, 484: ExitStatus.UNREACHABLE, 604: ExitStatus.UNREACHABLE,
    488: ExitStatus.MEDIA, 606: ExitStatus.MEDIA,
}  # fmt: skip
"""For a final response that no class of its own stands for (:class:`~sipcli.errors.Refused`)."""


def status_of(error: BaseException) -> ExitStatus:
    """The exit status that *error* earns, by its nearest class in the table."""
    if isinstance(error, errors.AuthExpired) and error.awaited_person:
        return ExitStatus.NO_CREDENTIALS
    if isinstance(error, errors.Refused) and error.code is not None:
        by_code = ExitStatus.NETWORK if 500 <= error.code < 600 else ExitStatus.OTHER
        return _BY_CODE.get(error.code, by_code)
    return _row(error)[0]


def outcome_of(error: BaseException) -> str:
    """The ``outcome`` word of the ``result`` event."""
    if isinstance(error, errors.Refused) and error.code in (401, 403, 407):
        return "refused"
    return _row(error)[1]


def _row(error: BaseException) -> tuple[ExitStatus, str]:
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind]
    return ExitStatus.OTHER, "failed"
