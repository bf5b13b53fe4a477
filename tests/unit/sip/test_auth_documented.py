"""The program in docs/levels.md does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sipcli.sip.auth import GiveUp, Pending
from tests.support.authkit import Rig, asks, digest, final, proves

PAGE = Path(__file__).parents[3] / "docs" / "levels.md"


def test_the_level_1_example_answers_once_and_gives_up_when_refused(capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Level 1")[1].split("## Level 2")[0]
    program, _ = re.findall(r"```python\n(.*?)```", section, re.DOTALL)  # the second: test_auth_signing.py
    names: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), names)
    rig = Rig(asynchronous=True)

    def turn() -> None:
        events, rig.events[:] = rig.events[:], []
        for event in events:
            names["on_event"](event)

    good, _ = rig.pending(digest())
    turn()
    assert proves(good.answer(), "wonderland")
    rig.session.accepted(good, final(200))
    turn()
    bad, _ = rig.pending(digest(nonce="n2"), uri="sip:elsewhere.example")
    turn()
    assert isinstance(bad.receive(asks(digest(nonce="n3"))), Pending)
    turn()
    assert bad.why is GiveUp.REFUSED
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["example.com", "good:", "example.com", "wrong:", "example.com"]
    assert told[-1].endswith("attempt 2 refused")
