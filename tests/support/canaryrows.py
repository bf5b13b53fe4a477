"""A provider's troubles as rows of a table: each plants its canaries, is run into both ways of printing, and judged."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tests.e2e.conftest import account
from tests.support.canary import Nest, Started
from tests.support.servers.kamailio import Kamailio

__all__ = ["Here", "Row", "check"]


class Here(Nest):
    """A :class:`Nest` with a registrar to talk to; *stack* ends what a row began."""

    def __init__(self, folder: Path, registrar: Kamailio) -> None:
        super().__init__(folder)
        self.registrar = registrar
        self.stack = ExitStack()
        self.transport = "udp"
        self.words: tuple[str, ...] = ()
        """What the command line needs besides."""
        self.harvest: Callable[[], None] = lambda: None
        """Looks for what a store made meanwhile: tokens."""

    def use(self, provider: str, table: str, *, user: str | None = None) -> None:
        """An account of *user* (default: the provider's, whose password is the canary) with that one provider."""
        text = account(
            self.registrar.address(self.transport), transport=self.transport, user=user or provider, credentials='"p"'
        )
        self.cli.configure(f'{text}[providers.p]\ntype = "{provider}"\n{table}\n')

    def password(self, provider: str, user: str) -> str:
        """The canary that *provider* shall find for *user*."""
        return self.hatch(provider, user)


Machine = TypeVar("Machine", bound=Here)


@dataclass(frozen=True)
class Row(Generic[Machine]):
    """*status* is the exit status, *says* stands in what is told; *plant* configures; *patience* is ``--max-wait``."""

    status: int
    says: str
    plant: Callable[[Machine], object]
    patience: float = 6
    alone: bool = False
    """Run once: what a store gave and a server refused is no longer in the store, and a parcel opens but once."""


def check(here: Machine, row: Row[Machine]) -> None:
    """Both ways of printing; and no canary anywhere."""
    row.plant(here)
    stays = row.status == 0
    words = ["register", "-vv", "--ladder", *here.words, *([] if stays else ["--max-wait", str(row.patience)])]
    program = here.start(*words, "--json", *([] if stays else ["--once"]))
    runs = [program] if row.alone else [program, here.start(*words, "--once")]
    try:
        if stays:
            program.wait_for("registration", state="registered")
            program.watch.look()
            program.signal(signal.SIGABRT)
        codes = [run.finish() for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert codes == ([-signal.SIGABRT, 0] if stays else [row.status] * 2)[: len(runs)], program.said()
    here.harvest()
    left = here.found(*(run.watch for run in runs))
    assert not left, "\n".join(left)
    assert all(run.watch.looks > 2 for run in runs)
    if stays:
        _check_crash(runs)
    else:
        _check_sentence(program, row.says)
        for run in runs[1:]:
            _check_words(run)


def _check_crash(runs: list[Started]) -> None:
    """The first died with the secret in it; and what was looked through had an answer in it, masked."""
    assert "Fatal Python error: Aborted" in runs[0].err.read_text()
    for run in runs:
        assert "\\nAuthorization: " in run.trace.read_text()


def _check_sentence(program: Started, says: str) -> None:
    """To a program: one sentence, and the next step."""
    assert program.result["message"].isprintable(), program.result
    assert program.result["hint"], program.result
    assert says in program.said(), program.said()


def _check_words(person: Started) -> None:
    """To a person: the same, as the last two lines."""
    told = person.err.read_text()
    assert re.search(r"^sipcli: .+\n  \S.+\n\Z", told, re.MULTILINE), told
