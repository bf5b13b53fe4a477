"""`sipcli listen`, registered with a server that does as it likes over TLS and WebSocket, and then behaves again."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.cli import Cli, Running
from tests.support.frames import agreed, frame, upgrade
from tests.support.peer import Caller, Heard, response
from tests.support.real import require
from tests.support.vandal import LINES, METHODS, Vandal

pytestmark = pytest.mark.slow

TEXT, BINARY, MORE, PING, PONG = 1, 2, 0, 9, 10


class Server:
    """Takes one connection after the other; what comes is ``heard``, as one stream of messages."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port: int = self._listener.getsockname()[1]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = certificates().leaf("good")
        self._context.load_cert_chain(leaf.cert_file, leaf.key_file)

    def close(self) -> None:
        self._listener.close()

    def takes(self) -> Line:
        made, _ = self._listener.accept()
        made.settimeout(20)
        return Line(self._context.wrap_socket(made, server_side=True) if self.transport != "ws" else made, self)


class Line:
    """One connection: framed as its transport wants it."""

    def __init__(self, made: socket.socket, server: Server) -> None:
        self.socket, self.framed = made, server.transport != "tls"
        self._buffer = b""
        self.server = server
        if self.framed:
            while b"\r\n\r\n" not in self._buffer:
                self._buffer += made.recv(4096)
            self.send(upgrade(agreed(self._buffer)))
            self._buffer = b""

    def close(self) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """As they are; whoever hung up hears nothing."""
        with contextlib.suppress(OSError):
            self.socket.sendall(octets)

    def say(self, message: bytes) -> None:
        self.send(frame(TEXT, message) if self.framed else message)

    def _more(self) -> None:
        got = self.socket.recv(65536)
        assert got, "it hung up"
        self._buffer += got

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def hears(self) -> bytes:
        """The next message; pongs and keep-alives are none."""
        while True:
            if self.framed:
                opcode, length = self._take(2)
                size = length & 0x7F
                size = size if size < 126 else int.from_bytes(self._take(2 if size == 126 else 8))
                mask, payload = self._take(4), self._take(size)
                if opcode & 0xF in (TEXT, BINARY):
                    return bytes(octet ^ mask[n % 4] for n, octet in enumerate(payload))
                continue
            self._buffer = self._buffer.lstrip(b"\r\n")
            head, found, _ = self._buffer.partition(b"\r\n\r\n")
            if not found:
                self._more()
                continue
            length = re.search(rb"(?im)^Content-Length: *(\d+)", head)
            assert length is not None
            return self._take(len(head) + 4 + int(length[1]))

    def registers(self) -> None:
        register = Heard(self.hears())
        assert register.method == "REGISTER"
        self.contact = register.contact
        self.say(response(register, 200, "OK", f"Contact: <{self.contact}>;expires=600"))

    def asks(self, call_id: str) -> float:
        """How long the answer to OPTIONS takes, in seconds; whatever else is said before it is passed over."""
        caller = Caller(transport=self.server.transport.upper(), address="127.0.0.1:9", call_id=call_id)
        caller.uri = self.contact
        began = time.perf_counter()
        self.say(caller.request("OPTIONS"))
        while True:
            heard = self.hears()
            if heard.startswith(b"SIP/2.0 ") and f"\r\nCall-ID: {call_id}\r\n".encode() in heard:
                assert Heard(heard).status == 200
                return time.perf_counter() - began


@pytest.fixture(params=["ws", "wss", "tls"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Running]]:
    require("openssl")
    server = Server(request.param)
    cli = Cli(tmp_path / "home")
    cli.configure(
        f'[accounts.work]\naor = "sip:alice@127.0.0.1"\nregistrar = "sip:127.0.0.1:{server.port}"\n'
        f'transport = "{request.param}"\nca_file = "{certificates().ca_file}"\nusername = "alice"\ncredentials = []\n'
    )
    running = cli.start("listen", "--json", "--answer", "auto", "--max-calls", "1000")
    yield server, running
    running.leave()
    server.close()


def kilobytes(running: Running) -> int:
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * 4


def nuisances(line: Line, vandal: Vandal) -> Iterator[bytes]:
    """What a connection survives: over TLS no message is damaged, for the first one would end it."""
    for number, message in enumerate(vandal.messages(400, 9, b"v=0\r\n")):
        if line.framed:
            cut = len(message) // 2
            yield frame(BINARY, message[:cut], fin=False) + frame(MORE, message[cut:])
            yield frame(PING, b"amid") if number % 4 == 0 else b""
        else:
            caller = Caller(transport="TLS", address=vandal.address, call_id=f"vandal-{number}")
            yield b"\r\n\r\n" * 100 + caller.request(vandal.random.choice(METHODS), vandal.random.choice(LINES))


def fatal(line: Line) -> bytes:
    if line.framed:
        return frame(PING) * (1 << 21)
    return b"INVITE sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n" + bytes(1 << 22)


def test_T23_T24_a_server_that_does_as_it_likes_harms_nobody(scene: tuple[Server, Running]) -> None:
    """It stays up, says little, and an OPTIONS is answered at once, on that connection and on the next one."""
    server, running = scene
    line = server.takes()
    line.registers()
    running.wait_for("registration", state="registered")
    line.asks("before")
    before = kilobytes(running)
    vandal = Vandal("127.0.0.3", seed=29)
    for number, octets in enumerate(nuisances(line, vandal)):
        line.send(octets)
        if number % 10 == 0:  # what it answers must not fill the pipe
            line.asks(f"meanwhile-{number}")
    vandal.close()
    assert line.asks("after") < 2
    ending = threading.Thread(target=line.send, args=(fatal(line),), daemon=True)
    ending.start()
    again = server.takes()
    again.registers()
    assert again.asks("again") < 2
    line.close()
    ending.join(10)
    print(f"RSS {before} kB, then {kilobytes(running)} kB")
    assert kilobytes(running) - before < 64 << 10
    assert running.process.poll() is None and running.stderr == ""
    running.leave()
    done = running.finish()
    assert not [event for event in done.named("warning") if event["code"] == "fault"]
    assert len(done.named("warning")) < 300
    again.close()
