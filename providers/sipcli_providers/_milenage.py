"""Milenage, the algorithm set of most SIMs (3GPP TS 35.206), as a pure function of a 128-bit block cipher.

The letters are the specification's: ``K`` the subscriber's key, ``OP`` the
operator's, ``OPc`` both in one, ``RAND`` the network's challenge, ``SQN`` its
sequence number, ``AMF`` its management field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

Block: TypeAlias = Callable[[bytes], bytes]
"""``E[x]_K``: 16 octets to 16 octets under K; AES-128 in every SIM there is."""

# TS 35.206 section 4.1: how far each output is rotated, in octets, and the last octet of its constant.
_ROTATE = {1: 8, 2: 0, 3: 4, 4: 8, 5: 12}
_CONSTANT = {1: 0, 2: 1, 3: 2, 4: 4, 5: 8}


class Vector(NamedTuple):
    """What f2 to f5* make of RAND: 8, 16, 16, 6 and 6 octets."""

    res: bytes
    ck: bytes
    ik: bytes
    ak: bytes
    ak_star: bytes


def make_opc(block: Block, op: bytes) -> bytes:
    """OPc of an operator's OP, for the key of *block*."""
    return xor(block(op), op)


def f1(block: Block, opc: bytes, rand: bytes, sqn: bytes, amf: bytes) -> tuple[bytes, bytes]:
    """MAC-A, by which the network shows that it knows K (f1), and MAC-S, by which a SIM out of step does (f1*)."""
    temp = block(xor(rand, opc))
    numbers = (sqn + amf) * 2
    out = xor(block(xor(temp, _rotated(xor(numbers, opc), _ROTATE[1]))), opc)  # the first constant is zero
    return out[:8], out[8:]


def f2345(block: Block, opc: bytes, rand: bytes) -> Vector:
    """RES (f2), CK (f3), IK (f4), and what hides SQN: AK (f5), and AK* on the way back (f5*)."""
    temp = block(xor(rand, opc))

    def out(number: int) -> bytes:
        constant = bytes(15) + bytes([_CONSTANT[number]])
        return xor(block(xor(_rotated(xor(temp, opc), _ROTATE[number]), constant)), opc)

    second = out(2)
    return Vector(res=second[8:], ck=out(3), ik=out(4), ak=second[:6], ak_star=out(5)[:6])


def xor(one: bytes, other: bytes) -> bytes:
    """Of two texts of the same length."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _rotated(value: bytes, octets: int) -> bytes:
    return value[octets:] + value[:octets]
