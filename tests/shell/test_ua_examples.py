"""The three example programs, as programs, against the sandbox.  Kamailio has its turn in tests/e2e."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sipcli.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
LEVEL1, LEVEL2, LEVEL3 = "level1_auth_session.py", "level2_user_agent.py", "level3_account.py"

CASES: list[tuple[str, list[str], dict[str, Any]]] = [
    *(
        (
            level,
            ["--then", "respond", "--delay", "0.3", "--transport", transport],
            {"ok": True, "outcome": "registered"},
        )
        for level in (LEVEL1, LEVEL2, LEVEL3)
        for transport in ("udp", "tcp")
    ),
    *(
        (level, ["--then", "respond", "--password", "wrong"], {"ok": False, "outcome": "refused", "challenges": 2})
        for level in (LEVEL1, LEVEL2, LEVEL3)
    ),
    *(
        (level, ["--then", "abandon"], {"ok": False, "outcome": "abandoned", "challenges": 1})
        for level in (LEVEL1, LEVEL2, LEVEL3)
    ),
    *(
        (level, ["--then", "nothing", "--max-wait", "0.5"], {"ok": False, "outcome": "expired"})
        for level in (LEVEL1, LEVEL2, LEVEL3)
    ),
    (LEVEL1, ["--then", "drop", "--max-wait", "0.5"], {"outcome": "expired"}),
    *((level, ["--then", "drop"], {"outcome": "abandoned"}) for level in (LEVEL2, LEVEL3)),
    *((level, ["--thread", "loop"], {"outcome": "registered", "error": None}) for level in (LEVEL2, LEVEL3)),
    *((level, ["--thread", "unregistered", "--max-wait", "0.5"], {"outcome": "expired"}) for level in (LEVEL2, LEVEL3)),
]


async def run(registrar: str, level: str, options: list[str]) -> tuple[dict[str, Any], int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples" / level), "--registrar", registrar, "--realm", "sandbox",
        "--password", "wonderland", *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    (line,) = out.decode().splitlines()
    assert process.returncode is not None
    return json.loads(line), process.returncode, err.decode()


async def test_each_example_prints_one_line_that_says_how_it_went() -> None:
    room = asyncio.Semaphore(4)

    async def one(registrar: str, level: str, options: list[str], expected: dict[str, Any]) -> None:
        async with room:
            said, status, err = await run(registrar, level, options)
        assert set(said) == {"ok", "outcome", "challenges", "waited_s", "error"}, (level, options)
        assert said | expected == said, (level, options, said)
        assert status == (0 if said["ok"] else 1)
        assert "Traceback" not in err, err
        if "unregistered" in options:
            assert said["error"].startswith("UnregisteredThread: ")
        if "0.3" in options:
            assert said["waited_s"] >= 0.3

    async with Sandbox() as sandbox:
        host, port = sandbox.address()
        await asyncio.gather(*(one(f"{host}:{port}", *case) for case in CASES))
        assert "wrong" not in str(sandbox.requests())
