"""What the three examples have in common: their options, and the one line they print."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from sipcli.config import AccountConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import AuthAbandoned, AuthExpired, AuthRefused, NoCredentials, SipcliError
from sipcli.sip.syntax.uri import SipUri


def options(description: str, *, threads: bool = True) -> argparse.Namespace:
    """The command line.

    ``--password`` stands in the process list for everybody to read: these are
    test programs.  sipcli itself takes no secret there.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--registrar", required=True, metavar="HOST:PORT")
    parser.add_argument("--transport", choices=("udp", "tcp", "tls"), default="udp")
    parser.add_argument("--user", default="alice")
    parser.add_argument("--password", default="")
    parser.add_argument("--realm", required=True, help="also the domain of the address-of-record")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before the challenge is decided")
    parser.add_argument("--then", choices=("respond", "abandon", "drop", "nothing"), default="respond")
    parser.add_argument("--ca", metavar="FILE", help="trust this certificate authority")
    parser.add_argument("--max-wait", type=float, metavar="SECONDS", help="how long a challenge may stay undecided")
    if threads:
        parser.add_argument("--thread", choices=("registered", "unregistered", "loop"), default="registered")
    return parser.parse_args()


def account_config(args: argparse.Namespace) -> AccountConfig:
    """The account that the options describe.  No provider: the example itself decides its challenges."""
    return AccountConfig(
        name="example",
        aor=SipUri.parse(f"sip:{args.user}@{args.realm}"),
        registrar=SipUri.parse(f"sip:{args.registrar};transport={args.transport}"),
        username=args.user,
        ca_file=args.ca,
        credentials=(),
    )


def credentials(args: argparse.Namespace) -> PasswordCredentials:
    return PasswordCredentials(args.user, Secret(args.password), args.realm)


@dataclass
class Report:
    """Counts what happens, and says it as one JSON line."""

    challenges: int = 0
    error: str | None = None
    began: float | None = field(default=None, repr=False)

    def challenged(self) -> None:
        self.challenges += 1
        self.began = self.began or time.monotonic()

    def failed(self, error: BaseException) -> None:
        self.error = self.error or f"{type(error).__name__}: {error}"

    def print(self, error: SipcliError | None = None) -> int:
        """The line, and the exit status."""
        waited = 0.0 if self.began is None else time.monotonic() - self.began
        if error is not None:
            self.failed(error)
        line: dict[str, Any] = {
            "ok": error is None,
            "outcome": _outcome(error),
            "challenges": self.challenges,
            "waited_s": round(waited, 3),
            "error": self.error,
        }
        print(json.dumps(line), flush=True)
        return 0 if error is None else 1


def _outcome(error: SipcliError | None) -> str:
    match error:
        case None:
            return "registered"
        case AuthAbandoned():
            return "abandoned"
        case AuthExpired():
            return "expired"
        case AuthRefused() | NoCredentials():
            return "refused"
        case _:
            return "failed"


def leave(status: int) -> None:
    sys.exit(status)
