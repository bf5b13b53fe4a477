"""docs/configuration.md names every key, its defaults are the program's, and its links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from sipcli.config.model import DEFAULT_CREDENTIALS, PolicyConfig
from sipcli.config.schema import ACCOUNT, BUILTIN_TYPES, DEFAULTS, POLICY

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize("key", [*ACCOUNT, *DEFAULTS, *POLICY, *BUILTIN_TYPES, "required"])
def test_every_key_is_there(key: str) -> None:
    assert re.search(rf"\b{key}\b", TEXT)


@pytest.mark.parametrize(
    "field", [field for field in fields(PolicyConfig) if isinstance(field.default, (bool, int, float))]
)
def test_defaults_are_the_programs(field: object) -> None:
    name, default = getattr(field, "name"), getattr(field, "default")  # noqa: B009
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}"
    assert f"| `{name}` | `{shown}` |" in TEXT


def test_the_default_chain() -> None:
    assert "`[" + ", ".join(f'"{name}"' for name in DEFAULT_CREDENTIALS) + "]`" in TEXT


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (DOCS / target).exists(), target
