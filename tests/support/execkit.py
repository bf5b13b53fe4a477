"""The exec provider with a helper of the test's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    CredentialProvider,
    CredentialRequest,
    ProviderError,
)
from sipcli.testing import ask, make_context, make_request
from sipcli_providers.exec import ExecProvider

AS_ROOT = os.geteuid() == 0


def provider(helper: Path | str, **options: Any) -> ExecProvider:
    return ExecProvider(make_context({"command": str(helper)} | options, name="mine"))


def error_of(made: CredentialProvider, request: CredentialRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(made, request or make_request())
    return caught.value


def calls(helper: Path) -> list[Any]:
    """What a :func:`store_helper` was asked: verb, further arguments, pairs, environment, folder."""
    return [json.loads(line) for line in helper.with_suffix(".log").read_text().splitlines()]
