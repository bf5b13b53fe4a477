"""Reads capture files as tcpdump would, and believes no length and no checksum that it has not counted itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

__all__ = ["Packet", "packets"]


@dataclass(frozen=True)
class Packet:
    """One UDP packet; *at* in microseconds since 1970, *missing* octets were not captured."""

    at: int
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    missing: int

    @property
    def start_line(self) -> str:
        return self.payload.partition(b"\r\n")[0].decode()


def packets(capture: bytes) -> list[Packet]:
    """What is in *capture*, of which nothing may be left over."""
    magic, major, minor, _, _, snaplen, link = struct.unpack_from("<IHHiIII", capture)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 101)
    found, at = [], 24
    while at < len(capture):
        seconds, microseconds, captured, length = struct.unpack_from("<IIII", capture, at)
        assert microseconds < 1_000_000
        assert captured <= min(snaplen, length)
        packet = capture[at + 16 : at + 16 + captured]
        assert len(packet) == captured
        source, destination, payload = _ipv4(packet) if packet[0] >> 4 == 4 else _ipv6(packet)
        found.append(Packet(seconds * 1_000_000 + microseconds, source, destination, payload, length - captured))
        at += 16 + captured
    return found


def _ipv4(packet: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    first, _, length, _, fragment, hops, protocol = struct.unpack_from("!BBHHHBB", packet)
    assert (first, length, fragment & 0x3FFF, protocol) == (0x45, len(packet), 0, 17)
    assert hops
    assert _sums_up(packet[:20])
    ends = packet[12:16], packet[16:20]
    from_port, to_port, payload = _udp(ends, packet[20:])
    return (str(IPv4Address(ends[0])), from_port), (str(IPv4Address(ends[1])), to_port), payload


def _ipv6(packet: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    first, length, protocol, hops = struct.unpack_from("!IHBB", packet)
    assert (first >> 28, length, protocol) == (6, len(packet) - 40, 17)
    assert hops
    ends = packet[8:24], packet[24:40]
    from_port, to_port, payload = _udp(ends, packet[40:])
    return (str(IPv6Address(ends[0])), from_port), (str(IPv6Address(ends[1])), to_port), payload


def _udp(ends: tuple[bytes, bytes], udp: bytes) -> tuple[int, int, bytes]:
    from_port, to_port, length, checksum = struct.unpack_from("!HHHH", udp)
    assert length == len(udp)
    assert checksum  # 0 would be none
    assert _sums_up(b"".join(ends) + struct.pack("!IHBB", len(udp), 0, 0, 17) + udp)
    return from_port, to_port, udp[8:]


def _sums_up(octets: bytes) -> bool:
    """RFC 1071, word by word: with its checksum, what is whole comes to 0xffff."""
    total = 0
    for (word,) in struct.iter_unpack("!H", octets + bytes(len(octets) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF
