"""Keys for SRTP in the session description: ``a=crypto`` (RFC 4568, RFC 7714 section 14.2).

Whoever reads the SDP has the keys, so they travel over TLS only; who decides that is not here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from sipcli.media.sdp import Attribute, MediaDescription

__all__ = [
    "SUITES",
    "Crypto",
    "KeyPolicy",
    "SrtpKeys",
    "SrtpPolicy",
    "Suite",
    "find_chosen",
    "find_crypto",
    "new_cryptos",
    "parse_crypto",
]

SrtpPolicy: TypeAlias = Literal["off", "optional", "required"]
"""``optional``: encrypted with whoever can, and said when somebody cannot; ``required``: no call otherwise."""
KeyPolicy: TypeAlias = Literal["sdes", "dtls", "any"]
"""How keys are agreed on.  ``any``: as the other side asks; when we ask, in the SDP, as most telephones do."""


class Suite(NamedTuple):
    """How long its master key and salt are, in octets."""

    name: str
    key: int
    salt: int


SUITES = {
    suite.name: suite
    for suite in (
        Suite("AEAD_AES_128_GCM", 16, 12),
        Suite("AEAD_AES_256_GCM", 32, 12),
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14),
        Suite("AES_CM_128_HMAC_SHA1_32", 16, 14),
    )
}
"""What we can do, by name (RFC 4568 section 6.2, RFC 7714 section 14.2)."""

_OFFERED = ("AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
_LINE = re.compile(r"([0-9]{1,9})\s+(\w{1,64})\s+(\S+)((?:\s+\S+)*)\s*")
_INLINE = re.compile(r"inline:([A-Za-z0-9+/]+)={0,2}(?:\|[^|:;]*)?")
_HARMLESS = re.compile(r"WSH=[0-9]{1,9}|-.*")
"""A hint at the replay window, and what its writer says may be ignored (section 6.3.7)."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One ``a=crypto``: *master* is key and salt as one."""

    tag: int
    suite: str
    master: bytes = field(repr=False)

    def attribute(self) -> Attribute:
        return Attribute("crypto", f"{self.tag} {self.suite} inline:{base64.b64encode(self.master).decode()}")


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What protects a stream: *ours* what we send, *theirs* what we receive."""

    suite: str
    ours: bytes = field(repr=False)
    theirs: bytes = field(repr=False)


def parse_crypto(value: str) -> Crypto | None:
    """The value of ``a=crypto``; None for what we cannot do, or must not.

    Refused: unknown suites, keys of a wrong length, master key identifiers, and every session parameter that
    takes protection away (``UNENCRYPTED_SRTP``, ``UNENCRYPTED_SRTCP``, ``UNAUTHENTICATED_SRTP``: section 6.3).
    """
    line = _LINE.fullmatch(value.strip())
    if line is None:
        return None
    tag, name, keys, parameters = line.groups()
    suite, inline = SUITES.get(name.upper()), _INLINE.fullmatch(keys)
    if suite is None or inline is None or not all(_HARMLESS.fullmatch(word) for word in parameters.split()):
        return None
    try:
        # rtpengine leaves out the signs that fill it up (its `SDES-pad`): section 6.1 says base64, and no more.
        master = base64.b64decode(inline[1] + "=" * (-len(inline[1]) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(int(tag), suite.name, master) if len(master) == suite.key + suite.salt else None


def find_crypto(media: MediaDescription) -> Crypto | None:
    """The topmost that we can do: the offerer's favourite among ours (section 7.1.2)."""
    return next(iter(_usable(media)), None)


def find_chosen(media: MediaDescription, offered: Iterable[Crypto]) -> tuple[Crypto, Crypto] | None:
    """Ours and theirs after an answer, which names one line by the tag and suite that we gave it (section 7.1.3)."""
    answered = list(_usable(media))
    if len(answered) != 1 or sum(attribute.name == "crypto" for attribute in media.attributes) != 1:
        return None
    theirs = answered[0]
    ours = next((crypto for crypto in offered if (crypto.tag, crypto.suite) == (theirs.tag, theirs.suite)), None)
    return None if ours is None else (ours, theirs)


def _usable(media: MediaDescription) -> Iterable[Crypto]:
    for attribute in media.attributes:
        if attribute.name == "crypto" and attribute.value:
            crypto = parse_crypto(attribute.value)
            if crypto is not None:
                yield crypto


def new_cryptos(random: Callable[[int], bytes]) -> tuple[Crypto, ...]:
    """Fresh lines for an offer, the dearest first; each suite has a key of its own (section 6.1)."""
    return tuple(
        Crypto(tag, name, random(SUITES[name].key + SUITES[name].salt)) for tag, name in enumerate(_OFFERED, start=1)
    )
