"""SHA-512/256 in pure Python, for hosts whose hashlib lacks it (FIPS 180-4 sections 5.3.6.2 and 6.7).

``sha512_256`` is not in ``hashlib.algorithms_guaranteed``: LibreSSL and trimmed
OpenSSL builds go without.  It is not SHA-512 cut short - it starts from other
values - so it cannot be had from ``hashlib.sha512`` (the mistake in RFC 7616's
own example, erratum 4897).  About a thousand times slower than OpenSSL, which
for three short hashes per challenge nobody will notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

__all__ = ["sha512_256"]

_WORD = (1 << 64) - 1
_BLOCK = 128  # octets


def _primes() -> Iterator[int]:
    n = 2
    while True:
        if all(n % d for d in range(2, isqrt(n) + 1)):
            yield n
        n += 1


def _cube_root(n: int) -> int:
    """The largest r with r**3 <= n, by Newton's method on integers."""
    r = 1 << -(-n.bit_length() // 3)
    while (better := (2 * r + n // (r * r)) // 3) < r:
        r = better
    return r


# Section 4.2.3: the first 64 bits of the fractional parts of the cube roots of the first eighty primes;
# section 5.3.5: the same of the square roots of the first eight.  Nothing up the sleeve, nothing to mistype.
_FIRST_80 = [p for p, _ in zip(_primes(), range(80), strict=False)]
_K = [_cube_root(p << 192) & _WORD for p in _FIRST_80]
_SHA512 = [isqrt(p << 128) & _WORD for p in _FIRST_80[:8]]


def _turn(x: int, n: int) -> int:
    """ROTR: *x* turned right by *n* bits."""
    return (x >> n | x << (64 - n)) & _WORD


def _compress(state: list[int], block: bytes) -> list[int]:
    """One round of the hash: section 6.4.2."""
    w = [int.from_bytes(block[i : i + 8], "big") for i in range(0, _BLOCK, 8)]
    for t in range(16, 80):
        low = _turn(w[t - 15], 1) ^ _turn(w[t - 15], 8) ^ w[t - 15] >> 7
        high = _turn(w[t - 2], 19) ^ _turn(w[t - 2], 61) ^ w[t - 2] >> 6
        w.append((w[t - 16] + low + w[t - 7] + high) & _WORD)
    a, b, c, d, e, f, g, h = state
    for k, word in zip(_K, w, strict=True):
        choose = (e & f) ^ (~e & g)
        majority = (a & b) ^ (a & c) ^ (b & c)
        t1 = h + (_turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)) + choose + k + word
        t2 = (_turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)) + majority
        a, b, c, d, e, f, g, h = (t1 + t2) & _WORD, a, b, c, (d + t1) & _WORD, e, f, g
    return [(old + new) & _WORD for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def _digest(initial: list[int], data: bytes) -> list[int]:
    padding = b"\x80" + bytes(-(len(data) + 17) % _BLOCK)
    padded = data + padding + (8 * len(data)).to_bytes(16, "big")
    state = initial
    for start in range(0, len(padded), _BLOCK):
        state = _compress(state, padded[start : start + _BLOCK])
    return state


# Section 5.3.6: the initial value of SHA-512/t is a SHA-512 of its name, begun from a disguised SHA-512 start.
_INITIAL = _digest([word ^ 0xA5A5A5A5A5A5A5A5 for word in _SHA512], b"SHA-512/256")


def sha512_256(data: bytes) -> str:
    """The digest of *data*: 64 lower-case hex digits."""
    return "".join(f"{word:016x}" for word in _digest(_INITIAL, data)[:4])
