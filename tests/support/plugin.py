"""A third party's provider, installed as one: a module and its metadata in a folder on PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

SLOW = '''
"""Answers after `delay` seconds, and notes each call in `log`: a stand-in for a store across the ocean."""
from pathlib import Path

from sipcli.credentials import Cancelled, PasswordCredentials, Secret


class SlowProvider:
    interactive = False

    def __init__(self, context):
        self.name = context.name
        self.options = context.options

    def get(self, request):
        with Path(self.options["log"]).open("a") as log:
            log.write(f"{request.method} {request.realm} attempt={request.attempt}\\n")
        if request.cancel.wait(float(self.options["delay"])):
            raise Cancelled("asked to stop")
        secrets = self.options["secrets"]
        return PasswordCredentials(request.username or "", Secret(secrets[min(request.attempt, len(secrets)) - 1]))


class RaisingProvider:
    interactive = False

    def __init__(self, context):
        self.name = context.name

    def get(self, request):
        raise RuntimeError("a bug with a canary in it: hunter2-canary")
'''


def install(directory: Path) -> str:
    """Lay the distribution out in *directory*; returns what PYTHONPATH must say."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "elsewhere_slow.py").write_text(SLOW)
    info = directory / "elsewhere-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sipcli.providers]\nslow = elsewhere_slow:SlowProvider\nraising = elsewhere_slow:RaisingProvider\n"
    )
    return str(directory)
