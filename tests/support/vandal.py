"""Somebody who sends what he likes: damaged messages and packets, the same ones in every run."""

from __future__ import annotations

import random
import re
import select
import socket
import struct
import time
from collections.abc import Iterable

from tests.support.peer import Caller, Heard

Address = tuple[str, int]

PACE = 15
"""Datagrams for each 10 ms: 1500 a second, below what makes a whole host go unheard."""
JUNK = (
    b"\x00", b"\xff\xfe", b"%00", b"\r\n", b"\r\n\r\n", b'"', b"<", b">", b";", b",", b"@", b"\\", b"[::1]", b"sip:",
    b"-1", b"99999999999999999999", b"2147483648", b" " * 300, b"A" * 3000, b"=", b"\xc3\x28", "\u202e".encode(),
    b";lr", b";tag=", b"*", b"nan", b"1e999", "\u0663".encode(), "\u00b2".encode(), b"1_0", b"tel:",
)  # fmt: skip
METHODS = (
    "INVITE", "INVITE", "OPTIONS", "MESSAGE", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "BYE", "CANCEL", "ACK",
    "PRACK", "UPDATE", "INFO", "REFER", "FOO",
)  # fmt: skip
LINES = (
    "Require: 100rel", "Supported: 100rel, timer, replaces", "Session-Expires: 90;refresher=uas", "RAck: 1 1 INVITE",
    "Replaces: a;to-tag=b;from-tag=c", "Event: presence", "Refer-To: <sip:x@example.com?Replaces=a>", "Event: refer",
    "Subscription-State: active;expires=3", "Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2>", "Info-Package: dtmf",
    "Content-Encoding: gzip", "Call-Info: <sip:x@example.com>;answer-after=0", "Timestamp: 1.5",
)  # fmt: skip


class Vandal:
    """A host of loopback, with a socket; *seed* makes him do the same again."""

    def __init__(self, host: str, seed: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.address = "{}:{}".format(*self.socket.getsockname())
        self.random = random.Random(seed)
        self._calls = 0

    def close(self) -> None:
        self.socket.close()

    def send(self, datagrams: Iterable[bytes], *to: Address) -> None:
        for number, datagram in enumerate(datagrams):
            for address in to:
                self.socket.sendto(datagram, address)
            if number % PACE == 0:
                time.sleep(0.01)

    def damaged(self, data: bytes) -> bytes:
        """*data* with up to four things done to it: an octet, a stretch, a word, or whole lines."""
        chance = self.random
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            until = at + chance.randint(1, 30)
            match chance.randrange(6):
                case 0:
                    data = data[:at] + chance.randbytes(1) + data[at + 1 :]
                case 1:
                    data = data[:at] + chance.choice(JUNK) + data[at:]
                case 2:
                    data = data[:at] + data[until:]
                case 3:
                    data = data[:at] + data[at:until] * chance.choice((2, 20)) + data[until:]
                case 4:
                    words = re.split(rb"([ :;=,/<>@\r\n]+)", data)
                    words[chance.randrange(len(words))] = chance.choice(JUNK)
                    data = b"".join(words)
                case _:
                    lines = data.split(b"\r\n")
                    lines.insert(chance.randrange(len(lines)), lines.pop(chance.randrange(len(lines))))
                    data = b"\r\n".join(lines)
        return data[:60_000]

    def messages(self, count: int, port: int, body: bytes) -> Iterable[bytes]:
        """Requests outside of any dialog, and now and then a response to nothing; half with a length that fits."""
        for _ in range(count):
            self._calls += 1
            caller = Caller(address=self.address, call_id=f"vandal-{self.address}-{self._calls}")
            caller.uri = f"sip:x@127.0.0.1:{port}"
            lines = self.random.sample(LINES, self.random.randint(0, 2))
            request = caller.request(self.random.choice(METHODS), *lines, body=self.random.choice((b"", body)))
            if self.random.random() < 0.1:
                request = b"SIP/2.0 200 OK\r\n" + request.partition(b"\r\n")[2]
            message = self.damaged(request)
            if self.random.random() < 0.5:
                head, _, rest = message.partition(b"\r\n\r\n")
                length = b"Content-Length: %d" % len(rest)
                message = re.sub(rb"Content-Length: ?\d*", lambda _, said=length: said, head) + b"\r\n\r\n" + rest
            yield message

    def packets(self, count: int) -> Iterable[bytes]:
        """RTP, RTCP, extended reports, STUN, DTLS, and noise."""
        chance = self.random
        for number in range(count):
            ssrc = chance.choice((4711, chance.getrandbits(32)))
            kinds = (
                struct.pack("!BBHII", 0x80, chance.choice((0, 8, 13, 101, 127)), number, number * 160, ssrc)
                + bytes(160),
                struct.pack("!BBHI", 0x81, chance.randint(200, 207), chance.randint(0, 12), ssrc)
                + chance.randbytes(40),
                struct.pack("!HHI", chance.choice((1, 0x101, 0x111)), 8, 0x2112A442) + chance.randbytes(20),
                bytes((chance.randint(20, 23), 0xFE, 0xFD)) + chance.randbytes(40),
                chance.randbytes(chance.randint(0, 1400)),
            )
            packet = chance.choice(kinds)
            yield self.damaged(packet) if chance.random() < 0.4 else packet


class Guest:
    """A well-behaved caller by hand, who speaks RTP too; ``with Guest(host, port) as guest``."""

    def __init__(self, host: str, port: int) -> None:
        self.place = ("127.0.0.1", port)
        self.signalling, self.media = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.signalling, self.media):
            each.bind((host, 0))
            each.settimeout(10)
        address = "{}:{}".format(*self.signalling.getsockname())
        self.caller = Caller(address=address, contact=f"<sip:bob@{address}>", call_id=f"guest-{address}")
        self.caller.uri = f"sip:x@127.0.0.1:{port}"
        self.host = host
        self.sequence = 0

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.signalling.close()
        self.media.close()

    @property
    def offer(self) -> bytes:
        lines = ("v=0", f"o=- 1 1 IN IP4 {self.host}", "s=-", f"c=IN IP4 {self.host}", "t=0 0")
        media = (f"m=audio {self.media.getsockname()[1]} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "")
        return "\r\n".join((*lines, *media)).encode()

    def ask(self, method: str, body: bytes = b"") -> Heard:
        """The final response."""
        self.signalling.sendto(self.caller.request(method, body=body), self.place)
        while True:
            heard = Heard(self.signalling.recv(65536))
            if heard.is_response and heard.cseq == self.caller.cseq and heard.status >= 200:
                return heard

    def call(self) -> Address:
        """Is answered; where the audio goes."""
        answer = self.ask("INVITE", self.offer)
        assert answer.status == 200, answer
        self.caller.joins(answer)
        self.signalling.sendto(self.caller.request("ACK", cseq=self.caller.cseq), self.place)
        port = re.search(rb"m=audio (\d+)", answer.body)
        assert port is not None
        return "127.0.0.1", int(port[1])

    def echoed(self, to: Address, packets: int = 50) -> int:
        """How many of our packets come back."""
        payload, back = bytes((0x20,)) * 160, 0
        while select.select([self.media], [], [], 0)[0]:
            self.media.recv(2048)  # what came while we said nothing
        for _ in range(packets):
            self.sequence += 1
            self.media.sendto(struct.pack("!BBHII", 0x80, 0, self.sequence, self.sequence * 160, 4711) + payload, to)
            back += self.media.recv(2048)[12:] == payload  # one comes for each 20 ms: that is the clock
        return back
