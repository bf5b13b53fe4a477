"""Asks a running user agent whether its stack is alive: an OPTIONS over UDP, answered in time or not."""

from __future__ import annotations

import socket
import time

from tests.support.cli import Running

PROBE = (
    "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKprobe{n};rport\r\n"
    "From: <sip:probe@sip.test>;tag=p{n}\r\nTo: <sip:probe@127.0.0.1>\r\n"
    "Call-ID: probe-{n}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def ping(port: int, n: int) -> float:
    """Seconds until an OPTIONS to our own user agent was answered; *n* tells the probes apart."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        probe.settimeout(2)
        began = time.perf_counter()
        probe.sendto(PROBE.format(port=probe.getsockname()[1], n=n).encode(), ("127.0.0.1", port))
        answer = probe.recv(65536)
        assert answer.startswith(b"SIP/2.0 200")
        return time.perf_counter() - began


def udp_port_of(running: Running) -> int:
    """From the ``ready`` event, whether it came before or comes now."""
    ready = next((event for event in running.events if event["event"] == "ready"), None) or running.wait_for("ready")
    return next(int(entry["port"]) for entry in ready["listen"] if entry["transport"] == "udp")
