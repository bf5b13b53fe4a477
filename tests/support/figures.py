"""What the tests of bad networks measured, for the table in docs/networks.md (``make networks``)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.cli import Result
from tests.support.wavs import Hearing

Figures = Callable[..., None]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """``figures(network, between, done, hearings, how)``: a row; of several hearings, the worst of each.

    *network* is what it was like, *done* the caller's result, *how* what became of the call.
    """

    def note(network: str, between: str, done: Result | None, hearings: list[Hearing], how: str) -> None:
        call = done.result["call"] if done is not None else {}
        row = {
            "network": network,
            "between": between,
            "setup_ms": call.get("setup_ms"),
            "codec": call.get("codec"),
            "seconds": round(min(heard.seconds for heard in hearings), 1),
            "snr_db": round(min(heard.snr_db for heard in hearings), 1),
            "heard_pct": round(min(heard.heard_pct for heard in hearings), 1),
            "longest_gap_ms": max(heard.longest_gap_ms for heard in hearings),
            "gaps": max(heard.gaps for heard in hearings),
            "how": how,
        }
        print(row)
        # Not by record_property, which warns where the report is of the family xunit2.
        request.node.user_properties.append(("network", json.dumps(row)))

    return note
