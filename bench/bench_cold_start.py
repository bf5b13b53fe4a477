"""Cold start: from spawning the process until the registrar sent its 200, beside other softphones, in one run.

Each phone registers over UDP on loopback against the same MD5 challenge; the
phones take turns, so that a slow minute of the machine is everybody's.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.registrar import Registrar

ROUNDS = 11


def sipcli_command(directory: Path, port: int) -> list[str]:
    secret = directory / "secret"
    secret.write_text("secret123")
    secret.chmod(0o600)
    config = directory / "config.toml"
    config.write_text(
        f'[accounts.bench]\naor = "sip:bench@127.0.0.1:{port}"\nregistrar = "sip:127.0.0.1:{port}"\n'
        f'credentials = ["file"]\n'
        f'[providers.file]\ntype = "file"\npath = "{secret}"\n'
    )
    config.chmod(0o600)
    return [sys.executable, "-m", "sipcli", "--config", str(config), "register", "--once", "--account", "bench"]


def baresip_command(directory: Path, port: int) -> list[str] | None:
    found = next((path.parent for path in Path("/usr/lib").glob("**/baresip/modules/account.so")), None)
    if shutil.which("baresip") is None or found is None:
        return None
    (directory / "accounts").write_text(
        f"<sip:bench@127.0.0.1:{port};transport=udp>;auth_user=bench;auth_pass=secret123;regint=600\n"
    )
    (directory / "contacts").write_text("")
    (directory / "config").write_text(
        f"module_path {found}\nmodule_app account.so\nsip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\n"
    )
    return ["baresip", "-f", str(directory)]


def sipsak_command(directory: Path, port: int) -> list[str] | None:
    if shutil.which("sipsak") is None:
        return None
    return ["sipsak", "-U", "-s", f"sip:bench@127.0.0.1:{port}", "-a", "secret123", "-i", "-C", "sip:bench@127.0.0.1"]


PYVOIP = """
import sys, time
from pyVoIP.VoIP import VoIPPhone
phone = VoIPPhone("127.0.0.1", int(sys.argv[1]), "bench", "secret123", myIP="127.0.0.1", sipPort=int(sys.argv[2]))
phone.start()
time.sleep(30)
"""


def pyvoip_command(directory: Path, port: int) -> list[str] | None:
    python = os.environ.get("SIPCLI_BENCH_PEERS")
    if not python or subprocess.run([python, "-c", "import pyVoIP"], capture_output=True, check=False).returncode:
        return None
    return [python, "-c", PYVOIP, str(port), str(port + 1)]


BARESIP_PYTHON = """
import asyncio, sys
import baresip
async def main():
    runtime = baresip.Runtime()
    await runtime.start(baresip.Config(net_interface="127.0.0.1"))
    account = baresip.Account(user="bench", domain=f"127.0.0.1:{sys.argv[1]}", password="secret123")
    agent = await baresip.UserAgent.create(runtime, account)
    await agent.register()
    await asyncio.sleep(30)
asyncio.run(main())
"""


def baresip_python_command(directory: Path, port: int) -> list[str] | None:
    python = os.environ.get("SIPCLI_BENCH_PEERS")
    if not python or subprocess.run([python, "-c", "import baresip"], capture_output=True, check=False).returncode:
        return None
    return [python, "-c", BARESIP_PYTHON, str(port)]


def measure(argv: list[str], registrar: Registrar) -> float | None:
    """Milliseconds from spawn to the 200, None if it never registered."""
    registrar.dump()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.time()
    child = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        # The stopwatch is asked rarely, so as not to be part of what it measures.
        time.sleep(0.35)
        for _ in range(20):
            notes = registrar.dump()
            if notes["registered"]:
                return float((notes["registered_first"] - began) * 1000)
            time.sleep(0.2)
        return None
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def main() -> None:
    makers: dict[str, Callable[[Path, int], list[str] | None]] = {
        "sipcli": sipcli_command,
        "baresip (Debian)": baresip_command,
        "sipsak": sipsak_command,
        "pyVoIP": pyvoip_command,
        "baresip-python": baresip_python_command,
    }
    registrar = Registrar()
    times: dict[str, list[float]] = {name: [] for name in makers}
    with tempfile.TemporaryDirectory() as scratch:
        commands: dict[str, list[str]] = {}
        for name, make in makers.items():
            directory = Path(scratch) / name.replace(" ", "-")
            directory.mkdir()
            command = make(directory, registrar.port)
            if command is not None:
                commands[name] = command
        for turn in range(ROUNDS + 1):
            for name, command in commands.items():
                taken = measure(command, registrar)
                if turn and taken is not None:  # the first round warms the caches
                    times[name].append(taken)
    registrar.close()
    rows = {
        name: {"median": round(statistics.median(got), 1), "min": round(min(got), 1), "max": round(max(got), 1)}
        for name, got in times.items()
        if got
    }
    print(
        json.dumps({"name": "cold start to registered", "unit": "ms", "value": rows["sipcli"]["median"], "rows": rows})
    )


if __name__ == "__main__":
    main()
