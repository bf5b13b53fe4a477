"""A name server on loopback, for zones of our own: what a provider's DNS says about its SIP servers."""

from __future__ import annotations

import errno
import random
import socket
import threading
from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
"""``("_sip._udp.sip.test.", "SRV"): ["10 0 5060 pbx.sip.test."]``"""


class NameServer:
    """Answers from *zone*; a name without any record does not exist.  ``asked`` holds ``NAME TYPE``, oldest first.

    The port is 53, for nothing else can be said in a resolv.conf; so it needs root.
    """

    def __init__(self, zone: Zone, port: int = 53) -> None:
        self.zone = zone
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = self._take_address(port)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _take_address(self, port: int) -> str:
        """One of loopback's many addresses, so that several name servers can have the one port."""
        for _ in range(50):
            host = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
            try:
                self._socket.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    self._socket.close()
                    raise
            else:
                return host
        self._socket.close()
        raise RuntimeError("no free address for a name server")

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            self._socket.sendto(self._answer(data), client)

    def _answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        [question] = query.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        if records := self.zone.get((name, kind)):
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    def stop(self) -> None:
        # An empty datagram wakes the thread; closing the socket alone would not.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()
