"""SIP messages as a capture file that sngrep and Wireshark open: octets from octets, no file here.

A capture of the classic form (draft-ietf-opsawg-pcap): microseconds, little-endian, and as link type *raw IP*, so that
no Ethernet addresses need be invented.  Each message is one UDP packet, whatever carried it (docs/decisions, 141).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["BEGINNING", "MAX_PAYLOAD", "Address", "address_of", "packet_record"]

_LINKTYPE_RAW = 101
"""Version and length of the packet are read off its first octets: IPv4 or IPv6."""
_SNAPLEN = 262_144
"""What tcpdump writes; readers allocate no more for one packet."""

BEGINNING: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)
"""The header of the file."""

MAX_PAYLOAD: Final = 65_507
"""Octets that one UDP packet holds in IPv4: 65535 without the headers of IP (20) and UDP (8)."""

_UDP = 17
_HOPS = 64
_DONT_FRAGMENT = 0x4000

Address = tuple[IPv4Address | IPv6Address, int]
"""An IP address and a port."""


def address_of(text: str) -> Address:
    """``192.0.2.7:5060`` or ``[2001:db8::7]:5060``.  ValueError when it is neither.

    What a socket for both families calls ``::ffff:192.0.2.7`` went over IPv4, and is read so.
    """
    host, _, port = text.rpartition(":")
    address = ip_address(host.removeprefix("[").removesuffix("]"))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    number = int(port)
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"no port: {port}")
    return mapped or address, number


def packet_record(source: Address, destination: Address, payload: bytes, at: int) -> bytes:
    """*payload*, sent from *source* to *destination* at *at* (microseconds since 1970, UTC), as one record of the file.

    Of more than :data:`MAX_PAYLOAD` octets the rest is cut off, and the record says how long the packet was.
    """
    kept = payload[:MAX_PAYLOAD]
    whole = _packet(source, destination, kept)
    seconds, microseconds = divmod(at, 1_000_000)
    lengths = (len(whole), len(whole) + len(payload) - len(kept))
    return struct.pack("<IIII", seconds & 0xFFFFFFFF, microseconds, *lengths) + whole


def _packet(source: Address, destination: Address, payload: bytes) -> bytes:
    (sender, from_port), (receiver, to_port) = source, destination
    if isinstance(sender, IPv4Address) and isinstance(receiver, IPv4Address):
        octets = (sender.packed, receiver.packed)
        udp = _udp(*octets, from_port, to_port, payload)
        return _ipv4(*octets, len(udp)) + udp
    octets = (_as_ipv6(sender), _as_ipv6(receiver))
    udp = _udp(*octets, from_port, to_port, payload)
    # RFC 8200 section 3: version, no traffic class, no flow label; the length is that of what follows.
    return struct.pack("!IHBB", 6 << 28, len(udp), _UDP, _HOPS) + b"".join(octets) + udp


def _as_ipv6(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed


def _ipv4(source: bytes, destination: bytes, size: int) -> bytes:
    """The header of RFC 791 section 3.1, of five words, before *size* octets."""
    # As an unfragmented packet: an identification is of no use then (RFC 6864 section 4.1).
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, _DONT_FRAGMENT, _HOPS, _UDP)
    checksum = _checksum(before + bytes(2) + source + destination)
    return before + checksum.to_bytes(2, "big") + source + destination


def _udp(source: bytes, destination: bytes, from_port: int, to_port: int, payload: bytes) -> bytes:
    """Header and *payload*, with the checksum that IPv6 wants (RFC 8200 section 8.1) and IPv4 allows."""
    size = 8 + len(payload)
    ports = struct.pack("!HHH", from_port, to_port, size)
    # The pseudo-headers of both families have the same sum: what differs is zeros.
    pseudo = source + destination + struct.pack("!HH", _UDP, size)
    checksum = _checksum(pseudo + ports + bytes(2) + payload) or 0xFFFF  # 0 would say: none (RFC 768)
    return ports + checksum.to_bytes(2, "big") + payload


def _checksum(octets: bytes) -> int:
    """The ones' complement of the ones' complement sum of all 16-bit words (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    # 2**16 is 1 modulo 65535, so the sum of the words is the remainder of the whole number; 0 and 0xffff are both zero
    # there, and a sum of words that are not all 0 is 0xffff.
    return 0xFFFF - (int.from_bytes(octets, "big") % 0xFFFF or 0xFFFF)
