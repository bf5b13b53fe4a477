"""Helps third parties to test their providers and bots: a contract suite, fakes, and the sandbox registrar.

::

    from sipcli.testing import ProviderContract

    class TestMyProvider(ProviderContract):
        def make_provider(self, context):
            return MyProvider(context)

        def known(self):
            return make_request(aor="sip:alice@example.com"), "the password of alice"

Needs pytest to run, not to import.  To use a fixture, let an autouse fixture
put what it gives on ``self``.
"""

from __future__ import annotations

import importlib
from typing import Any

from sipcli.testing.contract import ProviderContract
from sipcli.testing.fakes import FakeTerminal, ask, ask_to_sign, make_context, make_request

__all__ = ["FakeTerminal", "ProviderContract", "ask", "ask_to_sign", "make_context", "make_request"]

Registrar: Any


def __getattr__(name: str) -> Any:
    # The sandbox is a whole SIP server: whoever tests a provider must not pay for it.
    if name == "Registrar":
        return importlib.import_module("sipcli.sandbox").Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
