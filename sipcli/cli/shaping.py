"""Options that shape what a verb sends: headers of one's own, and digits at their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from sipcli.cli.parameters import Seconds

__all__ = ["TimedDigits", "dtmf_after_option", "header_option"]

_F = TypeVar("_F", bound=Callable[..., Any])

_DIGITS = frozenset(",0123456789*#ABCDabcd")


def are_digits(text: str) -> bool:
    """Can *text* be sent as DTMF, its commas as pauses?"""
    return bool(text) and set(text) <= _DIGITS


class TimedDigits(NamedTuple):
    """*digits* to send *after* so many seconds of a call that was answered."""

    after: float
    digits: str


class _Header(click.ParamType):  # type: ignore[type-arg]  # click 8.2 knows no argument here
    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        from sipcli.errors import ParseError  # not needed to say what --help says
        from sipcli.sip.syntax.extraheaders import extra_header

        try:
            return extra_header(value)
        except ParseError as error:
            self.fail(str(error), param, ctx)


class _DigitsAfter(click.ParamType):  # type: ignore[type-arg]  # click 8.2 knows no argument here
    name = "time and digits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TimedDigits:
        span, colon, digits = value.partition(":")
        if not colon or not are_digits(digits):
            self.fail(f"“{value}” is no time with digits behind it; write it as 1s:12#", param, ctx)
        try:
            return TimedDigits(Seconds().convert(span, None, None), digits)
        except click.BadParameter as error:
            self.fail(f"{error.message}; write it as 1s:12#", param, ctx)


def header_option(request: str, name: str = "headers") -> Callable[[_F], _F]:
    """``--header``, for the verb's *request*: *name* are pairs of name and value."""
    return click.option(
        "--header",
        name,
        type=_Header(),
        multiple=True,
        metavar="'NAME: VALUE'",
        help=f"Add this header to the {request}; several times for several.",
    )


def dtmf_after_option(function: _F) -> _F:
    """``--dtmf-after``: ``dtmf_after`` are :class:`TimedDigits`."""
    return click.option(
        "--dtmf-after",
        type=_DigitsAfter(),
        multiple=True,
        metavar="S:DIGITS",
        help="Send these digits S seconds after the answer, 1s:12# for instance; several times for several.",
    )(function)
