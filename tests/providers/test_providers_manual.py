"""The provider that the manual shows is run through the contract suite, word for word."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import CredentialProvider, CredentialRequest, ProviderContext
from sipcli.testing import ProviderContract, make_context, make_request

PAGE = Path(__file__).parents[2] / "docs" / "providers" / "your-own.md"

PASS = """#!/bin/sh
[ "$1" = show ] || exit 2
case $2 in
sip/alice) echo "the password"; echo "a second line";;
sip/slow) exec sleep 20;;
*) echo "Error: $2 is not in the password store." >&2; exit 1;;
esac
"""


def shown() -> dict[str, Any]:
    """The names that the page's first block of Python defines."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert block is not None
    names: dict[str, Any] = {}
    exec(compile(block[1], str(PAGE), "exec"), names)
    return names


class TestTheManualsProvider(ProviderContract):
    @pytest.fixture(autouse=True)
    def _pass(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "pass"
        program.write_text(PASS)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        self.kind = shown()["PassProvider"]

    def make_provider(self, context: ProviderContext) -> CredentialProvider:
        made: CredentialProvider = self.kind(context)
        return made

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(username="alice"), "the password"

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[CredentialProvider, CredentialRequest]]:
        yield self.make_provider(make_context()), make_request(username="slow")

    def hanging(self) -> contextlib.AbstractContextManager[tuple[CredentialProvider, CredentialRequest]]:
        return self._hanging()

    def test_its_option_is_checked(self) -> None:
        with pytest.raises(ValueError, match="folder must be a text"):
            self.kind(make_context({"folder": 7}))
