"""SIPp as caller and as callee."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

from tests.support.servers.process import Server, free_port

SCENARIOS = Path(__file__).with_name("sipp")


def ulaw(sample: int) -> int:
    """One 16-bit sample as G.711 mu-law; an independent ten-line coder, so that ours is not its own judge."""
    sign, magnitude = (0x80, min(-sample, 32635)) if sample < 0 else (0, min(sample, 32635))
    magnitude += 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 15) & 255


def write_tone(path: Path, hertz: float, seconds: float) -> None:
    """Raw PCMU for SIPp's ``rtp_stream``."""
    path.write_bytes(
        bytes(ulaw(int(16384 * math.sin(2 * math.pi * hertz * i / 8000))) for i in range(int(seconds * 8000)))
    )


def prepare(directory: Path, scenario: str, keys: dict[str, str] | None) -> list[str]:
    """The arguments that name *scenario* and its *keys*.

    SIPp wants the status of a response written out, and a body and contacts have several lines: the keys ``status``,
    ``body`` and ``contacts`` are filled in here.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path, rest = SCENARIOS / f"{scenario}.xml", dict(keys or {})
    written = {name: rest.pop(name) for name in ("status", "body", "contacts") if name in rest}
    if written:
        text = path.read_text()
        for name, value in written.items():
            text = text.replace(f"[{name}]", value)
        path = directory / path.name
        path.write_text(text)
    return ["-sf", str(path), *(word for name, value in rest.items() for word in ("-key", name, value))]


class SippCallee:
    """A SIPp that plays a UAS scenario on :attr:`port` (UDP), echoing RTP when the scenario answers."""

    def __init__(
        self,
        directory: Path,
        scenario: str,
        *,
        calls: int = 1,
        transport: str = "u1",
        keys: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        named = prepare(directory, scenario, keys)
        self.port, media = port or free_port(block=2), free_port(block=4)
        argv = ["sipp", *named, "-i", host, "-p", str(self.port)]
        argv += ["-mi", host, "-mp", str(media), "-rtp_echo", "-nostdin", "-m", str(calls), "-t", transport]
        argv += ["-trace_err", "-error_file", str(directory / "errors.log")]
        self.errors = directory / "errors.log"
        self.server = Server(argv, directory / "sipp.log", cwd=directory)
        wanted = f":{self.port:04X} 00000000"  # the local end, and whom it speaks with: nobody
        table = Path("/proc/net/" + ("udp" if transport[0] == "u" else "tcp") + ("6" if ":" in host else ""))
        self.server.wait_until(lambda: wanted in table.read_text())

    @staticmethod
    def available() -> bool:
        return shutil.which("sipp") is not None

    def result(self, timeout: float = 60) -> int:
        """SIPp's exit status: 0 when every call went as its scenario says."""
        return self.server.process.wait(timeout)

    def why(self) -> str:
        return self.errors.read_text() if self.errors.exists() else self.server.text()[-1500:]

    def stop(self) -> None:
        self.server.stop()


def caller(
    directory: Path,
    scenario: str,
    remote: str,
    service: str,
    keys: dict[str, str] | None,
    tone: int,
    timeout: int,
    transport: str,
    host: str,
    port: int | None = None,
) -> list[str]:
    """The command line of one UAC scenario, whose files are made."""
    named = prepare(directory, scenario, keys)
    write_tone(directory / "tone.ul", tone, 4)
    argv = ["sipp", *named, "-s", service, remote, "-i", host]
    argv += ["-p", str(port or free_port(block=2)), "-mi", host, "-mp", str(free_port(block=4)), "-m", "1", "-nostdin"]
    argv += ["-timeout", f"{timeout}s", "-timeout_error", "-t", transport]
    argv += ["-trace_err", "-error_file", str(directory / "errors.log")]
    return argv


def start(
    directory: Path,
    scenario: str,
    remote: str,
    service: str,
    keys: dict[str, str] | None = None,
    *,
    tone: int = 440,
    timeout: int = 25,
    transport: str = "u1",
    host: str = "127.0.0.1",
) -> subprocess.Popen[str]:
    """Begin one UAC scenario; 0 is its status when the call goes as the scenario says."""
    argv = caller(directory, scenario, remote, service, keys, tone, timeout, transport, host)
    with (directory / "sipp.out").open("w") as out:
        return subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, text=True
        )


def call(
    directory: Path,
    scenario: str,
    remote: str,
    service: str,
    *,
    tone: int = 440,
    timeout: int = 25,
    transport: str = "u1",
    keys: dict[str, str] | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one UAC scenario to its end.  ``returncode`` 0: the call went as the scenario says."""
    argv = caller(directory, scenario, remote, service, keys, tone, timeout, transport, host, port)
    return subprocess.run(
        argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 10, check=False
    )
