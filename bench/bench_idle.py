"""What a registered `sipcli register` weighs while nothing happens."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.bench_cold_start import sipcli_command
from bench.registrar import Registrar


def main() -> None:
    registrar = Registrar()
    with tempfile.TemporaryDirectory() as scratch:
        command = [word for word in sipcli_command(Path(scratch), registrar.port) if word != "--once"]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ),
        )
        deadline = time.monotonic() + 20
        while not registrar.dump()["registered"]:
            assert time.monotonic() < deadline, "it never registered"
            time.sleep(0.3)
        time.sleep(0.5)
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
        child.terminate()
        child.wait(5)
    registrar.close()
    mib = round(int(fields["VmRSS"].split()[0]) / 1024, 1)
    detail = f"peak {int(fields['VmHWM'].split()[0]) / 1024:.1f} MiB, {fields['Threads'].strip()} threads"
    print(
        json.dumps(
            {"name": "registered and idle", "value": mib, "unit": "MiB", "target": "<= 40 MiB", "detail": detail}
        )
    )


if __name__ == "__main__":
    main()
